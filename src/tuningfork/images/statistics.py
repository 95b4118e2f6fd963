"""Image statistics (sky, noise, light, colours) that distinguish one survey's galaxies from other images."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATISTICS", "appearance", "appearances"]

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
    return appearances(rgb[None])[0]


def appearances(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`appearance` of each of several images of one size, to the last bit: (N, S, S, 3) → (N, D).

    About ten at a time are fastest: NumPy's calls are shared, and all stays in the processor's cache.
    """
    count, side = images.shape[:2]
    area = side**2
    planes = np.ascontiguousarray(np.moveaxis(images, -1, 1))
    red, green, blue = planes[:, 0], planes[:, 1], planes[:, 2]
    brightest, faintest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    # Sums of the three colours stay whole numbers, whose medians are quick; 16 bits also hold their Laplacian.
    sums = red.astype(np.int16)
    sums += green
    sums += blue
    edges = _edges(planes)
    counts = _counts(edges.reshape(3 * count, -1), LEVELS).reshape(count, 3, LEVELS)
    sky = _quantile(counts, 0.5)
    away_from_sky = np.abs(np.arange(LEVELS) - sky[..., None])
    deviations = _counts(away_from_sky.reshape(count, -1), LEVELS, counts.reshape(count, -1))
    laplacian = _laplacian(sums)
    sharp = _counts(laplacian.reshape(count, -1), int(laplacian.max(initial=0)) + 1)
    edge_sums = edges.sum(1, dtype=np.int16)
    above = sums - _quantile(_counts(edge_sums, 3 * LEVELS), 0.5).astype(np.int16)[:, None, None]
    # x + |x| is twice what is above 0, in a third of maximum's time.
    above += np.abs(above)
    light = above.astype(np.float32)
    light /= 6
    # One count everywhere, so that an empty image has its light in the middle and no colour.
    total = light.reshape(count, -1).sum(1).astype(np.float64) + 1
    share = total.astype(np.float32)
    core, inner, away = _middle(side, side // 40 + 1), _middle(side, side // 8), _away(side)
    middle = sums[:, core, core]
    colours = planes.astype(np.float32)
    # Images by themselves where BLAS would add in another order for several.
    weights = np.array([[np.vdot(one, plane) for plane in three] for one, three in zip(light, colours, strict=True)])
    colour = (weights.reshape(count, 3) - (sky * (total - 1)[:, None]).astype(np.float32)) / share[:, None]
    logs = np.log(np.maximum(colour, np.float32(1)))
    across, down = ([line @ away for line in light.sum(axis)] for axis in (1, 2))
    full, black = ([np.count_nonzero(one) for one in many] for many in (brightest >= 250, brightest == 0))
    out = np.empty((count, len(STATISTICS)))
    out[:, :3] = np.log1p(sky)
    for number, column in enumerate(
        (
            np.log(_quantile(deviations, 0.5) + 0.5),
            np.log(_quantile(sharp, 0.5) / 3 + 0.5),
            np.log1p(_quantile(sharp, 0.99) / 3),
            np.log(np.array([_median(one) for one in brightest - faintest]) + 0.5),
            np.log(total / area + 0.1),
            np.log1p(middle.reshape(count, -1).sum(1) / middle[0].size / 3),
            np.array([one[inner, inner].sum() for one in light]) / share,
            np.hypot(np.array(across, np.float32), np.array(down, np.float32)) / share,
            logs[:, 0] - logs[:, 1],
            logs[:, 1] - logs[:, 2],
            np.sqrt(np.array(full) / area),
            np.sqrt(np.array(black) / area),
        ),
        3,
    ):
        out[:, number] = column
    return out


def _edges(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outermost sixteenth of the side, each pixel once: (N, 3, S, S) → (N, 3, E)."""
    band = max(1, planes.shape[2] // 16)
    rest = planes[:, :, band:-band]
    parts = planes[:, :, :band], planes[:, :, -band:], rest[..., :band], rest[..., -band:]
    return np.concatenate([part.reshape(len(planes), 3, -1) for part in parts], 2)


def _laplacian(sums: NDArray[np.int16]) -> NDArray[np.int16]:
    """Its size at all but the outermost pixels: (N, S, S) → (N, S − 2, S − 2)."""
    # Rows end to end are one run of memory: what reaches round a row's end is wrong, and cut off.
    count, side, _ = sums.shape
    run = sums.reshape(count, -1)
    laplacian = run[:, side:-side] * np.int16(4)
    for step in (-side, side, -1, 1):
        laplacian -= run[:, side + step : run.shape[1] - side + step]
    return np.abs(laplacian, out=laplacian).reshape(count, -1, side)[:, :, 1:-1]


def _counts(
    values: NDArray[np.integer], width: int, weights: NDArray[np.integer | np.floating] | None = None
) -> NDArray[np.integer | np.floating]:
    """How often each whole number below `width` occurs in each row: (R, E) → (R, width)."""
    # A call each: one for all would need larger numbers, which take longer to add than a call.
    rows = zip(values, weights if weights is not None else [None] * len(values), strict=True)
    return np.stack([np.bincount(row, weight, width) for row, weight in rows])


def _middle(side: int, half: int) -> slice:
    # As far from both ends, so that a turned image gives the same numbers.
    return slice(side // 2 - half, side - side // 2 + half)


@lru_cache(maxsize=16)
def _away(side: int) -> NDArray[np.float32]:
    """Distances from the middle, in sides."""
    return ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)


def _quantile(counts: NDArray[np.integer | np.floating], share: float) -> NDArray[np.intp]:
    """The smallest value that at least this share of whole numbers ≥ 0 does not exceed, by how often each occurs.

    On the last axis: (*, W) → (*).
    """
    below = counts.cumsum(-1)
    return (below < np.ceil(share * below[..., -1:])).sum(-1)


def _median(values: NDArray[np.uint8]) -> int:
    """`_quantile` of 0.5 of (S, S) numbers themselves."""
    # A few of them show about where it is; comparing all with a level is a tenth of counting all levels.
    level = int(_quantile(np.bincount(values.ravel()[::16]), 0.5))
    half = (values.size + 1) // 2
    while np.count_nonzero(values <= level) < half:
        level += 1
    while level and np.count_nonzero(values < level) >= half:
        level -= 1
    return level
