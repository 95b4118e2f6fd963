"""Arrays and .npy files as images."""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
from numpy.typing import NDArray

from .._utils.text import one_line
from .image import MAX_PIXELS, ImageError, check_size

__all__ = ["image_from_array", "read_npy"]


def image_from_array(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Convert an array of shape (H, W), (H, W, 1), (H, W, 3), (H, W, 4) or (3, H, W) to an RGB image.

    uint8 is taken as it is, uint16 by its upper 8 bits; floats are display brightness in [0, 1].
    Fluxes need a stretch first: save them as FITS, or scale them.

    Returns
    -------
    (H, W, 3) uint8

    Raises
    ------
    ImageError
        If shape, dtype or range is another.
    """
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(f"array of shape {array.shape}; (H, W), (H, W, 3), (H, W, 4) or (3, H, W) is expected")
    check_size(array.shape[1], array.shape[0])
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        array = array >> 8
    elif array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ImageError("array of floats outside [0, 1]; scale it to display brightness first")
        array = np.rint(array * 255)
    elif array.dtype != np.uint8:
        raise ImageError(f"array of {array.dtype}; uint8, uint16 or floats in [0, 1] are expected")
    if array.shape[2] == 4:
        array = np.rint(array[:, :, :3].astype(np.float32) * (array[:, :, 3:].astype(np.float32) / 255))
    if array.shape[2] == 1:
        array = np.repeat(array, 3, 2)
    return np.ascontiguousarray(array, dtype=np.uint8)


def read_npy(data: bytes) -> NDArray[np.generic]:
    """Read the array of a .npy file; Python objects are never loaded, nor more numbers than an image may have."""
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
