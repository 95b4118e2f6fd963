"""Image statistics (sky, noise, light, colours) that distinguish one survey's galaxies from other images."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATISTICS", "appearance"]

#: What `appearance` measures, in its order. Levels and differences are logarithms of counts (0 to 255); light is
#: brightness above the sky.
STATISTICS = {
    "sky_red": "sky's level in red: median of the image's outermost band",
    "sky_green": "sky's level in green",
    "sky_blue": "sky's level in blue",
    "sky_noise": "median absolute deviation of the outermost band",
    "grain": "median of the absolute Laplacian",
    "sharpness": "99 % quantile of the absolute Laplacian",
    "colour_noise": "median difference of a pixel's brightest and faintest colour",
    "light": "mean light",
    "centre": "mean brightness of the middle",
    "concentration": "share of the light in the central quarter of the side",
    "off_centre": "distance of the light's centre from the image's, in sides",
    "red_green": "ratio of the light in red and green",
    "green_blue": "ratio of the light in green and blue",
    "saturated": "root of the share of pixels with a full colour (250 or more)",
    "black": "root of the share of pixels that are 0",
}

#: Of an image's colours.
LEVELS = 256


def appearance(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The numbers of `STATISTICS`, (D,), of an image (S, S, 3) uint8 as the network gets it, S ≥ 8.

    They are the same for a turned or mirrored image, but for rounding.
    """
    side, area = len(rgb), len(rgb) ** 2
    planes = np.ascontiguousarray(np.moveaxis(rgb, -1, 0))
    red, green, blue = planes
    brightest, faintest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    # Sums of the three colours stay whole numbers, whose medians are quick; 16 bits also hold their Laplacian.
    sums = red.astype(np.int16)
    sums += green
    sums += blue
    edges = _edges(planes)
    counts = [np.bincount(edge, minlength=LEVELS) for edge in edges]
    sky = [_quantile(count, 0.5) for count in counts]
    away_from_sky = [np.abs(np.arange(LEVELS) - level) for level in sky]
    parts = (np.bincount(*pair, LEVELS) for pair in zip(away_from_sky, counts, strict=True))
    deviations = sum(parts, np.zeros(LEVELS))
    laplacian = np.bincount(_laplacian(sums).ravel())
    above = sums - np.int16(_quantile(np.bincount(edges.sum(0, dtype=np.int16)), 0.5))
    # x + |x| is twice what is above 0, in a third of maximum's time.
    above += np.abs(above)
    light = above.astype(np.float32)
    light /= 6
    # One count everywhere, so that an empty image has its light in the middle and no colour.
    total = float(light.sum()) + 1
    core, inner, away = _middle(side, side // 40 + 1), _middle(side, side // 8), _away(side)
    middle = sums[core, core]
    colour = [
        (np.vdot(light, plane) - level * (total - 1)) / total
        for plane, level in zip(planes.astype(np.float32), sky, strict=True)
    ]
    logs = np.log(np.maximum(colour, 1))
    return np.array(
        [
            *np.log1p(sky),
            np.log(_quantile(deviations, 0.5) + 0.5),
            np.log(_quantile(laplacian, 0.5) / 3 + 0.5),
            np.log1p(_quantile(laplacian, 0.99) / 3),
            np.log(_median(brightest - faintest) + 0.5),
            np.log(total / area + 0.1),
            np.log1p(middle.sum() / middle.size / 3),
            light[inner, inner].sum() / total,
            np.hypot(light.sum(0) @ away, light.sum(1) @ away) / total,
            logs[0] - logs[1],
            logs[1] - logs[2],
            np.sqrt(np.count_nonzero(brightest >= 250) / area),
            np.sqrt((area - np.count_nonzero(brightest)) / area),
        ],
        np.float64,
    )


def _edges(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outermost sixteenth of the side, each pixel once: (3, S, S) → (3, E)."""
    band = max(1, planes.shape[1] // 16)
    rest = planes[:, band:-band]
    parts = planes[:, :band], planes[:, -band:], rest[:, :, :band], rest[:, :, -band:]
    return np.concatenate([part.reshape(3, -1) for part in parts], 1)


def _laplacian(sums: NDArray[np.int16]) -> NDArray[np.int16]:
    """Its size at all but the outermost pixels: (S, S) → (S − 2, S − 2)."""
    # Rows end to end are one run of memory: what reaches round a row's end is wrong, and cut off.
    side, run = len(sums), sums.ravel()
    laplacian = run[side:-side] * np.int16(4)
    for step in (-side, side, -1, 1):
        laplacian -= run[side + step : run.size - side + step]
    return np.abs(laplacian, out=laplacian).reshape(-1, side)[:, 1:-1]


def _middle(side: int, half: int) -> slice:
    # As far from both ends, so that a turned image gives the same numbers.
    return slice(side // 2 - half, side - side // 2 + half)


@lru_cache(maxsize=16)
def _away(side: int) -> NDArray[np.float32]:
    """Distances from the middle, in sides."""
    return ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)


def _quantile(counts: NDArray[np.integer | np.floating], share: float) -> int:
    """The smallest value that at least this share of whole numbers ≥ 0 does not exceed, by how often each occurs."""
    below = counts.cumsum()
    return int(below.searchsorted(math.ceil(share * below.item(-1))))


def _median(values: NDArray[np.uint8]) -> int:
    """`_quantile` of 0.5 of (S, S) numbers themselves."""
    # A few of them show about where it is; comparing all with a level is a tenth of counting all levels.
    level = _quantile(np.bincount(values.ravel()[::16]), 0.5)
    half = (values.size + 1) // 2
    while np.count_nonzero(values <= level) < half:
        level += 1
    while level and np.count_nonzero(values < level) >= half:
        level -= 1
    return level
