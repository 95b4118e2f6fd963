"""`tuningfork similar`: the galaxies of an index that are most similar to an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import echo, print_json, print_note
from .errors import must_exist, report_rows, row_error, trouble
from .files import writing
from .options import JsonOption, OverwriteOption, ThreadsOption

if TYPE_CHECKING:
    from ..similarity import Match

__all__ = ["similar"]


@app.command()
def similar(
    images: Annotated[list[str], typer.Argument(help="Images, folders, archives, catalogues or addresses.")],
    index_file: Annotated[Path, typer.Option("--index", help="Index that `tuningfork index` wrote.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Galaxies to find for each image.")] = 10,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Page (.html) or image (.png) that shows them.")
    ] = None,
    include_self: Annotated[
        bool, typer.Option("--include-self", help="Include the galaxy whose image is the queried file itself.")
    ] = False,
    folder: Annotated[Path | None, typer.Option("--images", help="Folder where the index's images are now.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The index's model, where it is not a shipped one: its folder.")
    ] = None,
    threads: ThreadsOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find the galaxies of an index that are most similar to an image.

    Distance is 1 − cosine between the networks' embeddings: 0 is the same, 1 has nothing in common. A rotated or
    mirrored copy is very near.

    Examples:

        tuningfork similar galaxy.jpg --index galaxies.index

        tuningfork similar galaxy.jpg --index galaxies.index -k 20 -o similar.html

        tuningfork similar cutouts/ --index galaxies.index --json
    """
    must_exist([*images, index_file, *([folder] if folder else [])])
    if output and output.suffix.lower() not in (".html", ".png"):
        raise typer.BadParameter(f"{output}: a page (.html) or an image (.png)", param_hint="--output")
    with trouble(), writing(output, [*images, index_file, folder, model], overwrite) as output:
        from ..model.model import load
        from ..model.options import InferenceOptions
        from ..pipeline.in_process import predict_inputs
        from ..similarity import Index, query
        from ..similarity.neighbours_page import write_montage, write_page

        index = Index.open(index_file)
        embedder = index.embedder
        opened = load(embedder.model if model is None else model, threads=threads)
        embedder.check(opened.embedder(embedder.n_views), f"model {opened.bundle.name}")
        stream = predict_inputs(opened, images, InferenceOptions(embedder.n_views, embeddings=True))
        matches, errors, queries = [], [], 0
        for match in query(index, stream, k, include_self=include_self):
            queries += 1
            if match.error:
                errors.append(row_error(match.path, match.error))
            if as_json:
                print_json(match.to_dict(), indent=None)
            elif not output:
                for line in _lines(match):
                    echo(line)
            if output:
                matches.append(match)
        if output:
            if output.suffix.lower() == ".png":
                write_montage(matches, output, folder)
            else:
                write_page(matches, embedder, output, folder)
            print_note(f"{output}: {counted(queries, 'image', 'images')} among {len(index)} galaxies")
        report_rows(errors)


def _lines(match: Match) -> Iterator[str]:
    if match.error:
        return
    yield f"{match.id}: {match.headline}" if match.headline else match.id
    for rank, near in enumerate(match.neighbours, 1):
        yield f"  {rank:>3}  {near.distance:.4f}  {near.id}  {near.path}"
