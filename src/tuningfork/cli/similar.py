"""`tuningfork index` and `tuningfork similar`: an index of galaxies by what a model sees, and those like a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import (
    JsonOption,
    ThreadsOption,
    app,
    counted,
    must_exist,
    print_json,
    progress_bar,
    report_rows,
    row_error,
    say,
    trouble,
)

__all__ = ["are_tables", "index", "similar"]


@app.command()
def index(
    paths: Annotated[
        list[str],
        typer.Argument(help="Parquet that `predict --embeddings` wrote, or folders of it; or pictures."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Index to write.")],
    model: Annotated[str, typer.Option(help="For pictures: a shipped model's name, or a bundle's folder.")] = "default",
    views: Annotated[int | None, typer.Option(help="For pictures: views to average, 1, 2, 4 or 8.")] = None,
    add: Annotated[bool, typer.Option("--add", help="Keep the galaxies that the index has, and add these.")] = False,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Index galaxies by what a model sees in their pictures, to find those that are like one another.

    Examples:

        tuningfork index votes.parquet -o galaxies.index

        tuningfork index cutouts/ -o galaxies.index --model fast

        tuningfork index more.parquet -o galaxies.index --add
    """
    if views not in (None, 1, 2, 4, 8):
        raise typer.BadParameter("1, 2, 4 or 8", param_hint="--views")
    must_exist([*paths, *([output] if add else [])])
    with trouble("" if are_tables(paths) else "predict --embeddings writes a table, and can be resumed: index that"):
        from .._utils.files import check_writable
        from ..similarity import Tables, blocks_of_predictions, build

        check_writable(output)
        if are_tables(paths):
            tables = Tables(paths)
            embedder, blocks = tables.embedder, tables.blocks()
        else:
            from ..model.model import load
            from ..model.options import InferenceOptions
            from ..pipeline.predict import predict_inputs

            opened = load(model, threads=threads)
            embedder = opened.embedder(views)
            blocks = blocks_of_predictions(predict_inputs(opened, paths, InferenceOptions(views, embeddings=True)))
        with progress_bar("indexing") as progress:
            built = build(blocks, embedder, output, onto=output if add else None, progress=progress)
        size = output.stat().st_size
        if as_json:
            told = {"rows": built.rows, "added": built.added, "failed": built.failed, "bytes": size}
            print_json({"output": str(output), "model": embedder.model, **told})
        else:
            more = f" ({built.added} of them new)" if add else ""
            galaxies = counted(built.rows, "galaxy", "galaxies")
            print(f"{output}: {galaxies}{more}, {built.failed} left out, {size / 1e6:.1f} MB")
        report_rows(built.errors, built.failed)


@app.command()
def similar(
    pictures: Annotated[list[str], typer.Argument(help="Pictures, folders, archives, catalogues or addresses.")],
    index_file: Annotated[Path, typer.Option("--index", help="Index that `tuningfork index` wrote.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Galaxies to find for each picture.")] = 10,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Page (.html) or picture (.png) that shows them.")
    ] = None,
    itself: Annotated[
        bool, typer.Option("--itself", help="Keep a galaxy whose picture is the very file that is asked for.")
    ] = False,
    images: Annotated[Path | None, typer.Option("--images", help="Where the index's pictures lie now.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The index's model, where it is not a shipped one: its folder.")
    ] = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Find the galaxies of an index that are most like a picture.

    Distance is 1 − cosine between what the networks see: 0 is the same, 1 has nothing in common. A turned or
    mirrored copy is very near.

    Examples:

        tuningfork similar galaxy.jpg --index galaxies.index

        tuningfork similar galaxy.jpg --index galaxies.index -k 20 -o similar.html

        tuningfork similar cutouts/ --index galaxies.index --json
    """
    must_exist([*pictures, index_file, *([images] if images else [])])
    if output and output.suffix.lower() not in (".html", ".png"):
        raise typer.BadParameter(f"{output}: a page (.html) or a picture (.png)", param_hint="--output")
    with trouble():
        from .._utils.files import check_writable
        from ..model.model import load
        from ..model.options import InferenceOptions
        from ..pipeline.predict import predict_inputs
        from ..similarity import Index, asked

        if output:
            check_writable(output)
        opened_index = Index.open(index_file)
        embedder = opened_index.embedder
        opened = load(embedder.model if model is None else model, threads=threads)
        embedder.check(opened.embedder(embedder.n_views), f"model {opened.bundle.name}")
        stream = predict_inputs(opened, pictures, InferenceOptions(embedder.n_views, embeddings=True))
        shown, errors, asked_for = [], [], 0
        for found in asked(opened_index, stream, k, itself=itself):
            asked_for += 1
            if found.error:
                errors.append(row_error(found.path, found.error))
            if as_json:
                print_json(found.to_dict(), indent=None)
            elif not output:
                for line in _lines(found):
                    print(line)
            if output:
                shown.append(found)
        if output:
            _write(shown, embedder, output, images)
            say(f"{output}: {counted(asked_for, 'picture', 'pictures')} among {len(opened_index)} galaxies")
        report_rows(errors)


def are_tables(paths: list[str]) -> bool:
    """Whether these are tables of what was predicted, not pictures to predict."""

    def is_table(path: Path) -> bool:
        return path.suffix.lower() in (".parquet", ".pq") or (path.is_dir() and any(path.glob("*.parquet")))

    return all(is_table(Path(path)) for path in paths)


def _lines(found: Any) -> Iterator[str]:
    if found.error:
        return
    yield f"{found.id}: {found.class_name}" if found.class_name else found.id
    for rank, near in enumerate(found.neighbours, 1):
        yield f"  {rank:>3}  {near.distance:.4f}  {near.id}  {near.path}"


def _write(found: list[Any], embedder: Any, output: Path, images: Path | None) -> None:
    from ..similarity.neighbours_page import write_montage, write_page

    if output.suffix.lower() == ".png":
        write_montage(found, output, images)
    else:
        write_page(found, embedder, output, images)
