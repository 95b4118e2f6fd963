"""Petrosian radius of the galaxy in an image, frames cut around a pixel, and whether the pixel scale fits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..noise import mad_std
from .framing import FRAME_RADII

__all__ = ["cut", "petrosian_r90", "scale_warning"]

#: Factors by which a frame may be too wide or too narrow for its galaxy before that is a warning: of a radius from a
#: catalogue, and of a measured one, which is less certain.
TOLERATED, TOLERATED_MEASURED = 1.5, 2.0
#: The Petrosian radius is where the local surface brightness is this share of the mean inside (Blanton et al. 2001).
PETROSIAN = 0.2
#: Light of neighbours stands so many times the noise above what lies opposite of it.
NEIGHBOUR = 3.0
#: A galaxy rises above the noise where the light within some radius is so many times its uncertainty.
SIGNIFICANT = 5.0
#: Pixels from the centre within which opposite pixels are not compared.
CORE = 3.0
#: Of the curve of growth, in pixels: its step, and the radius within which each pixel counts as `PARTS`² parts.
RING, DIVIDED, PARTS = 0.5, 12.0, 7


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
    """Measure petroR90 of the galaxy in the middle, in pixels: the circle that holds 90 % of its Petrosian light.

    The Petrosian radius is where the light in the annulus of 0.8 to 1.25 radii is 0.2 of the mean inside, the
    Petrosian light what lies within twice that radius (Blanton et al. 2001, AJ 121, 2358, section 3.1). The sky is the
    median of the outermost pixels; of two pixels that lie opposite of one another the fainter one counts for both where
    they differ by more than noise does, which takes most neighbours away.

    Parameters
    ----------
    light : (H, W) float32
        Flux, in any unit, with or without its sky; NaN is left out.
    centre : (column, row), optional
        None: the brightest place near the middle of the image.

    Returns
    -------
    float
        NaN if there is no galaxy that rises above the noise, or it does not end within the image.
    """
    height, width = light.shape
    middle = centre or ((width - 1) / 2, (height - 1) / 2)
    usable = np.isfinite(light)
    distance, reach = _distance(light.shape, middle), _reach(light.shape, middle)
    edge = usable & (distance > 0.85 * reach)
    if reach < 4 or edge.sum() < 16:
        return math.nan
    sky = np.median(light[edge])
    noise = mad_std(light[edge], sky)
    above = np.where(usable, light - sky, 0)
    if centre is None:
        middle = _brightest(above, middle)
        distance, reach = _distance(light.shape, middle), _reach(light.shape, middle)
    opposite = _rotated(above, *middle)
    # In the core a fraction of a pixel makes opposite pixels differ, and there is no telling a neighbour apart.
    neighbour = (above - opposite > NEIGHBOUR * noise * math.sqrt(2)) & (distance > CORE)
    radii, total, area = _curve_of_growth(np.where(neighbour, opposite, above), middle, reach)
    if total.max() <= 5 * noise * math.sqrt(np.interp(9, radii, area)):
        return math.nan
    # The noise of the light within each radius, with that of the sky, a median (π/2 times the variance of a mean).
    uncertainty = noise * np.sqrt(area + area**2 * (math.pi / 2 / edge.sum()))
    if (total <= SIGNIFICANT * uncertainty).all():
        return math.nan
    petrosian = _petrosian_radius(radii, total, area)
    return _enclosing_radius(radii, total, 0.9 * float(np.interp(2 * petrosian, radii, total)))


def _petrosian_radius(radii: NDArray[np.float64], total: NDArray[np.float64], area: NDArray[np.float64]) -> float:
    """Where the local light falls below `PETROSIAN` of the mean inside, by the curve of growth; NaN if nowhere."""
    flux, size = (
        np.asarray(np.interp(1.25 * radii, radii, values) - np.interp(0.8 * radii, radii, values))
        for values in (total, area)
    )
    local = flux / np.maximum(size, 1e-9)
    excess = local - PETROSIAN * total / np.maximum(area, 1e-9)
    ends = np.flatnonzero((excess < 0) & (radii >= 1.5))
    if not len(ends):
        return math.nan
    at = int(ends[0])
    before = max(at - 1, 0)
    share = excess[before] / (excess[before] - excess[at]) if excess[before] > 0 else 0.0
    return float(radii[before] + share * (radii[at] - radii[before]))


def _enclosing_radius(radii: NDArray[np.float64], total: NDArray[np.float64], light: float) -> float:
    """The radius within which so much light lies; NaN if there is none."""
    if not light > 0:
        return math.nan
    first = int(np.argmax(total >= light))
    below = total[first - 1]
    return float(radii[first - 1] + (light - below) / max(total[first] - below, 1e-30) * RING)


def _distance(shape: tuple[int, ...], centre: tuple[float, float]) -> NDArray[np.float64]:
    """(H, W) distances of the pixels' middles from (column, row)."""
    return np.hypot(np.arange(shape[0])[:, None] - centre[1], np.arange(shape[1])[None] - centre[0])


