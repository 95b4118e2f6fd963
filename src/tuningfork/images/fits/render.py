"""A FITS image → the picture that a network gets to see: bands, orientation, frame, stretch, and what to tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image import ImageError, RGBImage, check_size
from .bands import Band, Source, opened_bands
from .framing import Framing
from .measure import blank_warning, cut, petrosian_r90, scale_warning
from .orientation import Orientation, celestial, laid_on, north_up, orientation, sky_at, straight_grid
from .stretch import AUTO, stretched

__all__ = ["render_fits", "render_bands"]

#: Pixels by which two bands' WCS may differ before one is laid on the other.
TOGETHER = 0.1
Place = tuple[float, float]


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def render_fits(
    sources: Source | Sequence[Source],
    framing: Framing = Framing(),
    *,
    radius: float = math.nan,
    mask: Source | None = None,
) -> RGBImage:
    """The picture that a FITS file shows, or several files that are a band each, by increasing wavelength.

    The middle of the image is the middle of the picture. Of a large image on disk only the frame is read.

    Parameters
    ----------
    radius : float
        petroR90 of the galaxy, arcsec; NaN: not known.
    mask : optional
        A FITS file of bad pixels, see `bands.opened_bands`.

    Returns
    -------
    RGBImage
        Red, green, blue; north is up (row 0), east is left (column 0).

    Raises
    ------
    ImageError
        If there is no picture; the message is the reason.
    """
    with opened_bands(sources, framing, mask) as bands:
        height, width = bands[0].shape
        centre = ((width - 1) / 2, (height - 1) / 2)
        wcs, lacking = celestial(bands[0].header)
        lies = None if wcs is None else orientation(wcs, centre)
        told = [] if wcs is not None else [f"{lacking}: taken as it lies, direction and pixel scale are not known"]
        scale = math.nan if lies is None else lies.pixel_scale
        side, problem = _side(bands, framing, radius, scale)
        told.append(problem)
        shape = (height, width) if side is None else (side, side)
        planes = _frame(bands, wcs, lies if framing.orient else None, centre, shape)
        is_picture = all(band.is_bytes for band in bands)
    told.append(blank_warning(planes))
    light = planes.mean(0)
    known = radius / scale
    measured = not math.isfinite(known)
    # Bytes are display brightness, in which galaxies look larger than their light is.
    if not (measured and is_picture):
        told.append(scale_warning(min(light.shape), petrosian_r90(light) if measured else known, measured=measured))
    picture = render_bands(planes, framing.stretch, scale, is_picture=is_picture)
    return RGBImage(picture, tuple(filter(None, told)))


def render_bands(
    planes: NDArray[np.float32], stretch: str, pixel_scale: float, *, is_picture: bool
) -> NDArray[np.uint8]:
    """Bands (B, H, W), rows growing upwards → (H, W, 3) uint8, the upper row first.

    `is_picture`: they are bytes already, which ``auto`` leaves as they are.
    """
    if is_picture and stretch == AUTO:
        planes = np.rint(np.nan_to_num(planes)).clip(0, 255).astype(np.uint8)
    coloured = stretched(planes, stretch, pixel_scale if math.isfinite(pixel_scale) else None)
    return np.ascontiguousarray(coloured[::-1])


def _side(bands: Sequence[Band], framing: Framing, radius: float, scale: float) -> tuple[int | None, str]:
    """Pixels a side of the frame, None: the image as it is; and what to tell of it."""
    asked = framing.side(radius)
    if asked is not None:
        if not math.isfinite(scale):
            return None, "a size in arcsec needs a WCS: the image is shown whole"
        return max(1, round(asked / scale)), ""
    if not framing.measure:
        return None, ""
    height, width = bands[0].shape
    check_size(width, height)
    found = petrosian_r90(np.mean([band.read(slice(0, height), slice(0, width)) for band in bands], 0))
    if not math.isfinite(found):
        return None, "no galaxy that ends within the image could be measured: it is shown whole"
    return max(1, round(framing.radii * found)), ""


def _frame(
    bands: Sequence[Band], wcs: Any, lies: Orientation | None, centre: Place, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """The frame (B, h, w) around a pixel, rows growing upwards; north up if it is known how it lies."""
    check_size(*shape[::-1])
    straight = lies is None or lies.is_straight
    # A frame that is turned reaches farther, at most by its diagonal.
    reach = 0.0 if straight else (math.hypot(*shape) - min(shape)) / 2 + 2
    rows, columns = (
        slice(max(0, math.floor(c - n / 2 - reach)), max(0, min(size, math.ceil(c + n / 2 + reach) + 1)))
        for c, n, size in zip(centre[::-1], shape, bands[0].shape, strict=True)
    )
    check_size(columns.stop - columns.start, rows.stop - rows.start)
    section = None if wcs is None else wcs[rows, columns]
    planes = np.stack([_aligned(band, bands[0], wcs, section, rows, columns) for band in bands])
    if lies is None or straight:
        middle = (centre[0] - columns.start, centre[1] - rows.start)
        planes = cut(planes, middle, shape)
        return planes if lies is None else north_up(planes, lies)
    place = sky_at(wcs, *centre)
    grid = straight_grid(float(place[0]), float(place[1]), lies.pixel_scale, shape)
    return np.stack([laid_on(plane, section, grid, shape) for plane in planes])


def _aligned(band: Band, first: Band, wcs: Any, section: Any, rows: slice, columns: slice) -> NDArray[np.float32]:
    """A section of one band, laid on the pixels of the first if its own lie elsewhere."""
    if band is first or band.header is first.header:
        return band.read(rows, columns)
    own = None if wcs is None else celestial(band.header)[0]
    if own is None:
        if band.shape != first.shape:
            raise ImageError(f"bands of {first.shape} and {band.shape} px, and no WCS to lay one on the other")
        return band.read(rows, columns)
    corners = np.array([0, first.shape[1] - 1.0]), np.array([0, first.shape[0] - 1.0])
    away = np.abs(np.subtract(own.world_to_pixel(wcs.pixel_to_world(*corners)), corners))
    if band.shape == first.shape and away.max() <= TOGETHER:
        return band.read(rows, columns)
    check_size(*band.shape[::-1])
    whole = band.read(slice(0, band.shape[0]), slice(0, band.shape[1]))
    return laid_on(whole, own, section, (rows.stop - rows.start, columns.stop - columns.start))
