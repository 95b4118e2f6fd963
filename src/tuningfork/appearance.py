"""A dozen plain numbers of a picture (its sky, noise, light, colours) that tell one survey's galaxies from all else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATISTICS", "appearance"]

#: What `appearance` measures, in its order. Levels and differences are logarithms of counts (0 to 255); light is
#: brightness above the sky.
STATISTICS = {
    "sky_red": "sky's level in red: median of the picture's outermost band",
    "sky_green": "sky's level in green",
    "sky_blue": "sky's level in blue",
    "sky_noise": "median absolute deviation of the outermost band",
    "grain": "median of the absolute Laplacian",
    "sharpness": "99 % quantile of the absolute Laplacian",
    "colour_noise": "median difference of a pixel's brightest and faintest colour",
    "light": "mean light",
    "centre": "mean brightness of the middle",
    "concentration": "share of the light in the central quarter of the side",
    "off_centre": "distance of the light's centre from the picture's, in sides",
    "red_green": "ratio of the light in red and green",
    "green_blue": "ratio of the light in green and blue",
    "saturated": "root of the share of pixels with a full colour (250 or more)",
    "black": "root of the share of pixels that are 0",
}


def appearance(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The numbers of `STATISTICS`, (D,), of a picture (S, S, 3) uint8 as the network gets it, S ≥ 8.

    They are the same for a turned or mirrored picture, but for rounding.
    """
    side = len(picture)
    planes = [np.ascontiguousarray(picture[:, :, band]) for band in range(3)]
    red, green, blue = planes
    brightest, faintest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    # Sums of the three colours stay whole numbers, whose medians are quick.
    sums = red.astype(np.int32) + green + blue
    edges = [_edge(plane) for plane in planes]
    sky = [_quantile(edge, 0.5) for edge in edges]
    deviations = np.concatenate([np.abs(edge.astype(np.int32) - level) for edge, level in zip(edges, sky, strict=True)])
    laplacian = np.abs(4 * sums[1:-1, 1:-1] - sums[:-2, 1:-1] - sums[2:, 1:-1] - sums[1:-1, :-2] - sums[1:-1, 2:])
    light = np.maximum(sums - _quantile(_edge(sums), 0.5), 0).astype(np.float32) / 3
    # One count everywhere, so that an empty picture has its light in the middle and no colour.
    total = float(light.sum()) + 1
    away = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    core, inner = _middle(side, side // 40 + 1), _middle(side, side // 8)
    colour = [
        (np.vdot(light, plane.astype(np.float32)) - level * (total - 1)) / total
        for plane, level in zip(planes, sky, strict=True)
    ]
    logs = np.log(np.maximum(colour, 1))
    return np.array(
        [
            *np.log1p(sky),
            np.log(_quantile(deviations, 0.5) + 0.5),
            np.log(_quantile(laplacian, 0.5) / 3 + 0.5),
            np.log1p(_quantile(laplacian, 0.99) / 3),
            np.log(_quantile(brightest - faintest, 0.5) + 0.5),
            np.log(total / side**2 + 0.1),
            np.log1p(sums[core, core].mean() / 3),
            light[inner, inner].sum() / total,
            np.hypot(light.sum(0) @ away, light.sum(1) @ away) / total,
            logs[0] - logs[1],
            logs[1] - logs[2],
            np.sqrt(np.count_nonzero(brightest >= 250) / side**2),
            np.sqrt(np.count_nonzero(brightest == 0) / side**2),
        ],
        np.float64,
    )


def _edge(plane: NDArray[np.integer]) -> NDArray[np.integer]:
    """The outermost sixteenth of the side, each pixel once."""
    band = max(1, len(plane) // 16)
    rest = plane[band:-band]
    return np.concatenate([part.ravel() for part in (plane[:band], plane[-band:], rest[:, :band], rest[:, -band:])])


def _middle(side: int, half: int) -> slice:
    # As far from both ends, so that a turned picture gives the same numbers.
    return slice(side // 2 - half, side - side // 2 + half)


def _quantile(values: NDArray[np.integer], share: float) -> int:
    """The smallest value that at least this share of whole numbers ≥ 0 does not exceed."""
    return int(np.searchsorted(np.cumsum(np.bincount(values.ravel())), share * values.size))
