"""Arrays and .npy files as images."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray

from .._utils.text import one_line
from .complaints import decoder_complaints
from .image import MAX_PIXELS, ImageError, RGBImage, check_size
from .values import to_display_bytes

__all__ = ["image_from_array", "read_npy"]


def image_from_array(array: NDArray[np.generic]) -> RGBImage:
    """Convert an array of brightness to an RGB image.

    Parameters
    ----------
    array : (H, W), (H, W, 1), (H, W, 3), (H, W, 4) or (3, H, W), behind axes of length 1
        Bytes, integers in 0…65535 or floats in [0, 1], see `values.to_display_bytes`; a fourth channel is opacity,
        and is laid on black. Fluxes need a stretch first: save them as FITS, or scale them.

    Raises
    ------
    ImageError
        If shape, dtype or range is another, or pixels are masked.
    """
    if np.ma.is_masked(array):
        raise ImageError("masked array: fill its masked pixels, or save it as FITS with NaN there")
    array = np.asarray(array)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(f"array of shape {array.shape}; (H, W), (H, W, 3), (H, W, 4) or (3, H, W) is expected")
    check_size(array.shape[1], array.shape[0])
    rgb, warnings = to_display_bytes(array[:, :, :3])
    if array.shape[2] == 4:
        opacity = to_display_bytes(array[:, :, 3:])[0].astype(np.float32) / 255
        rgb = np.rint(rgb.astype(np.float32) * opacity)
    if rgb.shape[2] == 1:
        rgb = np.repeat(rgb, 3, 2)
    return RGBImage(np.ascontiguousarray(rgb, dtype=np.uint8), warnings)


def read_npy(data: bytes) -> NDArray[np.generic]:
    """Read the array of a .npy file; Python objects are never loaded, nor more numbers than an image may have.

    Raises
    ------
    ImageError
        If the file is damaged, truncated or too large.
    """
    stream = io.BytesIO(data)
    try:
        with decoder_complaints():
            version = np.lib.format.read_magic(stream)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(stream)
            if dtype.hasobject:
                raise ImageError("array of Python objects, which are never loaded")
            if math.prod(shape) > 4 * MAX_PIXELS:
                raise ImageError(f"too many numbers; at most {MAX_PIXELS} pixels are read")
            if math.prod(shape) * dtype.itemsize > len(data):
                raise ImageError(f"truncated .npy file: {len(data)} bytes cannot hold {dtype} of shape {shape}")
            stream.seek(0)
            return np.load(stream, allow_pickle=False)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"damaged .npy file: {one_line(error)}") from None
