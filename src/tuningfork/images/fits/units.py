"""Which image of a FITS file is meant: science before weight, variance and mask; axes of length 1 are dropped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image import MAX_PIXELS, ImageError
from ..noise import mad_std
from .cards import card_text
from .file import FitsFile, damage_as_error
from .filters import by_wavelength
from .flux_units import is_logarithm
from .framing import Unit
from .names import is_auxiliary, is_science

__all__ = ["ImageUnit", "check_unit", "choose_unit", "named_unit", "unit_list"]

#: Cards that name a band.
BAND_CARDS = ("HDUNAME", "FILTER", "BAND", "FILTNAM")
#: Bytes of an image whose checksum is compared; larger ones are read a section at a time.
CHECKED_BYTES = 2**25
#: An image of so few values is a mask.
FEW_VALUES = 4
SAMPLE = 65536
#: Pan-STARRS stores stacks as asinh magnitudes (Waters et al. 2020, ApJS 251, 4, section 6): flux = BOFFSET +
#: 2 BSOFTEN sinh(v / a), a = 2.5 / ln 10.
_ASINH = ("BOFFSET", "BSOFTEN")
_POGSON = 2.5 / math.log(10)


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
        values = np.asarray(self.hdu.section[tuple(section)]).reshape(lengths)
        if self.is_asinh and self.hdu.header["BITPIX"] > 0:
            offset, softening = (float(self.hdu.header[card]) for card in _ASINH)
            with np.errstate(over="ignore"):
                values = offset + 2 * softening * np.sinh(values.astype(np.float64) / _POGSON)
        return values

    @property
    def plane_axis(self) -> int:
        """The number of the axis of a cube's planes in the header, from 1."""
        return len(self.hdu.shape) - self._axes[0]

    def text(self, card: str) -> str:
        """The value of a card of the image, else of the file's first unit, whose cards are those of all its images."""
        return card_text(self.hdu.header, card) or card_text(self.file.hdus[0].header, card)

    @property
    def is_asinh(self) -> bool:
        """Whether its cards are those of Pan-STARRS' asinh magnitudes; floats may be fluxes again."""
        return all(isinstance(self.hdu.header.get(card), int | float) for card in _ASINH)


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
    name = (hdu.name or card_text(hdu.header, "HDUNAME")).strip()
    label = name if name and name != "PRIMARY" else str(number)
    return ImageUnit(file, number, label, tuple(hdu.shape[axis] for axis in axes), axes)


def check_unit(image: ImageUnit) -> list[str]:
    """Raise ImageError for an image whose numbers are no fluxes by its BUNIT, or that is damaged by its checksum.

    Returns
    -------
    list of str
        Warnings of numbers that may be no fluxes, and of a checksum that may be out of date: whoever cuts a part out of
        an image and copies its header leaves it as it was.
    """
    header = image.hdu.header
    unit = card_text(header, "BUNIT")
    is_float = header["BITPIX"] < 0
    if is_logarithm(unit) and (is_float or not image.is_asinh):
        raise ImageError(f"image {image.label} is in {unit} (BUNIT), a logarithm; fluxes are needed")
    warnings = []
    if is_float and image.is_asinh:
        warnings.append(
            f"image {image.label} has the cards of asinh magnitudes (BSOFTEN): its floats are taken as fluxes"
        )
    return [*warnings, *_check_sum(image)]


def _check_sum(image: ImageUnit) -> list[str]:
    """Raise ImageError for pixels that do not match a checksum that is valid; a warning if it may be out of date."""
    expected = card_text(image.hdu.header, "DATASUM")
    # That of a packed image is of its pixels before they were packed.
    if not expected.isdigit() or image.number in image.file.tiles:
        return []
    place = image.hdu.fileinfo()
    if not 0 < place["datSpan"] <= CHECKED_BYTES:
        return []
    file = place["file"]
    file.seek(place["datLoc"])
    if _sum(file.read(place["datSpan"])) == int(expected):
        return []
    problem = f"the checksum of image {image.label} (DATASUM) is another one"
    file.seek(place["hdrLoc"])
    header = file.read(place["datLoc"] - place["hdrLoc"])
    # CHECKSUM makes the sum of header and pixels zero: where it does with the sum that is expected, no card changed.
    if "CHECKSUM" in image.hdu.header and _sum(header + int(expected).to_bytes(8)[-4:]) in (0, 2**32 - 1):
        raise ImageError(f"damaged FITS file: {problem}")
    return [f"{problem}: the file is damaged, or was changed and its checksum was not"]


def _sum(data: bytes) -> int:
    """The ones' complement sum of 32-bit words (FITS standard 4.0, appendix J)."""
    total = int(np.frombuffer(data[: len(data) // 4 * 4], ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def unit_list(file: FitsFile) -> str:
    """All units of a file, for messages."""
    names = (hdu.name or card_text(hdu.header, "FILTER") for hdu in file.hdus)
    return ", ".join(f"{number} {name}".strip() for number, name in enumerate(names))


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
    if version := re.fullmatch(r"(.+?)\s*[,:]\s*(\d+)", str(unit)):
        with suppress(KeyError):
            return int(file.hdus.index_of((version[1], int(version[2]))))
    for card in BAND_CARDS:
        values = [card_text(hdu.header, card) for hdu in file.hdus]
        # g DECam SDSS c0001 4720.0 1520.0 is the filter g.
        for named in ([value == unit for value in values], [value.split()[:1] == [unit] for value in values]):
            if sum(named) == 1:
                return named.index(True)
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
        named = [image for image in images if not is_auxiliary(image.hdu.header)]
        # The science image before a preview of it.
        named.sort(key=lambda image: not is_science(image.hdu.header))
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
    if is_auxiliary(chosen.hdu.header):
        return [f"image {chosen.label} is no science image but a map of weights, errors or the like, by its names"]
    if not others:
        return []
    bands = [image for image in named if image.shape == chosen.shape]
    rest = [image.label for image in others if image not in bands]
    warnings = []
    if chosen in bands and len(bands) > 1:
        labels = [band.label for band in bands]
        names = by_wavelength(labels if len(set(labels)) == len(labels) else [str(band.number) for band in bands])
        hint = f": for colours use --bands {','.join(names[:3])}" if len(names) > 2 else ""
        warnings.append(f"{len(bands)} bands found, of which only {chosen.label} is used{hint}; one by --hdu")
    if rest:
        warnings.append(f"image {chosen.label} is used, left out: {', '.join(rest[:8])}{'…' * (len(rest) > 8)}")
    return warnings
