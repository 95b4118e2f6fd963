"""What the images of a FITS file are by their cards: science or auxiliary, and which bands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["by_wavelength", "is_auxiliary", "is_logarithm", "is_science", "plane_names"]

#: Words in names of images beside the science image; and parts of such words.
_LIST = """
    weight weights wht wt wgt wmap weightmap var variance vari ivar invvar inverse err error errors unc uncert
    uncertainty rms sigma std stddev noise mask msk masks dq dqmask flag flags bad badpix badpixel bpm bpix quality
    qual exp expmap exposuremap exposure exptime efftime texp nexp coverage ctx con context psf psfim psfsize seg segm
    segmap segmentation bkg bg back cov background sky model galmodel blobmodel resid residual residuals chi chi2 chisq
    nim nea d2imarr wcsdvarr snr scorr samp time maskbits depth galdepth psfdepth
"""
_AUXILIARY = frozenset(_LIST.split())
_PARTS = re.compile(r"(?<!un)mask|weight|invvar|ivar|varianc|uncert|sigma|stdev|stddev|resid|segm|badpix|noise")
_SCIENCE = frozenset(("sci", "science", "data", "image", "flux"))
#: Cards that describe what an image holds.
_CARDS = ("EXTNAME", "HDUNAME", "EXTTYPE", "IMTYPE", "HDUCLAS2", "HDUCLAS3")
#: Units of BUNIT whose numbers are logarithms of flux.
_LOGARITHMS = re.compile(r"(?:^|[^a-z]|ab|st|vega|m)mags?(?![a-z])|magnitude|\b(dex|db|log(10)?|ln)\b")
#: Filters by increasing wavelength.
_WAVELENGTHS = ("fuv", "nuv", "u", "b", "g", "v", "r", "i", "z", "y", "j", "h", "k", "ks")
_COLOURS = {"blue": "b", "green": "g", "red": "r"}


def is_auxiliary(header: Any) -> bool:
    """Whether an image is a weight, variance, mask or the like, by its names."""
    words = _words(header)
    return bool(words & _AUXILIARY) or any(map(_PARTS.search, words))


def is_science(header: Any) -> bool:
    """Whether an image is the science image, by its names."""
    return bool(_words(header) & _SCIENCE) and not is_auxiliary(header)


def _words(header: Any) -> set[str]:
    text = " ".join(str(header.get(card, "")) for card in _CARDS).lower()
    words = set(re.split(r"[^a-z0-9]+", text)) - {""}
    return words | {word.rstrip("0123456789") for word in words} - {""}


def is_logarithm(unit: str) -> bool:
    """Whether numbers of this unit are logarithms of flux.

    Examples
    --------
    >>> [is_logarithm(unit) for unit in ("mag/arcsec2", "ABmag", "log(Jy)", "nanomaggy", "adu")]
    [True, True, True, False, False]
    """
    return bool(_LOGARITHMS.search(unit.lower()))


def plane_names(header: Any, count: int) -> tuple[str, ...]:
    """Names of a cube's planes, by BANDS (``grz``; ``g,r,z``) or BAND0, BAND1, …; () where it has not all of them."""
    text = str(header.get("BANDS", header.get("FILTERS", ""))).strip()
    names = tuple(re.split(r"[\s,;]+", text)) if re.search(r"[\s,;]", text) else tuple(text)
    if len(names) == count and len(set(names)) == count and "".join(names).isalnum() and not names[0].isdigit():
        return names
    for card in ("BAND", "FILTER", "FILT"):
        for first in (0, 1):
            names = tuple(str(header.get(f"{card}{number}", "")).strip() for number in range(first, first + count))
            if all(names) and len(set(names)) == count:
                return names
    return ()


def by_wavelength(names: Sequence[str]) -> list[str]:
    """Names of bands by increasing wavelength, as far as it is known from them: g, r, i; F435W; else as they are."""
    keys = []
    for name in names:
        digits = re.fullmatch(r"F(\d{3,4})[A-Z]\w?", name.upper())
        words = re.split(r"[^a-z]+", name.lower())
        last = words[-1] or words[0]
        last = _COLOURS.get(last, last)
        if digits:
            keys.append(float(digits[1]))
        elif last in _WAVELENGTHS:
            keys.append(float(_WAVELENGTHS.index(last)))
        else:
            return list(names)
    return [name for _, name in sorted(zip(keys, names, strict=True), key=lambda pair: pair[0])]