def _reach(shape: tuple[int, ...], centre: tuple[float, float]) -> float:
    """The largest circle about (column, row) within the image."""
    (column, row), (height, width) = centre, shape
    return min(column + 0.5, row + 0.5, width - column - 0.5, height - row - 0.5)


def _brightest(above: NDArray[np.float32], middle: tuple[float, float]) -> tuple[float, float]:
    """The centroid of the light about the brightest place near the middle, (column, row), to a fraction of a pixel."""
    near = 2 + 0.01 * max(above.shape)
    smooth = np.lib.stride_tricks.sliding_window_view(np.pad(above, 1), (3, 3)).mean((2, 3))
    row, column = np.unravel_index(
        np.argmax(np.where(_distance(above.shape, middle) <= near, smooth, -np.inf)), above.shape
    )
    if not 1 <= row < above.shape[0] - 1 or not 1 <= column < above.shape[1] - 1:
        return middle
    part = above[row - 1 : row + 2, column - 1 : column + 2]
    weight = np.maximum(part - part.min(), 0)
    if not weight.any():
        return middle
    steps = np.arange(-1, 2)
    return float(column + (weight.sum(0) @ steps) / weight.sum()), float(row + (weight.sum(1) @ steps) / weight.sum())


def _curve_of_growth(
    above: NDArray[np.float32], centre: tuple[float, float], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Radii in steps of `RING`, and the light and the area (in pixels) within each; pixels of the core are divided."""
    distance = _distance(above.shape, centre)
    core = distance <= DIVIDED
    whole = ~core & (distance <= reach)
    rows, columns = np.nonzero(core)
    offsets = (np.arange(PARTS) + 0.5) / PARTS - 0.5
    parts = np.hypot(
        rows[:, None, None] + offsets[:, None] - centre[1], columns[:, None, None] + offsets - centre[0]
    ).reshape(len(rows), -1)
    inside = parts <= reach
    values = np.broadcast_to(above[rows, columns][:, None] / PARTS**2, parts.shape)
    ring = np.concatenate([parts[inside], distance[whole]]) // RING
    flux = np.concatenate([values[inside], above[whole]])
    size = np.concatenate([np.full(int(inside.sum()), 1 / PARTS**2), np.ones(int(whole.sum()))])
    count = math.ceil(reach / RING)
    ring = np.minimum(ring, count - 1).astype(int)
    total, area = (np.append(0.0, np.cumsum(np.bincount(ring, values, count))) for values in (flux, size))
    return np.arange(count + 1, dtype=np.float64) * RING, total, area


def _rotated(image: NDArray[np.float32], column: float, row: float) -> NDArray[np.float32]:
    """The image rotated by 180° about a pixel; as it is where the opposite pixel lies beyond the edge."""
    height, width = image.shape
    rows, columns = np.rint(2 * row - np.arange(height)).astype(int), np.rint(2 * column - np.arange(width)).astype(int)
    good = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    rotated = image[rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)[None]]
    return np.where(good, rotated, image)
