"""FITS images, whole or in part → the picture of a place: north up, of the scale that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images import PictureError, check_size
from .bands import Band, opened_bands
from .frame import blank_warning
from .framing import Framing
from .orientation import celestial, laid_on, pixels_at, sky_at, straight_grid
from .picture import pictured

__all__ = ["gridded"]

#: Pixels beyond the frame that are read, for the interpolation.
SPARE = 4


def gridded(
    images: Sequence[bytes], ra: float, dec: float, size: float, pixels: int, stretch: str
) -> tuple[NDArray[np.uint8], str]:
    """The square of `size` arcsec around a position, and what to tell of it.

    Parameters
    ----------
    images : one or three FITS files
        Bands by increasing wavelength.

    Returns
    -------
    picture : (pixels, pixels, 3) uint8
        Red, green, blue; north is up (row 0), east is left (column 0).
    warning : str
        "" if there is nothing to tell.

    Raises
    ------
    PictureError
        If an image has no WCS, or no data there.
    """
    shape, scale = (pixels, pixels), size / pixels
    grid = straight_grid(ra, dec, scale, shape)
    with opened_bands(images[0] if len(images) == 1 else images, Framing(stretch=stretch)) as bands:
        planes = np.stack([_laid(band, grid, shape) for band in bands])
    warning = blank_warning(planes)
    return pictured(planes, stretch, scale, is_picture=all(band.is_bytes for band in bands)), warning


def _laid(band: Band, grid: Any, shape: tuple[int, int]) -> NDArray[np.float32]:
    wcs, lacking = celestial(band.header)
    if wcs is None:
        raise PictureError(f"an image with {lacking}")
    # Of a large image only what the frame covers is read.
    ends = np.array([0, shape[1] - 1, 0, shape[1] - 1]), np.array([0, 0, shape[0] - 1, shape[0] - 1])
    corners = pixels_at(wcs, *sky_at(grid, *ends))
    columns, rows = (_around(at, length) for at, length in zip(corners, band.shape[::-1], strict=True))
    if columns.stop <= columns.start or rows.stop <= rows.start:
        return np.full(shape, np.nan, np.float32)
    check_size(columns.stop - columns.start, rows.stop - rows.start)
    return laid_on(band.read(rows, columns), wcs[rows, columns], grid, shape)


def _around(at: NDArray[np.float64], length: int) -> slice:
    """The pixels of an axis of `length` that lie between positions on it, with a few to spare."""
    if not np.isfinite(at).all():
        return slice(0, 0)
    return slice(*(int(np.clip(end, 0, length)) for end in (np.floor(at.min()) - SPARE, np.ceil(at.max()) + SPARE + 1)))
