"""`tuningfork select`: which galaxies can be classified without a human, at a guaranteed precision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .command_line import app
from .console import echo, print_json
from .errors import must_exist, report_rows, trouble
from .files import writing
from .kept_columns import with_kept_columns
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
from .table_options import KeepOfPredictionsOption, columns_to_keep

__all__ = ["select"]


@app.command()
def select(
    predictions: PredictionsArgument,
    labels: SomeLabelsArgument,
    precision: Annotated[float, typer.Option(help="Fraction of the accepted classes that must be right.")] = 0.99,
    confidence: Annotated[float, typer.Option(help="Confidence level of this guarantee.")] = 0.95,
    column: ColumnOption = None,
    groups: GroupsOption = None,
    split: SplitOption = None,
    part: PartOption = "test",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Table to write: the class of each galaxy, and whether it is accepted."),
    ] = None,
    tree: TreeOption = "gz2",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random halves.")] = 0,
    model: ModelOfTableOption = None,
    include_training: IncludeTrainingOption = False,
    keep_columns: KeepOfPredictionsOption = "all",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Selective classification: how many galaxies need no human, at a precision that the labels prove.

    A threshold of the class probability is chosen on a random half of the labelled galaxies, which should be a random
    sample of the survey that the model was not trained on, and tested on the other half; then it is applied to all
    predictions. A galaxy whose votes fit none of the classes counts as wrong if it is accepted, so that the precision
    is that of all galaxies; those whose class the votes leave open are left out and counted.

    Examples:

        tuningfork select votes.parquet training_solutions_rev1.csv --split run/split.csv

        tuningfork select votes.parquet labels.csv --precision 0.95 -o accepted.csv

        tuningfork select votes.parquet labels.csv --column five_class --groups 0,1,2,3,4+5 --json
    """
    for name, value in (("--precision", precision), ("--confidence", confidence)):
        if not 0 < value < 1:
            raise typer.BadParameter("between 0 and 1", param_hint=name)
    keep = columns_to_keep(keep_columns)
    must_exist([predictions, labels, *([split] if split else [])])
    with trouble(), writing(output, [predictions, labels, split, tree], overwrite) as output:
        from ..evaluation.prediction_table import read_predictions
        from ..evaluation.select import select_table
        from ..evaluation.training_overlap import training_to_exclude
        from ..evaluation.true_classes import parse_groups, true_classes
        from ..tables import check_format, table_writer
        from ..votes.split_file import read_split
        from ..votes.tree_files import load_tree

        if output:
            check_format(output)
        known_tree = load_tree(tree)
        table = read_predictions(predictions, known_tree)
        selection = select_table(
            table,
            true_classes(
                labels, known_tree, column=column, groups=parse_groups(groups, known_tree) if groups else None
            ),
            precision,
            confidence,
            split=read_split(split) if split else None,
            subset=part,
            seed=seed,
            exclude=training_to_exclude(table.ids, table.about, model, include=include_training),
        )
        if output:
            accepted = with_kept_columns(selection.table, predictions, keep, known_tree)
            with table_writer(output, accepted.schema) as write:
                write(accepted)
        if as_json:
            print_json(selection.to_dict())
        else:
            for line in selection.lines():
                echo(line)
        report_rows(selection.errors)
