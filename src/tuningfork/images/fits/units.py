"""Which image of a FITS file is meant: science before weight, variance and mask; axes of length 1 are dropped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image import MAX_PIXELS, ImageError
from ..noise import mad_std
from .file import FitsFile, damage_as_error
from .framing import Unit

__all__ = ["ImageUnit", "by_wavelength", "check_unit", "choose_unit", "named_unit", "unit_list"]

#: Words in names of images beside the science image.
_AUXILIARY = """
    weight weights wht wt wgt wmap weightmap var variance vari ivar invvar inverse err error errors unc uncert
    uncertainty rms sigma std stddev noise mask msk masks dq dqmask flag flags bad badpix badpixel bpm bpix quality
    qual exp expmap exposure exptime texp nexp coverage ctx con context psf psfim seg segm segmap segmentation bkg
    bg back cov background sky model resid residual residuals chi2 nim samp time maskbits depth galdepth psfdepth
"""
AUXILIARY = frozenset(_AUXILIARY.split())
#: Cards that describe what an image holds.
NAME_CARDS = ("EXTNAME", "HDUNAME", "EXTTYPE", "IMTYPE", "HDUCLAS2", "HDUCLAS3")
#: Cards that name a band.
BAND_CARDS = ("HDUNAME", "FILTER", "BAND", "FILTNAM")
#: Units of BUNIT whose numbers are logarithms of flux.
_LOGARITHMS = re.compile(r"\b(mag|dex|db|log(10)?|ln)\b")
#: Bytes of an image whose checksum is compared; larger ones are read a section at a time.
CHECKED_BYTES = 2**25
#: An image of so few values is a mask.
FEW_VALUES = 4
SAMPLE = 65536
#: Filters by increasing wavelength.
WAVELENGTHS = ("fuv", "nuv", "u", "b", "g", "v", "r", "i", "z", "y", "j", "h", "k", "ks")


@dataclass(frozen=True, eq=False)
class ImageUnit:
    """A header-data unit that is an image of two axes, or of three: a cube; others of its axes have length 1.

    Parameters
    ----------
    number : int
        From 0.
    label : str
        Its name, else its number.
    shape : (rows, columns) or (planes, rows, columns)
    """

    file: FitsFile
    number: int
    label: str
    shape: tuple[int, ...]
    _axes: tuple[int, ...]

    @property
    def hdu(self) -> Any:
        """Astropy's HDU."""
        return self.file.hdus[self.number]

    def read(self, plane: int | None, rows: slice, columns: slice) -> NDArray[Any]:
        """A section (rows, columns) of the image, or of one plane of the cube; nothing else is read."""
        wanted: tuple[int | slice, ...] = (rows, columns) if len(self._axes) == 2 else (plane or 0, rows, columns)
        section: list[int | slice] = [0] * len(self.hdu.shape)
        for axis, at in zip(self._axes, wanted, strict=True):
            section[axis] = at
        if self.number in self.file.tiles:
            self.file.tiles[self.number].check(tuple(section))
        lengths = [len(range(*at.indices(n))) for at, n in zip((rows, columns), self.shape[-2:], strict=True)]
        # astropy keeps some axes of length 1.
        return np.asarray(self.hdu.section[tuple(section)]).reshape(lengths)


def image_unit(file: FitsFile, number: int) -> ImageUnit | None:
    """The image of an HDU; None if it holds none of two or three axes."""
    hdu = file.hdus[number]
    if not hdu.is_image or len(hdu.shape or ()) < 2 or 0 in hdu.shape:
        return None
    axes = tuple(axis for axis, length in enumerate(hdu.shape) if length != 1)
    if len(axes) < 2 or len(hdu.shape) == 2:
        axes = tuple(range(len(hdu.shape)))[-2:]
    if len(axes) > 3:
        return None
    name = str(hdu.name or hdu.header.get("HDUNAME", "")).strip()
    label = name if name and name != "PRIMARY" else str(number)
    return ImageUnit(file, number, label, tuple(hdu.shape[axis] for axis in axes), axes)


def check_unit(image: ImageUnit) -> None:
    """Raise ImageError for an image whose numbers are no fluxes by its BUNIT, or whose DATASUM is another one."""
    header = image.hdu.header
    unit = str(header.get("BUNIT", "")).strip()
    if _LOGARITHMS.search(unit.lower()):
        raise ImageError(f"image {image.label} is in {unit} (BUNIT), a logarithm; fluxes are needed")
    expected = str(header.get("DATASUM", "")).strip()
    # That of a packed image is of its pixels before they were packed.
    if not expected.isdigit() or image.number in image.file.tiles:
        return
    place = image.hdu.fileinfo()
    if 0 < place["datSpan"] <= CHECKED_BYTES:
        place["file"].seek(place["datLoc"])
        if _datasum(place["file"].read(place["datSpan"])) != int(expected):
            raise ImageError(f"damaged FITS file: the checksum of image {image.label} (DATASUM) is another one")


