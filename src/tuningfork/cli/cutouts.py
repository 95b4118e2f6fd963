"""`tuningfork cutouts`: images by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_json, print_note, print_result
from .errors import must_exist, report_rows, trouble
from .files import writing
from .fits_options import HduOption, MaskBitsOption, MaskOption, StretchOption
from .options import JsonOption
from .progress import progress_bar
from .sky_options import (
    SOURCE_HELP,
    CacheOption,
    CacheSizeOption,
    LayerOption,
    MirrorOption,
    PixelsOption,
    RadiusColumnOption,
    RateOption,
    Request,
    SizeOption,
)
from .table_options import (
    DecColumnOption,
    IdColumnOption,
    KeepColumnsOption,
    RaColumnOption,
    columns_to_keep,
    print_column_changes,
)

if TYPE_CHECKING:
    from ..inputs import Columns
    from ..surveys import CutoutSummary

__all__ = ["cut_out", "cutouts"]

GIBIBYTE = 2**30


class Format(StrEnum):
    """Formats of image files."""

    png = "png"
    jpeg = "jpeg"


def cut_out(
    catalogue: str,
    folder: Path,
    request: Request,
    columns: Columns,
    *,
    format: str = "png",
    quality: int = 95,
    keep: Sequence[str] | None = None,
    resume: bool = False,
) -> CutoutSummary:
    """Download the cutouts of a catalogue's rows, with a progress bar and warnings."""
    from .._utils.files import default_cache
    from ..images.fits.framing import Framing, unit
    from ..inputs import table_columns
    from ..surveys import (
        CutoutFormat,
        SurveyOptions,
        Targets,
        add_columns,
        cutouts_schema,
        download_cutouts,
        open_source,
    )
    from ..surveys.cache import Cache
    from ..surveys.client import Client

    targets = Targets(catalogue, Framing(size=request.size), replace(columns, radius=request.radius_column))
    cache_bytes = int(request.cache_size * GIBIBYTE)
    cache = None
    if cache_bytes:
        try:
            cache = Cache(request.cache or default_cache() / "sky", cache_bytes)
        except OSError as error:
            if request.cache:
                raise
            print_note(f"warning: responses are not cached: {error}")
    with Client(rate=request.rate, cache=cache) as client:
        options = SurveyOptions(
            layer=request.layer,
            base=request.mirror,
            stretch=request.stretch,
            hdu=None if request.hdu is None else unit(request.hdu),
            mask=None if request.mask is None else unit(request.mask),
            mask_bits=request.bits,
        )
        source = open_source(request.source, options, client=client)
        for path, reason in getattr(source, "skipped", ()):
            print_note(f"warning: {path} is left out: {reason}")
        if warning := targets.check():
            print_note(f"warning: {catalogue}: {warning}")
        used = targets.roles()
        if len(used) == 2:
            print_note(f"{catalogue}: no column of IDs: the galaxies are numbered; name the column with --id-column")
        carried = table_columns(catalogue, cutouts_schema().names, keep=keep, own=used)
        print_column_changes(carried.renamed, carried.left_out)
        with progress_bar("cutting out", "images") as progress:
            summary = download_cutouts(
                targets,
                source,
                folder,
                CutoutFormat(request.pixels, format, quality),
                identity=request.identity,
                resume=resume,
                progress=progress,
            )
        add_columns(summary.table, catalogue, carried.columns)
    return summary


@app.command()
def cutouts(
    catalogue: Annotated[str, typer.Argument(help="Table of positions: Parquet, CSV, ECSV, VOTable or FITS.")],
    source: Annotated[str, typer.Option(help=SOURCE_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the images and their table.")],
    size: SizeOption = None,
    radius_column: RadiusColumnOption = None,
    pixels: PixelsOption = 424,
    layer: LayerOption = None,
    mirror: MirrorOption = None,
    stretch: StretchOption = "auto",
    format: Annotated[Format, typer.Option(help="png: as it is; jpeg: smaller.")] = Format.png,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Quality of JPEG files.")] = 95,
    rate: RateOption = 4.0,
    cache: CacheOption = None,
    cache_size: CacheSizeOption = 1.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run, and try failed rows again.")
    ] = False,
    as_json: JsonOption = False,
    id_column: IdColumnOption = None,
    ra_column: RaColumnOption = None,
    dec_column: DecColumnOption = None,
    keep_columns: KeepColumnsOption = "all",
    hdu: HduOption = None,
    mask: MaskOption = None,
    mask_bits: MaskBitsOption = None,
) -> None:
    """Download a cutout for each position of a catalogue.

    They are written as OUTPUT/00000/ID.png, a thousand rows a folder, with a table OUTPUT/cutouts.parquet with the
    provenance of each, or why there is none.

    Examples:

        tuningfork cutouts galaxies.csv --source legacy --size 60 -o cutouts

        tuningfork cutouts galaxies.fits --source sdss --radius-column petroR90_r -o cutouts

        tuningfork cutouts galaxies.csv --source hips:CDS/P/PanSTARRS/DR1/color-i-r-g --size 60 -o cutouts --resume

        tuningfork cutouts galaxies.csv --source tiles/ --size 60 -o cutouts
    """
    must_exist([catalogue])
    request = Request(
        *(source, layer, mirror, stretch, size, radius_column, pixels, rate, cache, cache_size),
        *(hdu, mask, mask_bits),
    )
    request.check()
    keep = columns_to_keep(keep_columns)
    with (
        trouble("give the same command with --resume to continue"),
        writing(output, [catalogue, source], resumable=True, own=("_journal.sqlite", "cutouts.parquet")),
    ):
        from ..inputs import Columns

        columns = Columns(id=id_column, right_ascension=ra_column, declination=dec_column)
        summary = cut_out(
            catalogue, output, request, columns, format=format.value, quality=quality, keep=keep, resume=resume
        )
        if as_json:
            counts = {"rows": summary.rows, "failed": summary.failed, "resumed": summary.resumed}
            print_json({"output": str(output), "table": str(summary.table), **counts})
        else:
            again = f" ({summary.resumed} of them from before)" if summary.resumed else ""
            galaxies = counted(summary.rows, "galaxy", "galaxies")
            print_result(f"{summary.table}: {galaxies}{again}, {summary.failed} without an image")
        report_rows(summary.errors, summary.failed)
