"""`tuningfork purity`: purity, completeness and yield of each class against the threshold of its probability."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .._utils.text import counted
from .command_line import app
from .console import echo, print_json
from .errors import libraries, must_exist, report_rows, trouble
from .files import writing
from .options import (
    ColumnOption,
    GroupsOption,
    IncludeTrainingOption,
    JsonOption,
    ModelOfTableOption,
    OverwriteOption,
    PartOption,
    PredictionsArgument,
    SomeLabelsArgument,
    SplitOption,
    TreeOption,
)
from .screen import print_table

__all__ = ["purity"]


@app.command()
def purity(
    predictions: PredictionsArgument,
    labels: SomeLabelsArgument,
    column: ColumnOption = None,
    groups: GroupsOption = None,
    split: SplitOption = None,
    part: PartOption = "test",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Table to write: each class at 22 thresholds.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="SVG or PNG file to draw: a panel for each class.")
    ] = None,
    tree: TreeOption = "gz2",
    model: ModelOfTableOption = None,
    include_training: IncludeTrainingOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure purity, completeness and yield of samples of each class, by the least probability of the class.

    A sample holds all galaxies whose probability of the class is at least the threshold; `clean`, those of them whose
    predicted votes pass the class's rule, too. A galaxy whose votes fit none of the classes contaminates any sample.
    Intervals are 95 % Wilson intervals. --plot needs `pip install '.[report]'`.

    Examples:

        tuningfork purity votes.parquet training_solutions_rev1.csv

        tuningfork purity votes.parquet training_solutions_rev1.csv -o purity.csv --plot purity.svg

        tuningfork purity votes.parquet labels.csv --groups 0,1,2,3,4+5,6 --json
    """
    must_exist([predictions, labels, *([split] if split else [])])
    if plot and plot.suffix.lower() not in (".svg", ".png"):
        raise typer.BadParameter(f"{plot}: an .svg or .png file is expected", param_hint="--plot")
    if plot and plot == output:
        raise typer.BadParameter("name another file than --output", param_hint="--plot")
    inputs = [predictions, labels, split, tree]
    with trouble(), writing(output, inputs, overwrite) as output, writing(plot, inputs, overwrite) as plot:
        from ..evaluation.prediction_table import read_predictions
        from ..evaluation.purity import purity as measure
        from ..evaluation.training_overlap import training_to_exclude
        from ..evaluation.true_classes import parse_groups, true_classes
        from ..tables import check_format, table_writer
        from ..votes.split_file import read_split
        from ..votes.tree_files import load_tree

        if output:
            check_format(output)
        if plot:
            with libraries("a plot", "report"):
                from ..display.purity_plot import purity_panels
        known_tree = load_tree(tree)
        table = read_predictions(predictions, known_tree)
        result = measure(
            table,
            true_classes(
                labels, known_tree, column=column, groups=parse_groups(groups, known_tree) if groups else None
            ),
            split=read_split(split) if split else None,
            subset=part,
            exclude=training_to_exclude(table.ids, table.about, model, include=include_training),
        )
        if output:
            rows = result.to_table()
            with table_writer(output, rows.schema) as write:
                write(rows)
        if plot:
            from .._utils.files import atomic_file

            with atomic_file(plot) as partial:
                partial.write_bytes(purity_panels(result.report, plot.suffix.lower().removeprefix(".")))
        if as_json:
            print_json(result.report)
        else:
            _print_purity(result.short())
        report_rows(result.errors)


def _print_purity(report: dict[str, Any]) -> None:
    from ..model.card import share_text

    galaxies = counted(report["galaxies"], "galaxy", "galaxies")
    echo(f"{galaxies} (part: {report['part']}), {report['no_class']} of no class")
    if report["undecided"]:
        echo(
            f"{counted(report['undecided'], 'galaxy', 'galaxies')} with blank votes may be of some classes or not; "
            "the others are weighted to stand for them"
        )
    if not report["no_class"]:
        echo("warning: no labelled galaxy is without a class; among galaxies that have none purity is lower", err=True)
    for selection, title in (
        ("probability", "samples by the probability of the class"),
        ("clean", "clean samples: the predicted votes pass the class's rule, too"),
    ):
        if not report[selection]:
            continue
        shares = ("purity", "completeness", "yield")
        rows = [
            (
                "" if n else f"{each['name']} ({each['galaxies']})",
                f"{point['threshold']:g}" if point["threshold"] else "any",
                point["selected"],
                point["right"],
                *(share_text(point, name) for name in shares),
            )
            for each in report[selection].values()
            for n, point in enumerate(each["curve"])
        ]
        print_table(("class (galaxies)", "least", "selected", "right", *shares), rows, title=title)
