"""`tuningfork index`: an index of embeddings for similarity search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_json, print_result
from .errors import must_exist, report_rows, trouble
from .files import writing
from .options import EmbeddingsArgument, JsonOption, ModelOfImagesOption, OverwriteOption, ThreadsOption, check_views
from .progress import progress_bar

__all__ = ["are_tables", "index"]


@app.command()
def index(
    paths: EmbeddingsArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="Index to write.")],
    model: ModelOfImagesOption = "default",
    views: Annotated[int | None, typer.Option(help="For images: views to average, 1, 2, 4 or 8.")] = None,
    add: Annotated[bool, typer.Option("--add", help="Keep the galaxies that the index has, and add these.")] = False,
    threads: ThreadsOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Index galaxies by their embeddings, to find similar ones.

    Examples:

        tuningfork index votes.parquet -o galaxies.index

        tuningfork index cutouts/ -o galaxies.index --model fast

        tuningfork index more.parquet -o galaxies.index --add
    """
    check_views(views)
    must_exist([*paths, *([output] if add else [])])
    again = "" if are_tables(paths) else "predict --embeddings writes a table, and can be resumed: index that"
    with trouble(again), writing(output, [*paths, model], overwrite or add, suffix=".parquet") as output:
        from ..similarity import EmbeddingTables, blocks_of_predictions, build_index

        if are_tables(paths):
            tables = EmbeddingTables(paths)
            embedder, blocks = tables.embedder, tables.blocks()
        else:
            from ..model.model import load
            from ..model.options import InferenceOptions
            from ..pipeline.in_process import predict_inputs

            opened = load(model, threads=threads)
            embedder = opened.embedder(views)
            blocks = blocks_of_predictions(predict_inputs(opened, paths, InferenceOptions(views, embeddings=True)))
        with progress_bar("indexing") as progress:
            report = build_index(blocks, embedder, output, onto=output if add else None, progress=progress)
        size = output.stat().st_size
        if as_json:
            counts = {"rows": report.rows, "added": report.added, "failed": report.failed, "bytes": size}
            print_json({"output": str(output), "model": embedder.model, **counts})
        else:
            more = f" ({report.added} of them new)" if add else ""
            galaxies = counted(report.rows, "galaxy", "galaxies")
            print_result(f"{output}: {galaxies}{more}, {report.failed} left out, {size / 1e6:.1f} MB")
        report_rows(report.errors, report.failed)


def are_tables(paths: list[str]) -> bool:
    """Whether these are tables of predictions, not images to predict."""

    def is_table(path: Path) -> bool:
        return path.suffix.lower() in (".parquet", ".pq") or (path.is_dir() and any(path.glob("*.parquet")))

    return all(is_table(Path(path)) for path in paths)
