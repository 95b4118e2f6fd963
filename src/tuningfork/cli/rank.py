"""`tuningfork rank`: which galaxies to label next (active learning)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import echo, print_json, print_result
from .errors import must_exist, report_rows, trouble
from .files import writing
from .kept_columns import with_kept_columns
from .options import (
    BatchOption,
    JsonOption,
    ModelOfImagesOption,
    OverwriteOption,
    ThreadsOption,
    TreeOption,
    check_views,
)
from .progress import progress_bar
from .table_options import KeepOfPredictionsOption, columns_to_keep

if TYPE_CHECKING:
    import pyarrow as pa

    from ..labelling.rank import Ranking, RankOptions

__all__ = ["rank"]


@app.command()
def rank(
    paths: Annotated[list[Path], typer.Argument(help="A table written by `tuningfork predict`; or images, folders.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .csv, .parquet, .fits, .vot or .ecsv.")
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of galaxies to choose.")] = 500,
    model: ModelOfImagesOption = "default",
    labels: Annotated[Path | None, typer.Option("--labels", help="Table of galaxies that have labels already.")] = None,
    include: Annotated[
        bool, typer.Option("--out-of-domain", help="Include galaxies that the predictions mark as out of domain.")
    ] = False,
    features: Annotated[
        bool,
        typer.Option("--features/--no-features", help="Compare galaxies by embeddings where there are some, or never."),
    ] = True,
    shortlist: Annotated[
        int, typer.Option(min=1, help="Maximum number that is compared with one another; of more, a weighted sample.")
    ] = 50_000,
    views: Annotated[
        int | None, typer.Option(help="For images: number of views to average (test-time augmentation), 1, 2, 4 or 8.")
    ] = None,
    batch: BatchOption = 32,
    threads: ThreadsOption = 0,
    tree: TreeOption = "gz2",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draw; the same seed gives the same order.")] = 0,
    keep_columns: KeepOfPredictionsOption = "all",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rank unlabelled galaxies for labelling (active learning): uncertain ones that differ from those before them.

    Each next galaxy is drawn in proportion to the entropy of its predicted votes times its squared distance to the
    nearest one that is labelled or chosen: between embeddings, if the table has them (`predict --embeddings`) or the
    model provides them, else between predicted votes. --tree is for tables; a model brings its own.

    Examples:

        tuningfork rank votes.parquet -o order.csv

        tuningfork rank votes.parquet -o order.csv --no-features

        tuningfork rank votes.parquet -o order.csv -n 100 --labels training_solutions_rev1.csv

        tuningfork rank cutouts/ -o order.csv --model run/bundle
    """
    check_views(views)
    keep = columns_to_keep(keep_columns)
    must_exist([*paths, *([labels] if labels else [])])
    with trouble(), writing(output, [*paths, labels, model, tree], overwrite) as output:
        from ..labelling.rank import RankOptions, labelled_ids, predicted_blocks, table_blocks
        from ..labelling.rank import rank as rank_blocks
        from ..model.model import load
        from ..model.options import InferenceOptions
        from ..pipeline.manifest import has_run
        from ..tables import check_format, has_format, table_writer
        from ..votes.tree_files import load_tree

        check_format(output)
        source = ""
        if len(paths) == 1 and ((paths[0].is_file() and has_format(paths[0])) or has_run(paths[0])):
            source = str(paths[0])
            blocks, known_tree = table_blocks(paths[0]), load_tree(tree)
        else:
            opened = load(model, threads=threads)
            embeddings = features and opened.feature_width > 0
            blocks = predicted_blocks(opened, paths, InferenceOptions(views, batch, embeddings))
            known_tree = opened.tree
        options = RankOptions(
            count,
            labelled_ids(labels, known_tree) if labels else frozenset(),
            out_of_domain=include,
            features=features,
            shortlist=shortlist,
            seed=seed,
        )
        ranked = rank_blocks(_with_progress(blocks), known_tree, options, source=source)
        chosen = with_kept_columns(ranked.table, paths[0], keep, known_tree) if source else ranked.table
        with table_writer(output, chosen.schema) as write:
            write(chosen)
        if as_json:
            print_json({"output": str(output), "chosen": ranked.table.num_rows, **ranked.to_dict()})
        else:
            print_result(f"{output}: {counted(ranked.table.num_rows, 'galaxy', 'galaxies')} to label, of {ranked.rows}")
            _print_summary(ranked, options)
        report_rows(ranked.errors, ranked.failed)


def _with_progress(blocks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    with progress_bar("reading") as progress:
        done = 0
        for block in blocks:
            yield block
            done += block.num_rows
            if progress:
                progress(done, 0)


def _print_summary(ranked: Ranking, options: RankOptions) -> None:
    echo(f"compared by {'embeddings' if ranked.by_features else 'predicted votes'}")
    if options.labelled:
        echo(f"left out: {ranked.labelled} with labels")
    if ranked.domain_known:
        action = "included" if options.out_of_domain else "left out"
        echo(f"{action}: {ranked.out_of_domain} out of the model's domain")
    if ranked.compared == options.shortlist:
        echo(f"compared: {options.shortlist}, a sample of the others weighted by uncertainty")
    for row in ranked.table.slice(0, 5).to_pylist():
        echo(f"  {row['rank']} {row['id']}: {row['reason']}")
