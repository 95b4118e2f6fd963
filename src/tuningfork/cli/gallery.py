"""`tuningfork gallery`: a page on which a whole table of predictions is browsed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_note, print_result
from .errors import SOME_ROWS_FAILED, must_exist, trouble
from .files import writing
from .options import OverwriteOption, PredictionsArgument, TreeOfTableOption
from .progress import progress_bar

__all__ = ["gallery"]


@app.command()
def gallery(
    table: PredictionsArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A folder; or a file .html, which holds all thumbnails.")
    ],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder where the images are now, if not where the table says.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.  [default: the table's name]")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="A further column of numbers to sort and filter by; may be repeated."),
    ] = None,
    most: Annotated[
        int, typer.Option("--max", min=1, max=100_000, help="Galaxies on the page; of more, so many at random.")
    ] = 100_000,
    pixels: Annotated[int, typer.Option(min=16, max=256, help="Side of a thumbnail.")] = 96,
    crop: Annotated[float, typer.Option(min=0.05, max=1, help="Fraction of the image's side that is shown.")] = 0.5,
    tree: TreeOfTableOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draw, if there are too many galaxies.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a page to browse a table of predictions: thumbnails, search, filters, sorting, a selection to save.

    It is opened from the disk and asks nothing from the network; a folder can be put on any web server.

    Examples:

        tuningfork gallery votes.parquet -o gallery/

        tuningfork gallery votes.parquet -o gallery.html --images cutouts/ --max 5000
    """
    must_exist([table, *([images] if images else [])])
    is_folder = output.suffix.lower() not in (".html", ".htm")
    with (
        trouble(),
        writing(output, [table, images, tree], overwrite, folder=is_folder, suffix=".html") as output,
        progress_bar("reading images") as progress,
    ):
        from itertools import chain

        from ..display.gallery import GalleryOptions, write_gallery
        from ..display.prediction_columns import tree_of_columns
        from ..images.encode import thumbnail
        from ..images.find import find_image
        from ..labelling.prediction_blocks import table_blocks
        from ..votes.tree_files import load_tree

        blocks = table_blocks(table)
        first = next(blocks, None)
        if first is None:
            raise ValueError(f"{table}: the table has no rows; nothing to show")
        options = GalleryOptions(
            title or table.name.partition(".")[0], pixels, tuple(column or ()), most, seed, source=table.name
        )
        report = write_gallery(
            chain([first], blocks),
            load_tree(tree) if tree else tree_of_columns(first.column_names),
            output,
            lambda name, path: thumbnail(find_image(name, path, images), crop, pixels),
            options,
            progress,
        )
        of = f" of {report.total:,}, drawn at random" if report.galaxies < report.total else ""
        print_result(f"{output}: {report.galaxies:,} galaxies{of}, {report.bytes / 1e6:.1f} MB")
        if report.without_prediction:
            print_note(
                f"{counted(report.without_prediction, 'galaxy has', 'galaxies have')} no prediction; the page says why"
            )
        if report.without_image:
            where = "they are not in --images" if images else "name the folder where they are with --images"
            print_note(f"{report.without_image:,} of {report.galaxies:,} images cannot be read: {where}")
            raise typer.Exit(SOME_ROWS_FAILED)
