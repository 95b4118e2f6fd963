"""Options of FITS images: which image and bands, their stretch, mask and orientation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion

if TYPE_CHECKING:
    from ..images.fits.framing import Framing

__all__ = [
    "FITS",
    "BandsOption",
    "HduOption",
    "KeepOrientationOption",
    "MaskBitsOption",
    "MaskOption",
    "MeasureOption",
    "StretchOption",
    "framing_of",
]

FITS = "FITS images"
HduOption = Annotated[
    str | None, typer.Option(help="The image, by number or name [default: the science image].", rich_help_panel=FITS)
]
BandsOption = Annotated[
    str | None, typer.Option(help="Images or planes that are blue, green, red: G,R,I or 0,1,2.", rich_help_panel=FITS)
]
MaskOption = Annotated[
    str | None, typer.Option(help="Mask image, by number or name: pixels that are not 0 are bad.", rich_help_panel=FITS)
]
MaskBitsOption = Annotated[
    str | None,
    typer.Option(help="Bits of the mask that are bad: BAD,SAT or 0x21 [default: all].", rich_help_panel=FITS),
]
MeasureOption = Annotated[
    bool,
    typer.Option(
        "--measure", help="Measure the galaxy, and frame it to 8.48 petroR90, as in training.", rich_help_panel=FITS
    ),
]
KeepOrientationOption = Annotated[
    bool, typer.Option("--keep-orientation", help="Do not turn north up by the WCS.", rich_help_panel=FITS)
]
StretchOption = Annotated[
    str,
    typer.Option(
        help="Stretch from fluxes to colours: auto, or that of a survey, such as sdss, legacy, hst or euclid.",
        rich_help_panel=FITS,
        autocompletion=completion.stretches,
    ),
]


def framing_of(
    *,
    hdu: str | None = None,
    bands: str | None = None,
    mask: str | None = None,
    mask_bits: str | None = None,
    **options: Any,
) -> Framing:
    """The framing that the options ask for; wrong usage (exit code 2) if they cannot be meant.

    Parameters
    ----------
    hdu, bands, mask, mask_bits : str, optional
        As they are on the command line.
    **options
        Further fields of `Framing`.
    """
    from ..images.fits.framing import Framing, parse_mask_bits, unit

    try:
        return Framing(
            hdu=None if hdu is None else unit(hdu),
            bands=tuple(unit(band) for band in bands.split(",")) if bands else (),
            mask=None if mask is None else unit(mask),
            mask_bits=None if mask_bits is None else parse_mask_bits(mask_bits),
            **options,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
