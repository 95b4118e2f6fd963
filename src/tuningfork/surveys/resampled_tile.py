"""One tile of a mosaic, or one image of a service, resampled on the grid of a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images.fits.bands import Band
from ..images.fits.measure import cut
from ..images.fits.render import in_unit, per_pixel, pixel_scale_of
from ..images.fits.wcs import celestial_wcs, pixels_at, resample, sky_at
from ..images.image import MIN_SIDE, ImageError, NoDataError, check_size
from ..images.no_data import constant_parts

__all__ = ["on_grid"]

#: Pixels that are read beyond the frame, for the interpolation.
SPARE = 3
#: Points of a frame's edge that are looked up in a tile, to find the tile's part of it.
EDGE = 5


def on_grid(
    bands: Sequence[Band], grid: Any, side: int, stretch: str
) -> tuple[NDArray[np.float32], tuple[str, ...]] | None:
    """The bands of one tile on the grid (B, side, side), and warnings; None if the tile does not reach into it.

    Parameters
    ----------
    bands : sequence of B Band
        Of the open tile.
    grid : astropy.wcs.WCS
        Of the result.
    side : int
        Pixels of the result's side.
    stretch : str
        Fluxes are brought to the unit that it is for.

    Raises
    ------
    ImageError
        If a band has no WCS, or is damaged.
    """
    planes = []
    warnings: tuple[str, ...] = ()
    scale = 3600 * float(grid.wcs.cdelt[1])
    for band in bands:
        wcs, problem = celestial_wcs(band.header)
        if wcs is None:
            raise ImageError(f"{problem} in a tile; was it changed?")
        window = _window(wcs, band.shape, grid, side)
        if window is None:
            return None
        rows, columns = window
        check_size(max(columns.stop - columns.start, MIN_SIDE), max(rows.stop - rows.start, MIN_SIDE))
        plane = band.read(rows, columns)
        if not band.is_display:
            own = pixel_scale_of(band, wcs)
            plane = _without_zeros(plane) * per_pixel(band, own, scale)
            centre = pixels_at(wcs, *sky_at(grid, (side - 1) / 2, (side - 1) / 2))
            place = float(centre[0]) - columns.start, float(centre[1]) - rows.start
            warnings += _constant_parts(plane, place, side * scale / own)
        planes.append(in_unit(resample(plane, wcs[rows, columns], grid, (side, side)), band, stretch, scale))
    return np.stack(planes), warnings


def _without_zeros(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """NaN where a plane is exactly 0; but counts of photons, whole numbers and some of them 1, may be 0."""
    known = plane[np.isfinite(plane)]
    if (known == 1).any() and not np.mod(known, 1).any():
        return plane
    return np.where(plane == 0, np.nan, plane).astype(np.float32)


def _constant_parts(plane: NDArray[np.float32], centre: tuple[float, float], side: float) -> tuple[str, ...]:
    """Warnings of the frame of `side` pixels around a pixel (column, row), before it is resampled.

    Resampling blurs values that stand for no data. What is blank in part shows in the resampled frame.
    """
    if not (math.isfinite(sum(centre)) and math.isfinite(side)):
        return ()
    frame = cut(plane[None], centre, (max(MIN_SIDE, round(side)),) * 2)
    try:
        return constant_parts(frame, is_flux=True) if np.isfinite(frame).any() else ()
    except NoDataError:
        return ()


def _window(wcs: Any, shape: tuple[int, int], grid: Any, side: int) -> tuple[slice, slice] | None:
    """The part of a tile that the frame may touch: rows, columns; None if there is none."""
    along = np.linspace(-0.5, side - 0.5, EDGE)
    x, y = (axis.ravel() for axis in np.meshgrid(along, along))
    columns, rows = pixels_at(wcs, *sky_at(grid, x, y))
    good = np.isfinite(columns) & np.isfinite(rows)
    if not good.any():
        return None
    window = []
    for places, size in ((rows[good], shape[0]), (columns[good], shape[1])):
        first = max(0, math.floor(places.min()) - SPARE)
        last = min(size, math.ceil(places.max()) + SPARE + 1)
        if last - first < 2:
            return None
        window.append(slice(first, last))
    return window[0], window[1]