def _datasum(data: bytes) -> int:
    """The ones' complement sum of 32-bit words (FITS standard 4.0, appendix J)."""
    total = int(np.frombuffer(data[: len(data) // 4 * 4], ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def unit_list(file: FitsFile) -> str:
    """All units of a file, for messages."""
    return ", ".join(f"{number} {hdu.name}".strip() for number, hdu in enumerate(file.hdus))


def named_unit(file: FitsFile, unit: Unit) -> ImageUnit:
    """The image of this number or name (EXTNAME, else HDUNAME or FILTER); ImageError if there is none."""
    with damage_as_error():
        number = _number(file, unit)
        image = image_unit(file, number)
        if image is None:
            raise ImageError(f"unit {unit!r} of the FITS file is no image of 2 or 3 axes")
        return image


def _number(file: FitsFile, unit: Unit) -> int:
    try:
        return file.hdus.index_of(unit) if isinstance(unit, str) else range(len(file.hdus))[unit]
    except (KeyError, IndexError):
        pass
    for card in BAND_CARDS:
        matches = [n for n, hdu in enumerate(file.hdus) if str(hdu.header.get(card, "")).strip() == unit]
        if len(matches) == 1:
            return matches[0]
    raise ImageError(f"no unit {unit!r} in the FITS file; it has {unit_list(file)}")


def choose_unit(file: FitsFile, masks: Iterable[int] = ()) -> tuple[ImageUnit, list[str]]:
    """Choose the science image of a file by its names and, where they leave it open, by its values.

    Parameters
    ----------
    masks : numbers of units that are in use as masks

    Returns
    -------
    unit : ImageUnit
    warnings : list of str
        What was left out.

    Raises
    ------
    ImageError
        If there is none.
    """
    with damage_as_error():
        images = [image for n in range(len(file.hdus)) if (image := image_unit(file, n)) and n not in set(masks)]
        named = [image for image in images if not _words(image.hdu) & AUXILIARY]
        _check_any(file, images, named)
        chosen = _by_values(named or images)
        others = [image for image in images if image is not chosen]
        return chosen, _left_out(chosen, others, named)


def _check_any(file: FitsFile, images: Sequence[ImageUnit], named: Sequence[ImageUnit]) -> None:
    large = [hdu for hdu in file.hdus if hdu.is_image and sum(n != 1 for n in hdu.shape or ()) > 3]
    if large and not named:
        raise ImageError(
            f"FITS file without an image of 2 or 3 axes; {large[0].name or 'an image'} has {len(large[0].shape)}: "
            "name another with --hdu"
        )
    if not images:
        tables = sum(not hdu.is_image for hdu in file.hdus)
        holds = f"; it holds {tables} table{'s' * (tables > 1)}" if tables else ""
        raise ImageError(f"FITS file without an image of 2 or 3 axes{holds}")


def _words(hdu: Any) -> set[str]:
    text = " ".join(str(hdu.header.get(card, "")) for card in NAME_CARDS).lower()
    return {word.rstrip("0123456789") or word for word in re.split(r"[^a-z0-9]+", text)} - {""}


def _by_values(images: Sequence[ImageUnit]) -> ImageUnit:
    """The first; but if it has no more values than a mask, or a weight without a source, one that has."""
    first = images[0]
    if len(images) == 1 or not first.label.isdigit():
        return first
    alike = [image for image in images if image.shape == first.shape]
    if len(alike) == 1 or math.prod(first.shape) > MAX_PIXELS:
        return first
    varied = [image for image in alike if not _is_mask(image)] or alike
    return next((image for image in varied if _has_source(image)), varied[0])


def _values(image: ImageUnit) -> NDArray[np.float64]:
    rows, columns = image.shape[-2:]
    return image.read(0, slice(0, rows), slice(0, columns)).astype(np.float64)


def _is_mask(image: ImageUnit) -> bool:
    values = _values(image)
    values = values[np.isfinite(values)]
    return len(np.unique(values[:: max(1, values.size // SAMPLE)])) <= FEW_VALUES


def _has_source(image: ImageUnit) -> bool:
    """Whether the middle is brighter than the edge by more than five times the edge's noise."""
    values = _values(image)
    rows, columns = values.shape
    middle = values[rows * 7 // 16 : rows * 9 // 16 + 1, columns * 7 // 16 : columns * 9 // 16 + 1]
    edge = np.concatenate([values[: max(1, rows // 16)].ravel(), values[-max(1, rows // 16) :].ravel()])
    middle, edge = middle[np.isfinite(middle)], edge[np.isfinite(edge)]
    if not middle.size or not edge.size:
        return False
    sky = float(np.median(edge))
    noise = mad_std(edge, sky)
    return float(np.median(middle)) - sky > 5 * noise


def _left_out(chosen: ImageUnit, others: Sequence[ImageUnit], named: Sequence[ImageUnit]) -> list[str]:
    if not others:
        return []
    bands = [image for image in named if image.shape == chosen.shape]
    rest = [image.label for image in others if image not in bands]
    warnings = []
    if chosen in bands and len(bands) > 1:
        names = by_wavelength([band.label for band in bands])
        hint = f": for colours use --bands {','.join(names[:3])}" if len(names) > 2 else ""
        warnings.append(f"{len(bands)} bands found, of which only {chosen.label} is used{hint}; one by --hdu")
    if rest:
        warnings.append(f"image {chosen.label} is used, left out: {', '.join(rest[:8])}{'…' * (len(rest) > 8)}")
    return warnings


def by_wavelength(names: Sequence[str]) -> list[str]:
    """Names of bands by increasing wavelength, as far as it is known from them: g, r, i; F435W; else as they are."""
    keys = []
    for name in names:
        digits = re.fullmatch(r"F(\d{3,4})[A-Z]\w?", name.upper())
        last = re.split(r"[^a-z]+", name.lower())[-1] or re.split(r"[^a-z]+", name.lower())[0]
        if digits:
            keys.append(float(digits[1]))
        elif last in WAVELENGTHS:
            keys.append(float(WAVELENGTHS.index(last)))
        else:
            return list(names)
    return [name for _, name in sorted(zip(keys, names, strict=True), key=lambda pair: pair[0])]
