"""The image reader: a file, bytes, an array or FITS to one (H, W, 3) uint8 image, or the reason why not."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, BinaryIO, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .array import image_from_array, read_npy
from .fits.file import is_fits
from .fits.framing import Framing
from .fits.render import render_fits
from .image import ImageError, RGBImage, check_file_size, check_size
from .no_data import missing_data
from .raster import decode_raster, image_from_pillow
from .source import file_bytes, is_file_object, path_or_bytes

__all__ = ["READING_RULES", "Source", "is_single_image", "read_image"]

#: Counts changes of what pixels a file is read to; caches of images or of what networks made of them depend on it.
READING_RULES = 6

Source = str | os.PathLike[str] | bytes | BinaryIO | NDArray[Any] | Image.Image


def is_single_image(source: Any) -> TypeGuard[bytes | BinaryIO | NDArray[Any] | Image.Image]:
    """Whether `source` is one image in memory (bytes, file object, array, Pillow image), and no sequence of images."""
    types = (bytes, bytearray, memoryview, np.ndarray, Image.Image)
    return isinstance(source, types) or is_file_object(source)


def read_image(
    source: Source | Sequence[Source], framing: Framing = Framing(), *, radius: float = math.nan
) -> RGBImage:
    """Read one image; its kind is recognized by its content, not its name.

    This is the only reader: prediction, training, evaluation, calibration and the pages see the same pixels of a
    file.

    Parameters
    ----------
    source : path, bytes, binary file object, array, Pillow image, or sequence of paths or bytes
        JPEG, PNG, WebP and TIFF as viewers show them (turned and mirrored by their EXIF orientation; grey is repeated,
        transparency laid on black, CMYK converted; other than 8 bits by `values.to_display_bytes`); FITS as `framing`
        says, also in gzip, bzip2 and fpack; .npy files and arrays by `image_from_array`. A sequence is FITS files of
        one band each, by increasing wavelength.
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
    >>> image.rgb.shape, image.rgb.dtype
    ((64, 64, 3), dtype('uint8'))
    """
    if isinstance(source, list | tuple):
        return render_fits([path_or_bytes(each) for each in source], framing, radius=radius)
    if isinstance(source, np.ndarray):
        image = image_from_array(source)
    elif isinstance(source, Image.Image):
        image = image_from_pillow(source)
    else:
        data = path_or_bytes(source)
        data = data if isinstance(data, bytes) else file_bytes(data)
        check_file_size(len(data))
        if not data:
            raise ImageError("empty file (0 bytes)")
        if is_fits(data):
            return render_fits(data, framing, radius=radius)
        image = image_from_array(read_npy(data)) if data.startswith(b"\x93NUMPY") else decode_raster(data)
    check_size(image.rgb.shape[1], image.rgb.shape[0])
    if framing.size is not None:
        raise ImageError("a size in arcsec (--size) needs a pixel scale, which only FITS files have; leave it out")
    warnings = [*image.warnings, *missing_data(np.moveaxis(image.rgb, 2, 0))]
    if framing.side(radius) is not None:
        warnings.append("its pixel scale is not known: all of the image is shown")
    return RGBImage(image.rgb, tuple(warnings))
