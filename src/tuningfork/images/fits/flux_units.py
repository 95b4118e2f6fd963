"""Units of the numbers of FITS images, by BUNIT: logarithms, surface brightness, and nanomaggies."""

from __future__ import annotations

import math
import re

__all__ = ["is_logarithm", "is_surface_brightness", "nanomaggies"]

#: Units whose numbers are logarithms of flux.
_LOGARITHMS = re.compile(r"(?:^|[^a-z]|ab|st|vega|m)mags?(?![a-z])|magnitude|\b(dex|db|log(10)?|ln)\b")
#: Units of area on the sky; fluxes without one are those of a pixel.
_AREA = re.compile(r"(?<![a-z])(sr|steradians?|(?:sq(?:uare)?\s*)?(?:arcsec|arcmin|deg)|beam)(?![a-z])")
#: Fluxes of broad bands: a number, a prefix, and Jansky or maggy.
_FLUX = re.compile(
    r"(?P<number>\d*\.?\d+(?:[eE][+-]?\d+)?|10\s*(?:\^|\*\*)\s*\(?[+-]?\d+\)?)?\s*\*?\s*"
    r"(?P<prefix>[a-zµμ]*?)(?P<base>jy|jansky|janskys|mgy|magg(?:y|ie|ies))(?P<rest>(?![a-z]).*)",
    re.IGNORECASE,
)
_PREFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "m": -3, "milli": -3, "u": -6, "µ": -6, "μ": -6, "micro": -6}
_PREFIXES |= {"n": -9, "nano": -9, "p": -12, "mega": 6, "N": -9, "U": -6}
#: AB magnitude 0 (Oke & Gunn 1983): 3631 Jy, or one maggy.
JANSKYS = 3631.0
_PIXEL = re.compile(r"[\s/.*^()-]*(?:(?:per\s*)?(?:pix(?:el)?s?)[\s*^()-]*[12]?)?\)?", re.IGNORECASE)
_SQUARE = re.compile(
    r"[\s/.*()]*(?:per\s*)?(sr|steradian|arcsec|square\s?arcsec)[\s*^()]*-?[\s*^()]*[12]?\)?", re.IGNORECASE
)
ARCSECONDS = 3600 * 180 / math.pi


def is_logarithm(unit: str) -> bool:
    """Whether numbers of this unit are logarithms of flux.

    Examples
    --------
    >>> [is_logarithm(unit) for unit in ("mag/arcsec2", "ABmag", "log(Jy)", "nanomaggy", "adu")]
    [True, True, True, False, False]
    """
    return bool(_LOGARITHMS.search(unit.lower()))


def is_surface_brightness(unit: str) -> bool:
    """Whether numbers of this unit are of an area on the sky, and so the same whatever the pixel.

    Examples
    --------
    >>> [is_surface_brightness(unit) for unit in ("MJy/sr", "nanomaggy arcsec-2", "Jy/beam", "nJy", "adu", "")]
    [True, True, True, False, False, False]
    """
    return bool(_AREA.search(unit.lower()))


def nanomaggies(unit: str, pixel_scale: float) -> float | None:
    """What numbers of a unit are multiplied with to be nanomaggies a pixel; None for a unit that is no such flux.

    Parameters
    ----------
    unit : str
        As BUNIT names it.
    pixel_scale : float
        Arcseconds a pixel, for units of an area on the sky.

    Examples
    --------
    >>> [nanomaggies(unit, 0.4) for unit in ("nanomaggy", "3.631 uJy/pixel", "adu", "Jy/beam")]
    [1.0, 1.0, None, None]
    >>> round(nanomaggies("MJy/sr", 0.4), 3)  # 1 MJy/sr is 20.47 mag a square arcsecond
    1.036
    """
    flux = _FLUX.fullmatch(unit.strip())
    if flux is None:
        return None
    prefix = flux["prefix"] if flux["prefix"] in _PREFIXES else flux["prefix"].lower()
    if prefix not in _PREFIXES:
        return None
    number = 1.0
    if text := flux["number"]:
        power = re.search(r"(?:\^|\*\*)\s*\(?([+-]?\d+)", text)
        number = 10.0 ** int(power[1]) if power else float(text)
    exponent = _PREFIXES[prefix]
    is_jansky = flux["base"].lower().startswith("j")
    # Mgy is a maggy, nMgy a billionth of it.
    factor = number * 10.0 ** (exponent + 9) / (JANSKYS if is_jansky else 1)
    if _PIXEL.fullmatch(flux["rest"]):
        return factor
    if (area := _SQUARE.fullmatch(flux["rest"])) is None or not math.isfinite(pixel_scale):
        return None
    return factor * pixel_scale**2 / (ARCSECONDS**2 if area[1].lower() in ("sr", "steradian") else 1)
