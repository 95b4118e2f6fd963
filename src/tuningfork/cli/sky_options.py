"""Options of images by position: which source, how large, which colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from . import completion

__all__ = [
    "SKY",
    "SOURCE_HELP",
    "CacheOption",
    "CacheSizeOption",
    "LayerOption",
    "MirrorOption",
    "PixelsOption",
    "RadiusColumnOption",
    "RateOption",
    "Request",
    "SizeOption",
    "SourceOption",
]

SKY = "Images by position"

#: The sources' names stand in the help, see `command_line.fill_help`; looking for other packages' takes time.
SOURCE_HELP = "Where images come from: {sources}."
LayerOption = Annotated[
    str | None, typer.Option(help="Survey's layer or release; for SIA and FITS bands: g,r,z.", rich_help_panel=SKY)
]
MirrorOption = Annotated[
    str | None, typer.Option(help="The service's address, if it is not the usual one.", rich_help_panel=SKY)
]
SizeOption = Annotated[float | None, typer.Option(help="Arcseconds a side of the images.", rich_help_panel=SKY)]
RadiusColumnOption = Annotated[
    str | None,
    typer.Option(help="Column of petroR90, arcsec: images are 8.48 radii wide, as trained on.", rich_help_panel=SKY),
]
PixelsOption = Annotated[int, typer.Option(min=16, max=4096, help="Pixels a side of the images.", rich_help_panel=SKY)]
RateOption = Annotated[
    float, typer.Option(min=0.001, max=1000, help="Requests a second to one host.", rich_help_panel=SKY)
]
CacheOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the cache of responses [default: the user's].", rich_help_panel=SKY),
]
CacheSizeOption = Annotated[float, typer.Option(min=0, help="Size of the cache, GiB; 0: none.", rich_help_panel=SKY)]
SourceOption = Annotated[
    str | None,
    typer.Option(
        help=f"PATHS is a catalogue of positions. {SOURCE_HELP}",
        rich_help_panel=SKY,
        autocompletion=completion.sources,
    ),
]


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
