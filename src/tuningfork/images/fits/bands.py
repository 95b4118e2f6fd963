"""FITS files as bands: which image of which file, read whole or a section at a time; bad pixels are NaN."""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.text import one_line
from ..image import MAX_FILE_BYTES, ImageError
from .framing import Framing, Unit

__all__ = ["Band", "Source", "is_fits", "opened_bands"]

#: A FITS file, or its bytes.
Source = str | Path | bytes
#: What begins a FITS file and one that is packed with gzip.
FITS, GZIP = b"SIMPLE  =", b"\x1f\x8b"
#: The standard allows 999 axes and columns; astropy counts up to whatever a header claims.
_ENDLESS = [re.compile(key + rb" *= *\+?0*[1-9]\d{3}") for key in (b"NAXIS", b"TFIELDS")]
#: Bytes of a file in which impossible headers are looked for.
LOOKED_AT = 2**20


def is_fits(data: bytes) -> bool:
    """Whether a file's first bytes are those of FITS, or of FITS in gzip."""
    if data.startswith(GZIP):
        try:
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(len(FITS))
        except (OSError, EOFError, ValueError, zlib.error):
            return False
    return data.startswith(FITS)


def check_fits_header(data: bytes) -> None:
    """Raise ImageError for FITS headers that would have astropy count for ever."""
    capitals = data.upper()
    if any(card.start() % 80 < 8 for cards in _ENDLESS for card in cards.finditer(capitals)):
        raise ImageError("damaged FITS file: more than 999 axes or columns")


@dataclass(frozen=True, eq=False)
class Band:
    """One plane of one image of an open FITS file.

    Parameters
    ----------
    shape : (rows, columns); row 0 is the first of the file, the lowest as displayed
    header : of the image, with its WCS
    is_bytes : whether its numbers are bytes that are not scaled: a picture rather than fluxes
    """

    shape: tuple[int, int]
    header: Any
    is_bytes: bool
    _image: Any
    _plane: int | None
    _mask: Any = None
    _mask_bits: int | None = None

    def read(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """A section, (rows, columns) float32; NaN where a pixel is blank or masked. Nothing else is read.

        Raises
        ------
        ImageError
            If the file is damaged there.
        """
        at = (rows, columns) if self._plane is None else (self._plane, rows, columns)
        with _told_as_damage():
            values = np.asarray(self._image.section[at])
            with np.errstate(over="ignore", invalid="ignore"):
                values = values.astype(np.float32)
            if self._mask is not None:
                flat = len(self._mask.shape) == 2 or self._plane is None
                mask = np.asarray(self._mask.section[(rows, columns) if flat else at])
                values[_is_bad(mask, self._mask_bits)] = np.nan
        return values


@contextmanager
def opened_bands(
    sources: Source | Sequence[Source], framing: Framing = Framing(), mask: Source | None = None
) -> Iterator[list[Band]]:
    """The bands of one file, as `framing` names them, or of several files that are a band each.

    By increasing wavelength: blue, green, red; or one. Of files on disk only the headers are read yet.

    Parameters
    ----------
    mask : optional
        A file whose first image, or whose image ``framing.mask``, is the mask of all bands.

    Raises
    ------
    ImageError
        If a file cannot be opened, or has not these images.
    """
    several = not isinstance(sources, str | Path | bytes)
    files = list(sources) if several else [sources]
    if len(files) not in (1, 3):
        raise ImageError(f"{len(files)} files as bands; one or three are needed, by increasing wavelength")
    with ExitStack() as held:
        masks = held.enter_context(_opened(mask)) if mask is not None else None
        bands = []
        for file in files:
            hdus = held.enter_context(_opened(file))
            if len(files) == 1:
                images = _images(hdus, framing)
            else:
                image = _image(hdus, framing.hdu)
                images = [(image, None)]
                if len(image.shape) == 3:
                    if image.shape[0] != 1:
                        raise ImageError(f"a file of {image.shape[0]} planes cannot be one band of several files")
                    images = [(image, 0)]
            flags = _mask(hdus, masks, framing)
            bands += [_band(image, plane, flags, framing.mask_bits) for image, plane in images]
        yield bands


@contextmanager
def _opened(source: Source) -> Iterator[Any]:
    try:
        from astropy.io import fits
    except ImportError:
        raise ImageError("FITS needs astropy: pip install 'tuningfork[sky]'") from None
    given: Any = str(source)
    if isinstance(source, bytes):
        data = _unpacked(source)
        check_fits_header(data)
        given = io.BytesIO(data)
    else:
        try:
            with open(source, "rb") as file:
                check_fits_header(file.read(LOOKED_AT))
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror or error}") from None
    with ExitStack() as held:
        with _told_as_damage():
            # A section is read by itself; mapping the file would refuse scaled integers.
            hdus = held.enter_context(fits.open(given, memmap=False))
        yield hdus


