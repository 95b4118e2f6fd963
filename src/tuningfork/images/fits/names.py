"""What the images of FITS files are by their names: science, or weights, errors, masks and the like beside it."""

from __future__ import annotations

import re
from typing import Any

from .cards import card_text

__all__ = ["is_auxiliary", "is_map_name", "is_science"]

#: Words in names of images beside the science image; and parts of such words.
_LIST = """
    weight weights wht wt wgt wmap weightmap var variance vari ivar invvar inverse err error errors unc uncert
    uncertainty rms sigma std stddev noise mask msk masks dq dqmask flag flags bad badpix badpixel bpm bpix quality
    qual exp expmap exposuremap exposure exptime efftime texp nexp coverage ctx con context psf psfim psfsize seg segm
    segmap segmentation bkg bg back cov background sky model galmodel blobmodel resid residual residuals chi chi2 chisq
    nim nea d2imarr wcsdvarr snr scorr samp time maskbits depth galdepth psfdepth area pixarea conf confidence
    wtmap expwt
"""
_AUXILIARY = frozenset(_LIST.split())
_PARTS = re.compile(r"(?<!un)mask|msk|weight|invvar|ivar|varianc|uncert|sigma|stdev|stddev|resid|segm|badpix|noise")
#: Words of these that are as likely the name of a place, an object or a run in the name of a file.
_PLACES = frozenset(
    ("area", "back", "background", "con", "deep", "exposure", "exptime", "nea", "noise", "sky", "samp", "texp", "time")
)
_SCIENCE = frozenset(("sci", "science", "data", "image", "flux"))
#: Cards that describe what an image holds.
_CARDS = ("EXTNAME", "HDUNAME", "EXTTYPE", "IMTYPE", "PRODTYPE", "HDUCLAS2", "HDUCLAS3")


def is_auxiliary(header: Any) -> bool:
    """Whether an image is a weight, variance, mask or the like, by its names."""
    return _is_map(_words(_text(header)))


def is_map_name(name: str) -> bool:
    """Whether a file's name, beside those of science images, is that of a weight, variance, mask or the like.

    Examples
    --------
    >>> [is_map_name(name) for name in ("tile-invvar-r.fits.fz", "a.weight.fits", "ztf_mskimg.fits", "sky7.fits")]
    [True, True, True, False]
    """
    return _is_map(_words(name) - _PLACES)


def is_science(header: Any) -> bool:
    """Whether an image is the science image, by its names."""
    return bool(_words(_text(header)) & _SCIENCE) and not is_auxiliary(header)


def _text(header: Any) -> str:
    return " ".join(card_text(header, card) for card in _CARDS)


def _words(text: str) -> set[str]:
    words = set(re.split(r"[^a-z0-9]+", text.lower())) - {""}
    return (words | {word.rstrip("0123456789") for word in words}) - {""}


def _is_map(words: set[str]) -> bool:
    return bool(words & _AUXILIARY) or any(map(_PARTS.search, words))
