"""Petrosian radius of the galaxy in an image, frames cut around a pixel, and whether the pixel scale fits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .framing import FRAME_RADII

__all__ = ["cut", "petrosian_r90", "scale_warning"]

#: Factors by which a frame may be too wide or too narrow for its galaxy before that is a warning: of a radius from a
#: catalogue, and of a measured one, which is less certain.
TOLERATED, TOLERATED_MEASURED = 1.5, 2.0
#: The petrosian radius is where the local surface brightness is this share of the mean inside (Blanton et al. 2001).
PETROSIAN = 0.2
#: Light of neighbours stands so many times the noise above what lies opposite of it.
NEIGHBOUR = 3.0


def cut(planes: NDArray[np.float32], centre: tuple[float, float], shape: tuple[int, int]) -> NDArray[np.float32]:
    """The frame of `shape` (rows, columns) around a pixel (column, row): (B, H, W) → (B, h, w), NaN beyond the edge."""
    height, width = shape
    left, top = (round(c - (n - 1) / 2) for c, n in zip(centre, (width, height), strict=True))
    out = np.full((len(planes), height, width), np.nan, np.float32)
    rows, columns = (
        slice(max(first, 0), max(min(first + n, size), first, 0))
        for first, n, size in ((top, height, planes.shape[1]), (left, width, planes.shape[2]))
    )
    part = planes[:, rows, columns]
    at_row, at_column = rows.start - top, columns.start - left
    out[:, at_row : at_row + part.shape[1], at_column : at_column + part.shape[2]] = part
    return out


def scale_warning(side: float, radius: float, *, measured: bool) -> str:
    """Warn of a frame that is too wide or too narrow for its galaxy; "" if it fits.

    Parameters
    ----------
    side, radius : float
        Of the frame, and petroR90 of the galaxy (NaN: not known), in the same unit.
    measured : bool
        Whether the radius was measured in the image.
    """
    if not (math.isfinite(radius) and radius > 0):
        return ""
    wide = side / radius
    tolerated = TOLERATED_MEASURED if measured else TOLERATED
    if FRAME_RADII / tolerated <= wide <= FRAME_RADII * tolerated:
        return ""
    how = "as measured" if measured else "as the catalogue says"
    return f"frame of {wide:.1f} petroR90, {how}, where the model knows {FRAME_RADII}: see --size and --radius-column"


def petrosian_r90(light: NDArray[np.float32], centre: tuple[float, float] | None = None) -> float:
    """Measure petroR90 of the galaxy in the middle, in pixels: the circle that holds 90 % of its petrosian light.

    The petrosian light is what lies within twice the petrosian radius (Blanton et al. 2001). The sky is the median of
    the outermost pixels; of two pixels that lie opposite of one another the fainter one counts for both where they
    differ by more than noise does, which takes most neighbours away.

    Parameters
    ----------
    light : (H, W) float32
        Flux, in any unit, with or without its sky; NaN is left out.
    centre : (column, row), optional
        None: the middle of the image.

    Returns
    -------
    float
        NaN if there is no galaxy that rises above the noise, or it does not end within the image.
    """
    height, width = light.shape
    column, row = centre or ((width - 1) / 2, (height - 1) / 2)
    y, x = np.arange(height)[:, None] - row, np.arange(width)[None] - column
    distance = np.hypot(y, x)
    reach = min(column + 0.5, row + 0.5, width - column - 0.5, height - row - 0.5)
    usable = np.isfinite(light)
    edge = usable & (distance > 0.85 * reach)
    if reach < 4 or edge.sum() < 16:
        return math.nan
    sky = np.median(light[edge])
    noise = 1.4826 * float(np.median(np.abs(light[edge] - sky)))
    above = np.where(usable, light - sky, 0)
    opposite = _turned(above, column, row)
    above = np.where(above - opposite > NEIGHBOUR * noise * math.sqrt(2), opposite, above)
    inside = distance <= reach
    ring = distance[inside].astype(int)
    counts = np.bincount(ring).astype(float)
    sums = np.bincount(ring, above[inside])
    outer = np.arange(1, len(counts) + 1)
    total, area = np.cumsum(sums), np.cumsum(counts)
    # Over a few rings, so that noise is not taken for the end of the galaxy.
    width_of_rings = np.maximum(1, (0.15 * outer).astype(int))
    last, first = np.minimum(outer + width_of_rings, len(counts)) - 1, np.maximum(outer - width_of_rings, 0)
    before = np.where(first > 0, total[first - 1], 0), np.where(first > 0, area[first - 1], 0)
    local = (total[last] - before[0]) / np.maximum(area[last] - before[1], 1)
    mean = total / area
    if total.max() <= 5 * noise * math.sqrt(area[min(len(area) - 1, 8)]):
        return math.nan
    ends = np.flatnonzero((local < PETROSIAN * mean) & (outer >= 2))
    if not len(ends):
        return math.nan
    petrosian = outer[ends[0]]
    full = np.interp(2 * petrosian, outer, total)
    first_at = int(np.argmax(total >= 0.9 * full))
    below = total[first_at - 1] if first_at else 0.0
    return float(first_at + (0.9 * full - below) / max(total[first_at] - below, 1e-30))


def _turned(image: NDArray[np.float32], column: float, row: float) -> NDArray[np.float32]:
    """The image turned by 180° about a pixel; where there is nothing to turn, as it is."""
    height, width = image.shape
    rows, columns = np.rint(2 * row - np.arange(height)).astype(int), np.rint(2 * column - np.arange(width)).astype(int)
    good = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    turned = image[rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)[None]]
    return np.where(good, turned, image)
