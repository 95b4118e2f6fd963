"""`tuningfork study trust`: reliability of intervals and class probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .._utils.text import bounds_text, decimals
from .console import print_json, print_result
from .errors import libraries, must_exist, report_rows, trouble
from .files import writing
from .options import (
    ImagesOption,
    IncludeTrainingOption,
    JsonOption,
    LabelsArgument,
    ModelOfTableOption,
    OverwriteOption,
    PartOption,
    SplitOption,
    TreeOption,
)
from .progress import progress_bar
from .screen import print_table
from .study import study_app

__all__ = ["trust"]


@study_app.command()
def trust(
    predictions: Annotated[Path, typer.Argument(help="Table of predictions with intervals.")],
    labels: LabelsArgument,
    images: ImagesOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of trust.json, trust.csv and trust.svg.")],
    split: SplitOption = None,
    part: PartOption = "test",
    tree: TreeOption = "gz2",
    model: ModelOfTableOption = None,
    include_training: IncludeTrainingOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how reliable intervals and probabilities are, by size and brightness; needs `pip install '.[study]'`.

    A galaxy whose votes fit none of the classes counts as wrong if a class is predicted; those whose class the votes
    leave open are left out.

    Examples:

        tuningfork study trust votes.parquet training_solutions_rev1.csv --images images_training_rev1 -o trust

        tuningfork study trust votes.parquet votes.csv --images images --split run/split.csv -o trust
    """
    must_exist([predictions, labels, *images, *([split] if split else [])])
    with (
        trouble(),
        writing(output, [predictions, labels, *images, split, tree], overwrite, folder=True) as output,
        progress_bar("reading images") as progress,
    ):
        with libraries("a study", "study"):
            from ..evaluation.prediction_table import read_predictions
            from ..evaluation.training_overlap import training_to_exclude
            from ..experiments.trust import trust as measure
            from ..votes.label_table import read_labels
        votes = read_labels(labels, tree)
        table = read_predictions(predictions, votes.tree)
        exclude = training_to_exclude(table.ids, table.about, model, include=include_training)
        report, errors = measure(
            table, votes, images, output, split=split, part=part, exclude=exclude, progress=progress
        )
        if as_json:
            print_json(report)
        else:
            _print_reliability(report)
            print_result(f"{output}: trust.svg, trust.csv, trust.json")
        report_rows(errors)


def _print_reliability(report: dict[str, Any]) -> None:
    head = (
        "galaxies",
        "number",
        f"covered ({report['level']:g} promised)",
        "95 %",
        "class known",
        "right",
        "probability",
    )
    rows = []
    for row in report["groups"]:
        covered = (decimals(row["coverage"], 3), bounds_text(row["low"], row["high"], 3))
        known = (decimals(row[k], 3) for k in ("accuracy", "probability"))
        rows.append((row["group"], row["galaxies"], *covered, row["judged"], *known))
    print_table(head, rows)
