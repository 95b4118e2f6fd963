"""Filters: the cards that name them, and their order by wavelength."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .cards import card_number, card_text

__all__ = ["COLOURS", "FILTER_IN_NAME", "by_wavelength", "filter_of", "plane_names", "plane_order"]

#: A filter in a file's name, between signs that part words.
FILTER_IN_NAME = re.compile(
    r"(?<![A-Za-z0-9])([ugrizyUBVRIJHK]|Ks|[nf]uv|[wW][1-4]|VIS|[Ff]\d{3,4}(?:[WMNXwmnx]2?|LP|lp))(?![A-Za-z0-9])"
)
#: Planes of a colour image, as viewers save it.
COLOURS = ("R", "G", "B")
#: Cards that name a filter; of a wheel of several, the others are clear. PUPIL is JWST's second wheel, FPA that of
#: Pan-STARRS.
_CARDS = ("FILTER", "FILTER1", "FILTER2", "FILTNAM1", "FILTNAM2", "FILTNAM", "BAND", "FPA.FILTERID", "PUPIL")
_CLEAR = re.compile(r"clear|open|none|empty|blank|n/?a\b|$", re.IGNORECASE)
#: Nanometres, about.
_WAVELENGTHS: dict[str, float] = {
    **{"fuv": 153, "uvw2": 193, "uvm2": 225, "nuv": 231, "uvw1": 260, "u": 355, "b": 440, "blue": 440, "g": 480},
    **{"green": 480, "oiii": 501, "v": 550, "r": 620, "red": 620, "ha": 656, "halpha": 656, "sii": 672, "vis": 715},
    **{"i": 760, "z": 900, "y": 1000, "j": 1250, "h": 1640, "k": 2190, "ks": 2150, "w1": 3400, "irac1": 3550},
    **{"ch1": 3550, "irac2": 4490, "ch2": 4490, "w2": 4600, "irac3": 5730, "ch3": 5730, "irac4": 7870, "ch4": 7870},
    **{"w3": 12000, "w4": 22000},
}
#: Filters of space telescopes: three digits are hundredths of a micrometre in the infrared, else nanometres; four are
#: hundredths of a micrometre.
_SPACE = re.compile(r"(?<![A-Z0-9])F(\d{3,4})(LP|[WMNX]2?)(?![A-Z0-9])")
#: Those of JWST and NICMOS among numbers that HST has for nanometres.
_JWST = """
    200W 210M 212N 222M 237M 240M 250M 277W 300M 322W2 323N 335M 356W 360M 405N 410M 430M 444W 460M 466N 470N 480M 560W
    770W
"""
_INFRARED = frozenset(_JWST.split())
#: Narrow bands of J-PAS, J-PLUS and S-PLUS; and letters with their survey's name in one word.
_NARROW, _WITH_SURVEY = re.compile(r"[JF]0?(\d{3})"), re.compile(r"([ugrizy])(?:sdss|ps1|p1|des|decam|hsc|lsst|java)")


def by_wavelength(names: Sequence[str]) -> list[str]:
    """Names of bands by increasing wavelength, if it is known of all from them, else as they are.

    Examples
    --------
    >>> by_wavelength(["i", "g", "r"]), by_wavelength(["F160W", "F606W", "F814W"]), by_wavelength(["SCI", "g"])
    (['g', 'r', 'i'], ['F606W', 'F814W', 'F160W'], ['SCI', 'g'])
    """
    keys = [_wavelength(name) for name in names]
    if None in keys:
        return list(names)
    return [name for _, name in sorted(zip(keys, names, strict=True), key=lambda pair: pair[0] or 0)]


def _wavelength(name: str) -> float | None:
    """Nanometres; None if the name has no known filter, or several."""
    if space := _SPACE.search(name.upper()):
        digits, kind = space.groups()
        number = float(digits)
        is_nanometres = kind == "LP" if number < 200 else len(digits) == 3 and digits + kind not in _INFRARED
        return number if is_nanometres else 10 * number
    if narrow := _NARROW.fullmatch(name.strip().upper()):
        return float(narrow[1])
    found = set()
    for word in re.split(r"[^a-z0-9]+", re.sub(r"h[\s_-]?alpha", "halpha", name.lower())):
        # HSC's I2 is its second i.
        for form in (word, re.sub(r"(?<=\D)\d{1,2}$", "", word)):
            form = with_survey[1] if (with_survey := _WITH_SURVEY.fullmatch(form)) else form
            if form in _WAVELENGTHS:
                found.add(_WAVELENGTHS[form])
                break
    return found.pop() if len(found) == 1 else None


def filter_of(header: Any) -> str:
    """The filter that a header names; "" if it names none."""
    return next((text for card in _CARDS if not _CLEAR.match(text := card_text(header, card))), "")


def plane_names(header: Any, count: int) -> tuple[str, ...]:
    """Names of a cube's planes; () where it has not all of them.

    By BANDS (``grz``; ``g,r,z``) or BAND0, BAND1, …; CTYPE3 or COLORSPC (of PixInsight) may say that it is RGB.
    """
    text = card_text(header, "BANDS") or card_text(header, "FILTERS")
    names = tuple(re.split(r"[\s,;]+", text)) if re.search(r"[\s,;]", text) else tuple(text)
    if len(names) == count and len(set(names)) == count and "".join(names).isalnum() and not names[0].isdigit():
        return names
    for card in ("BAND", "FILTER", "FILT"):
        for first in (0, 1):
            names = tuple(card_text(header, f"{card}{number}") for number in range(first, first + count))
            if all(names) and len(set(names)) == count:
                return names
    colours = (card_text(header, card).upper() for card in ("CTYPE3", "COLORSPC"))
    return COLOURS if count == 3 and any(text.startswith("RGB") for text in colours) else ()


def plane_order(header: Any, axis: int, count: int) -> tuple[int, ...]:
    """Planes by increasing wavelength where the cube's own axis tells, else ().

    Parameters
    ----------
    axis : int
        Number of the axis of the planes in the header, from 1.
    count : int
        Planes of the cube.

    Raises
    ------
    ValueError
        If the planes are no bands: Stokes parameters, or times; the message is what they are.
    """
    kind = card_text(header, f"CTYPE{axis}").upper()
    if kind.startswith(("STOKES", "TIME", "UTC", "MJD", "DATE")):
        raise ValueError(kind)
    step = card_number(header, f"CD{axis}_{axis}") or card_number(header, f"CDELT{axis}") or 0.0
    if kind.startswith(("FREQ", "ENER", "WAVN")):
        step = -step
    elif not kind.startswith(("WAVE", "AWAV")):
        return ()
    return tuple(range(count))[:: -1 if step < 0 else 1] if step else ()
