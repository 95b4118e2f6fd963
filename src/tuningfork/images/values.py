"""Numbers as display brightness: one rule for arrays and files of all formats, by the values and not by their type."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .image import ImageError

__all__ = ["to_display_bytes"]

#: Depths of cameras and scanners; the smallest that holds all values is assumed.
DEPTHS = (8, 10, 12, 14, 16)
#: By so much floats may miss [0, 1]: resizing and rounding leave -1e-7 or 1.0000001.
ROUNDING = 1e-4


def to_display_bytes(values: NDArray[np.generic]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Convert brightness to bytes.

    Parameters
    ----------
    values : array of any shape
        Bytes, integers in 0…65535 or floats in [0, 1].

    Returns
    -------
    bytes : uint8, of the same shape
        Integers are scaled by the smallest depth of `DEPTHS` that holds them, floats by 255.
    warnings : tuple of str
        What was assumed, where the type leaves it open.

    Raises
    ------
    ImageError
        If the values are in none of these ranges; fluxes need a stretch first.
    """
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8, copy=False), ()
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ImageError("floats that are NaN or infinite, outside [0, 1]; scale it to display brightness first")
        low, high = float(values.min()), float(values.max())
        if low >= -ROUNDING and high <= 1 + ROUNDING:
            return np.rint(values.clip(0, 1) * 255).astype(np.uint8), ()
        if low >= 0 and 1 < high <= 255 and not np.mod(values, 1).any():
            return values.astype(np.uint8), ("floats in 0…255 are taken as 8-bit brightness",)
        raise ImageError(
            f"floats from {low:g} to {high:g}, outside [0, 1]; scale it to display brightness first, "
            "or save fluxes as FITS"
        )
    if values.dtype.kind not in "ui":
        raise ImageError(f"array of {values.dtype}; uint8, uint16 or floats in [0, 1] are expected")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        bits = 8 * values.dtype.itemsize
        raise ImageError(f"{bits}-bit integers from {low} to {high}; save it with 8 or 16 bits, or as FITS")
    depth = next(bits for bits in DEPTHS if high < 2**bits)
    assumed = depth < 16 and values.dtype.itemsize > 1
    return np.right_shift(values, depth - 8).astype(np.uint8), (
        (f"brightest value {high} of 16 bits: taken as {depth}-bit brightness",) if assumed else ()
    )