def _unpacked(data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"file of {len(data)} bytes; at most {MAX_FILE_BYTES} are read")
    if not data.startswith(GZIP):
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ImageError(f"damaged gzip file: {one_line(error)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"unpacks to more than {MAX_FILE_BYTES} bytes, the most that are read")
    return data


@contextmanager
def _told_as_damage() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("not enough memory to read it") from None
    except Exception as error:  # damaged files raise many kinds
        raise ImageError(f"damaged FITS file: {one_line(error)}") from None


def _image(hdus: Any, unit: Unit | None) -> Any:
    """The image that is meant; ImageError if there is none."""
    with _told_as_damage():
        if unit is None:
            found = next((hdu for hdu in hdus if hdu.is_image and len(hdu.shape) in (2, 3)), None)
            if found is None:
                tables = sum(not hdu.is_image for hdu in hdus)
                held = f"; it holds {tables} table{'s' * (tables > 1)}" if tables else ""
                raise ImageError(f"FITS file without an image of 2 or 3 axes{held}")
            return found
        names = [hdu.name for hdu in hdus]
        try:
            found = hdus[unit]
        except (KeyError, IndexError):
            listed = ", ".join(f"{number} {name}".strip() for number, name in enumerate(names))
            raise ImageError(f"no unit {unit!r} in the FITS file; it has {listed}") from None
        if not found.is_image or len(found.shape) not in (2, 3):
            raise ImageError(f"unit {unit!r} of the FITS file is no image of 2 or 3 axes")
        return found


def _images(hdus: Any, framing: Framing) -> list[tuple[Any, int | None]]:
    """The bands of one file: an image, and its plane if it is a cube."""
    if any(isinstance(band, str) for band in framing.bands):
        return [(_flat(_image(hdus, band), band), None) for band in framing.bands]
    image = _image(hdus, framing.hdu)
    if len(image.shape) == 2:
        if framing.bands:
            return [(_flat(_image(hdus, band), band), None) for band in framing.bands]
        return [(image, None)]
    planes = framing.bands or range(image.shape[0])
    if len(planes) not in (1, 3):
        raise ImageError(f"FITS image with {image.shape[0]} planes; 1 or 3 are expected, or --bands that name them")
    for plane in planes:
        if not 0 <= int(plane) < image.shape[0]:
            raise ImageError(f"no plane {plane} in the cube; it has 0 to {image.shape[0] - 1}")
    return [(image, int(plane)) for plane in planes]


def _flat(image: Any, name: Unit) -> Any:
    if len(image.shape) != 2:
        raise ImageError(f"unit {name!r} of the FITS file has {len(image.shape)} axes; a band has 2")
    return image


def _mask(hdus: Any, masks: Any, framing: Framing) -> Any:
    if masks is not None:
        return _image(masks, framing.mask)
    return None if framing.mask is None else _image(hdus, framing.mask)


def _band(image: Any, plane: int | None, mask: Any, bits: int | None) -> Band:
    shape = image.shape[-2:]
    if mask is not None and (mask.shape[-2:] != shape or (len(mask.shape) == 3 and plane is None)):
        raise ImageError(f"mask of shape {mask.shape} for an image of shape {image.shape}")
    header = image.header
    is_scaled = header.get("BZERO", 0) != 0 or header.get("BSCALE", 1) != 1
    is_bytes = header.get("BITPIX") == 8 and not is_scaled
    return Band(shape, header, is_bytes, image, plane, mask, bits)


def _is_bad(mask: NDArray[Any], bits: int | None) -> NDArray[np.bool_]:
    if mask.dtype.kind == "f":
        return mask != 0  # NaN too
    return (mask & bits if bits is not None and mask.dtype.kind in "iu" else mask) != 0
