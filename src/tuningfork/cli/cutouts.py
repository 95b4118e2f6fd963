"""`tuningfork cutouts`: images by position; and the options that `predict` shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command_line import app
from .console import counted, echo, print_json, say
from .errors import must_exist, report_rows, trouble
from .files import writing
from .options import JsonOption
from .progress import progress_bar

if TYPE_CHECKING:
    from ..inputs import Columns
    from ..surveys import CutoutSummary

__all__ = [
    "CacheOption",
    "CacheSizeOption",
    "DecColumnOption",
    "IdColumnOption",
    "HduOption",
    "LayerOption",
    "MaskBitsOption",
    "MaskOption",
    "MirrorOption",
    "PixelsOption",
    "RaColumnOption",
    "RadiusColumnOption",
    "RateOption",
    "Request",
    "SizeOption",
    "StretchOption",
    "cut_out",
    "cutouts",
]

_SKY, _TABLES = "Images by position", "Catalogues"
GIBIBYTE = 2**30

#: The sources' names stand in the help, see `command_line.fill_help`; looking for other packages' takes time.
SOURCE_HELP = "Where images come from: {sources}."
LayerOption = Annotated[
    str | None,
    typer.Option(help="Survey's layer or release; for SIA and FITS bands: g,r,z.", rich_help_panel=_SKY),
]
MirrorOption = Annotated[
    str | None, typer.Option(help="The service's address, if it is not the usual one.", rich_help_panel=_SKY)
]
SizeOption = Annotated[float | None, typer.Option(help="Arcseconds a side of the images.", rich_help_panel=_SKY)]
RadiusColumnOption = Annotated[
    str | None,
    typer.Option(help="Column of petroR90, arcsec: images are 8.48 radii wide, as trained on.", rich_help_panel=_SKY),
]
PixelsOption = Annotated[int, typer.Option(min=16, max=4096, help="Pixels a side of the images.", rich_help_panel=_SKY)]
RateOption = Annotated[
    float, typer.Option(min=0.001, max=1000, help="Requests a second to one host.", rich_help_panel=_SKY)
]
CacheOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the cache of responses [default: the user's].", rich_help_panel=_SKY),
]
CacheSizeOption = Annotated[float, typer.Option(min=0, help="Size of the cache, GiB; 0: none.", rich_help_panel=_SKY)]
IdColumnOption = Annotated[str | None, typer.Option(help="The galaxies' identifiers.", rich_help_panel=_TABLES)]
RaColumnOption = Annotated[str | None, typer.Option(help="Right ascension, degrees.", rich_help_panel=_TABLES)]
DecColumnOption = Annotated[str | None, typer.Option(help="Declination, degrees.", rich_help_panel=_TABLES)]


StretchOption = Annotated[
    str, typer.Option(help="How FITS images become colours: auto, or a survey's own.", rich_help_panel=_SKY)
]


_FITS = "FITS images"
HduOption = Annotated[
    str | None, typer.Option(help="The image, by number or name [default: of the sky].", rich_help_panel=_FITS)
]
MaskOption = Annotated[
    str | None, typer.Option(help="Image of bad pixels, by number or name: not 0.", rich_help_panel=_FITS)
]
MaskBitsOption = Annotated[
    str | None,
    typer.Option(help="Bits of the mask that are bad: BAD,SAT or 0x21 [default: all].", rich_help_panel=_FITS),
]


class Format(StrEnum):
    """Formats of image files."""

    png = "png"
    jpeg = "jpeg"


@dataclass(frozen=True)
class Request:
    """The options of a source."""

    source: str
    layer: str | None
    mirror: str | None
    stretch: str
    size: float | None
    radius_column: str | None
    pixels: int
    rate: float
    cache: Path | None
    cache_size: float
    hdu: str | None = None
    mask: str | None = None
    mask_bits: str | None = None

    def check(self) -> None:
        """Wrong usage (exit code 2) without a size of the images."""
        if (self.size is None) == (self.radius_column is None):
            raise typer.BadParameter(
                "how large are the images? Give --size ARCSEC, or --radius-column with the galaxies' petroR90 "
                "(arcsec): the model knows galaxies in frames of 8.48 of them",
                param_hint="--size",
            )
        if self.mask_bits is not None and self.mask is None:
            raise typer.BadParameter("name the --mask that they are of", param_hint="--mask-bits")
        try:
            _ = self.bits
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--mask-bits") from None

    @property
    def bits(self) -> tuple[int | str, ...] | None:
        """The bits of the mask; ValueError if they are none."""
        from ..images.fits.framing import parse_mask_bits

        return None if self.mask_bits is None else parse_mask_bits(self.mask_bits)

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides an image beside its position."""
        from .._utils.urls import public_url

        options = {"source": self.source, "layer": self.layer, "mirror": self.mirror, "stretch": self.stretch}
        tiles = {"hdu": self.hdu, "mask": self.mask, "mask_bits": self.mask_bits}
        # Folders of cutouts that were begun before there were these know nothing of them.
        chosen = {name: value for name, value in tiles.items() if value is not None}
        return {name: value and public_url(value) for name, value in options.items()} | chosen


def cut_out(
    catalogue: str,
    folder: Path,
    request: Request,
    columns: Columns,
    *,
    format: str = "png",
    quality: int = 95,
    resume: bool = False,
) -> CutoutSummary:
    """Download the cutouts of a catalogue's rows, with a progress bar and warnings."""
    from .._utils.files import default_cache
    from ..images.fits.framing import Framing, unit
    from ..surveys import CutoutFormat, SurveyOptions, Targets, download_cutouts, open_source
    from ..surveys.cache import Cache
    from ..surveys.client import Client

    targets = Targets(catalogue, Framing(size=request.size), replace(columns, radius=request.radius_column))
    cache = Cache(request.cache or default_cache() / "sky", int(request.cache_size * GIBIBYTE))
    with Client(rate=request.rate, cache=cache if request.cache_size else None) as client:
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
            say(f"warning: {path} is left out: {reason}")
        if warning := targets.check():
            say(f"warning: {catalogue}: {warning}")
        with progress_bar("cutting out") as progress:
            return download_cutouts(
                targets,
                source,
                folder,
                CutoutFormat(request.pixels, format, quality),
                identity=request.identity,
                resume=resume,
                progress=progress,
            )


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
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG files.")] = 95,
    rate: RateOption = 4.0,
    cache: CacheOption = None,
    cache_size: CacheSizeOption = 1.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume: keep what is there, try again what failed.")
    ] = False,
    as_json: JsonOption = False,
    id_column: IdColumnOption = None,
    ra_column: RaColumnOption = None,
    dec_column: DecColumnOption = None,
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
    with (
        trouble("give the same command with --resume to continue"),
        writing(output, [catalogue, source], resumable=True),
    ):
        from ..inputs import Columns

        columns = Columns(id=id_column, right_ascension=ra_column, declination=dec_column)
        summary = cut_out(catalogue, output, request, columns, format=format.value, quality=quality, resume=resume)
        if as_json:
            counts = {"rows": summary.rows, "failed": summary.failed, "resumed": summary.resumed}
            print_json({"output": str(output), "table": str(summary.table), **counts})
        else:
            again = f" ({summary.resumed} of them from before)" if summary.resumed else ""
            galaxies = counted(summary.rows, "galaxy", "galaxies")
            echo(f"{summary.table}: {galaxies}{again}, {summary.failed} without an image")
        report_rows(summary.errors, summary.failed)
