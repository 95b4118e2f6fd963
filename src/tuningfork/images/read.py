"""The image reader: a file, bytes, an array or FITS to one (H, W, 3) uint8 image, or the reason why not."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .array import image_from_array, read_npy
from .fits.bands import is_fits
from .fits.framing import Framing
from .fits.render import render_fits
from .image import ImageError, RGBImage, check_file_size, check_size
from .raster import decode_raster, rgb_of_pillow

__all__ = ["Source", "file_bytes", "read_image"]

Source = str | os.PathLike[str] | bytes | BinaryIO | NDArray[Any] | Image.Image


def read_image(
    source: Source | Sequence[Source], framing: Framing = Framing(), *, radius: float = math.nan
) -> RGBImage:
    """Read one image; its kind is recognized by its content, not its name.

    This is the only reader: prediction, training, evaluation, calibration and the pages see the same pixels of a
    file.

    Parameters
    ----------
    source : path, bytes, binary file object, array, Pillow image, or sequence of paths or bytes
        JPEG, PNG, WebP and TIFF as they are (grey is repeated, transparency laid on black, 16 bits reduced to the
        upper 8, CMYK converted); FITS as `framing` says, also in gzip and fpack; .npy files and arrays by
        `image_from_array`. A sequence is FITS files of one band each, by increasing wavelength.
    framing : Framing
        Which image and bands of a FITS file, its stretch, orientation and size.
    radius : float
        petroR90 of the galaxy, arcsec, for `framing`; NaN: not known.

    Returns
    -------
    RGBImage
        ``rgb`` (H, W, 3) uint8, row 0 at the top, and ``warnings``.

    Raises
    ------
    ImageError
        If the source cannot be read, is truncated, too large, too small, or of no known kind.
    TypeError
        If `source` is of another type.

    Examples
    --------
    >>> import numpy as np
    >>> image = read_image(np.full((64, 64), 0.5))
    >>> image.rgb.shape, image.rgb.dtype, image.warnings
    ((64, 64, 3), dtype('uint8'), ())
    """
    if isinstance(source, list | tuple):
        return render_fits([_path_or_bytes(each) for each in source], framing, radius=radius)
    if isinstance(source, np.ndarray):
        rgb = image_from_array(source)
    elif isinstance(source, Image.Image):
        check_size(*source.size)
        rgb = rgb_of_pillow(source)
    else:
        data = _path_or_bytes(source)
        data = data if isinstance(data, bytes) else file_bytes(Path(data))
        check_file_size(len(data))
        if not data:
            raise ImageError("empty file (0 bytes)")
        if is_fits(data):
            return render_fits(data, framing, radius=radius)
        rgb = image_from_array(read_npy(data)) if data.startswith(b"\x93NUMPY") else decode_raster(data)
        check_size(rgb.shape[1], rgb.shape[0])
    has_frame = framing.side(radius) is not None
    return RGBImage(rgb, ("its pixel scale is not known: shown whole",) if has_frame else ())


def _path_or_bytes(source: Any) -> str | Path | bytes:
    if isinstance(source, str | os.PathLike):
        return Path(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if callable(getattr(source, "read", None)):
        data = source.read()
        if isinstance(data, bytes):
            return data
    raise TypeError(
        f"an image is a path, bytes, a binary file, an array or a Pillow image, not {type(source).__name__}"
    )


def file_bytes(path: Path) -> bytes:
    """Read a regular file of at most `MAX_FILE_BYTES`; ImageError else."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    # Reading a pipe or a device may never end.
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("cannot be read: not a regular file")
    check_file_size(status.st_size)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from None
