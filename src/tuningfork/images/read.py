"""Picture files, bytes and arrays → (H, W, 3) uint8 pictures, or a reason why not."""

from __future__ import annotations

import io
import math
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .._utils.errors import TuningforkError

__all__ = [
    "EXTENSIONS",
    "PictureError",
    "check_fits_header",
    "check_size",
    "file_bytes",
    "find_pictures",
    "load_picture",
    "picture_from_array",
    "reason",
    "stretch_any",
]

Picture = NDArray[np.uint8]

#: Files of these kinds are taken from a folder; a file named directly is tried whatever its name.
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".fits", ".fit", ".fts", ".fz", ".npy"})
#: Pillow knows many more, some of which start other programs (EPS: Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 16 * 2**20
#: Names of a folder that are sorted together.
BLOCK = 100_000
#: Below this no shape is left to see.
MIN_SIDE = 8


#: The standard allows 999 axes and columns; astropy counts up to whatever a header claims.
_ENDLESS = [re.compile(key + rb" *= *\+?0*[1-9]\d{3}") for key in (b"NAXIS", b"TFIELDS")]


class PictureError(TuningforkError, ValueError):
    """This row has no picture; the message is the reason, without the file's name."""


def find_pictures(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Picture files named by `paths`; folders are walked in sorted order, hidden entries left out.

    A folder of more than `BLOCK` names is sorted block by block, each as the file system gives it, so that
    no more than these are held.

    Raises
    ------
    FileNotFoundError
        If a named path does not exist.
    """
    for given in paths:
        path = Path(given)
        if path.is_dir():
            yield from _walk(path)
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")


def _walk(folder: Path) -> Iterator[Path]:
    # Links to folders are not followed, they may lead in a circle.
    with os.scandir(folder) as entries:
        visible = ((e.name, e.is_dir(follow_symlinks=False)) for e in entries if not e.name.startswith("."))
        while block := sorted(islice(visible, BLOCK)):
            for name, is_folder in block:
                if is_folder:
                    yield from _walk(folder / name)
                elif os.path.splitext(name)[1].lower() in EXTENSIONS:
                    yield folder / name


def load_picture(source: str | os.PathLike[str] | bytes) -> Picture:
    """One picture from a file or from a file's bytes; its kind is told by its content, not its name.

    JPEG, PNG, WebP and TIFF as they are (grey is repeated, transparency laid on black, 16 bits
    reduced to the upper 8, CMYK converted); FITS by `_fits`; .npy by `picture_from_array`.

    Returns
    -------
    (H, W, 3) uint8
        Red, green, blue in 0…255; row 0 is the first of the file (for FITS: the top, as displayed).

    Raises
    ------
    PictureError
        If the file cannot be read, is truncated, too large, too small, or of no known kind.
    """
    data = source if isinstance(source, bytes) else file_bytes(Path(source))
    if len(data) > MAX_FILE_BYTES:
        raise PictureError(f"file of {len(data)} bytes; at most {MAX_FILE_BYTES} are read")
    if not data:
        raise PictureError("empty file (0 bytes)")
    if data.startswith(b"\xff\xd8\xff"):
        picture = _jpeg(data)
    elif data.startswith(b"SIMPLE  ="):
        picture = _fits(data)
    elif data.startswith(b"\x93NUMPY"):
        picture = _npy(data)
    else:
        picture = _pillow(data)
    return _checked(picture)


def picture_from_array(array: NDArray[np.generic]) -> Picture:
    """A picture from numbers: (H, W), (H, W, 1), (H, W, 3), (H, W, 4) or (3, H, W).

    uint8 is taken as it is, uint16 by its upper 8 bits; floats are display brightness in [0, 1].
    Fluxes need a stretch first: save them as FITS, or scale them.

    Raises
    ------
    PictureError
        If shape, dtype or range is another.
    """
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise PictureError(f"array of shape {array.shape}; (H, W), (H, W, 3), (H, W, 4) or (3, H, W) is expected")
    check_size(array.shape[1], array.shape[0])
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        array = array >> 8
    elif array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise PictureError("array of floats outside [0, 1]; scale it to display brightness first")
        array = np.rint(array * 255)
    elif array.dtype != np.uint8:
        raise PictureError(f"array of {array.dtype}; uint8, uint16 or floats in [0, 1] are expected")
    if array.shape[2] == 4:
        array = np.rint(array[:, :, :3].astype(np.float32) * (array[:, :, 3:].astype(np.float32) / 255))
    if array.shape[2] == 1:
        array = np.repeat(array, 3, 2)
    return _checked(np.ascontiguousarray(array, dtype=np.uint8))


def file_bytes(path: Path) -> bytes:
    """A file whole, if it is a regular one of at most `MAX_FILE_BYTES`; PictureError else."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise PictureError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    # Reading a pipe or a device may never end.
    if not stat.S_ISREG(status.st_mode):
        raise PictureError("cannot be read: not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise PictureError(f"file of {status.st_size} bytes; at most {MAX_FILE_BYTES} are read")
    try:
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror}") from None


def reason(error: Exception) -> str:
    """A decoder's complaint on one line, as a table's cell needs it."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def check_size(width: int, height: int) -> None:
    """Raise PictureError for a picture with too many pixels, or too small a side."""
    if width * height > MAX_PIXELS:
        raise PictureError(f"{width}×{height} px; at most {MAX_PIXELS} pixels are read")
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"{width}×{height} px; at least {MIN_SIDE} px a side are needed")


def _checked(picture: Picture) -> Picture:
    check_size(picture.shape[1], picture.shape[0])
    return picture


def _jpeg(data: bytes) -> Picture:
    # libjpeg-turbo through simplejpeg gives Pillow's very values in a quarter of its time.
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        check_size(width, height)
        if colours in ("YCbCr", "RGB", "Gray"):
            return simplejpeg.decode_jpeg(data, colorspace="RGB")
    except PictureError:
        raise
    except ValueError:
        pass  # Pillow knows more kinds of JPEG and says better what is wrong.
    return _pillow(data)


def _pillow(data: bytes) -> Picture:
    try:
        with warnings.catch_warnings():
            # Our own limit on pixels is the stricter one.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                check_size(*image.size)
                return _rgb(image)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError("not a picture of a known kind (JPEG, PNG, WebP, TIFF, FITS, .npy)") from None
    except Image.DecompressionBombError:
        raise PictureError(f"too many pixels; at most {MAX_PIXELS} are read") from None
    except MemoryError:
        raise PictureError("not enough memory to decode it") from None
    except Exception as error:  # decoders raise many kinds on damaged files: OSError, SyntaxError, struct.error …
        raise PictureError(f"damaged or truncated file: {reason(error)}") from None


def _rgb(image: Image.Image) -> Picture:
    if image.mode.startswith("I;16"):
        return _repeat(np.asarray(image).astype(np.uint16) >> 8)
    if image.mode == "I":
        values = np.asarray(image)
        # Pillow opens some 16-bit PNG and TIFF files as 32-bit integers.
        if values.min() < 0 or values.max() > 65535:
            raise PictureError("32-bit integers; save it with 8 or 16 bits, or as FITS")
        return _repeat(values >> 8)
    if image.mode == "F":
        return _repeat(stretch_any(np.asarray(image)[None])[0])
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        colour = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _repeat(grey: NDArray[np.generic]) -> Picture:
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, 2)


def _npy(data: bytes) -> Picture:
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(stream)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(stream)
            if dtype.hasobject:
                raise PictureError("array of Python objects, which are never loaded")
            if math.prod(shape) > 4 * MAX_PIXELS:
                raise PictureError(f"too many numbers; at most {MAX_PIXELS} pixels are read")
            if math.prod(shape) * dtype.itemsize > len(data):
                raise PictureError(f"truncated .npy file: {len(data)} bytes cannot hold {dtype} of shape {shape}")
            stream.seek(0)
            array = np.load(stream, allow_pickle=False)
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(f"damaged .npy file: {reason(error)}") from None
    return picture_from_array(array)


def check_fits_header(data: bytes) -> None:
    """Raise PictureError for FITS headers that would have astropy count for ever."""
    capitals = data.upper()
    if any(card.start() % 80 < 8 for cards in _ENDLESS for card in cards.finditer(capitals)):
        raise PictureError("damaged FITS file: more than 999 axes or columns")


def _fits(data: bytes) -> Picture:
    """The first image of a FITS file: (H, W) grey, or (3, H, W) bands by increasing wavelength.

    8-bit planes are taken as red, green, blue; other numbers are fluxes and are stretched.
    """
    try:
        from astropy.io import fits
    except ImportError:
        raise PictureError("FITS needs astropy: pip install 'tuningfork[sky]'") from None
    check_fits_header(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(data), memmap=False) as hdus:
                hdu = next((hdu for hdu in hdus if hdu.is_image and len(hdu.shape) in (2, 3)), None)
                if hdu is None:
                    raise PictureError("FITS file without an image of 2 or 3 axes")
                if len(hdu.shape) == 3 and hdu.shape[0] not in (1, 3):
                    raise PictureError(f"FITS image with {hdu.shape[0]} planes; 1 or 3 are expected")
                check_size(hdu.shape[-1], hdu.shape[-2])
                values = np.asarray(hdu.data)
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(f"damaged FITS file: {reason(error)}") from None
    planes = values[None] if values.ndim == 2 else values
    if planes.dtype != np.uint8:
        with np.errstate(over="ignore", invalid="ignore"):
            planes = stretch_any(planes.astype(np.float32))[::-1]
    if len(planes) == 1:
        planes = np.repeat(planes, 3, 0)
    # FITS counts rows from the bottom.
    return np.ascontiguousarray(np.moveaxis(planes, 0, 2)[::-1]).astype(np.uint8)


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def stretch_any(planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Fluxes (bands, H, W) → 0…255: asinh of the mean band above the sky, colours kept (Lupton et al. 2004)."""
    # Nobody's flux is beyond; sums of such numbers would overflow.
    finite = np.abs(planes) < 1e30
    if not finite.any():
        raise PictureError("no usable pixel: all are NaN, infinite or beyond 1e30")
    sky = np.array([np.median(p[f]) if f.any() else 0.0 for p, f in zip(planes, finite, strict=True)], np.float32)
    light = np.where(finite, planes - sky[:, None, None], 0).astype(np.float32)
    mean = light.mean(0)
    noise = 1.4826 * np.median(np.abs(mean - np.median(mean)))
    peak = float(np.quantile(mean, 0.999))
    soft = float(noise) * 2 or peak / 20 or 1.0
    top = np.arcsinh(max(peak, soft) / soft)
    scaled = np.arcsinh(np.clip(mean, 0, None) / soft) / top
    gain = np.where(mean > 1e-37, scaled / mean, 0)
    return np.clip(light * gain * 255, 0, 255).astype(np.uint8)
