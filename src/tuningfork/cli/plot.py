"""`tuningfork plot`: the plots that people expect of a table of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_note, print_result
from .errors import libraries, must_exist, trouble
from .files import writing
from .options import IncludeTrainingOption, ModelOfTableOption, OverwriteOption, PredictionsArgument, TreeOfTableOption

if TYPE_CHECKING:
    import pyarrow as pa

    from ..votes.tree import DecisionTree
    from ..votes.vote_table import VoteTable

__all__ = ["plot"]


@app.command()
def plot(
    table: PredictionsArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="Figure to write: .png, .svg or .pdf.")],
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Votes of volunteers, by ID: adds the reliability of the predictions."),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option("--pair", metavar="X,Y", help="Two columns to plot against one another; may be repeated."),
    ] = None,
    panel: Annotated[
        list[str] | None,
        typer.Option(
            "--panel",
            help="fractions, classes, reliability, colour or pairs; may be repeated.  [default: all that apply]",
        ),
    ] = None,
    tree: TreeOfTableOption = None,
    model: ModelOfTableOption = None,
    include_training: IncludeTrainingOption = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draw, if there are too many points.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Plot vote fractions, class counts with intervals, reliability, colour by class, and pairs of columns.

    Colour by class is drawn if the table has magnitudes (`petroMag_g`, `petroMag_r`, …) or a colour (`g_r`).

    Examples:

        tuningfork plot votes.parquet -o votes.png

        tuningfork plot votes.parquet -o votes.pdf --labels training_solutions_rev1.csv

        tuningfork plot votes.parquet -o votes.svg --panel pairs --pair redshift,petroMag_r
    """
    must_exist([table, *([labels] if labels else [])])
    pairs = []
    for text in pair or ():
        names = [name.strip() for name in text.split(",")]
        if len(names) != 2 or not all(names):
            raise typer.BadParameter(
                f"{text!r}; two columns are expected, such as redshift,petroMag_r", param_hint="--pair"
            )
        pairs.append((names[0], names[1]))
    with trouble(), writing(output, [table, labels, tree], overwrite, suffix=".png") as output:
        with libraries("plots", "report"):
            from ..display.plot_style import check_kind, save_plot
            from ..display.prediction_columns import tree_of_columns
            from ..display.prediction_plots import plot_predictions
        from ..pipeline.merge import table_of
        from ..votes.tree_files import load_tree

        check_kind(output)
        read = table_of(table)
        known_tree = load_tree(tree) if tree else tree_of_columns(read.column_names)
        votes = None
        if labels:
            votes = _without_training(_votes(labels, known_tree), read, table, model, include_training)
        figure = plot_predictions(read, known_tree, labels=votes, pairs=pairs, panels=panel or (), seed=seed)
        save_plot(figure, output)
        print_result(f"{output}: {counted(read.num_rows, 'galaxy', 'galaxies')}")


def _votes(path: Path, tree: DecisionTree) -> VoteTable:
    from ..votes.label_table import read_labels

    read = read_labels(path, tree)
    if read.errors:
        print_note(f"{path}: {counted(len(read.errors), 'row is', 'rows are')} left out, the first: {read.errors[0]}")
    return read.votes


def _without_training(
    votes: VoteTable, read: pa.Table, path: Path, model: str | None, include_training: bool
) -> VoteTable:
    """Leave out the galaxies that the model learned from, since they look more reliable than new ones."""
    from ..display.prediction_columns import texts
    from ..evaluation.training_overlap import all_in_training, leave_out_training, training_ids_of
    from ..tables.columns import about_table

    predicted = set(texts(read, "id"))
    votes = votes.select([row for row, id_ in enumerate(votes.ids) if id_ in predicted])
    rows, _ = leave_out_training(votes.ids, training_ids_of(about_table(read.schema), model), include=include_training)
    if len(votes) and not rows:
        raise all_in_training(path, len(votes))
    return votes.select(rows)
