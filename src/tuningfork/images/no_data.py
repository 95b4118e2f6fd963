"""Missing data: NaN, masked pixels, constant bands and images, and large parts of one and the same value."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .image import NoDataError

__all__ = ["blank_pixels", "constant_parts", "missing_data"]

#: Shares of a frame without data that are worth a warning, and too much.
WARNED_BLANK, MOST_BLANK = 0.01, 0.5
#: Side of the middle that must have data, as a share of the frame.
MIDDLE = 0.05
#: Blocks of this share of the side that are constant have no data: of 2,000 images of Galaxy Zoo 2 none has more than
#: 0.4 % of its area in such blocks.
BLOCK, WARNED_CONSTANT = 1 / 16, 0.06
#: Pixels across that are compared first, and the share of equal neighbours among them, of bytes and of fluxes, from
#: which on all are.
SAMPLE, SUSPICIOUS_BYTES, SUSPICIOUS_FLUXES = 48, 0.12, 0.04
#: Share of fluxes that are exactly the least or the greatest of all before they are suspicious, and how far from the
#: others they then are, in times the range of the others on that side of their median.
WARNED_EXTREME, FAR = 0.005, 3.0
#: Pixels around the middle that are compared, at least.
CORE = 2.0
#: Brightness below which nothing is visible.
BLACK = 16


def missing_data(planes: NDArray[np.generic], *, is_flux: bool = False) -> tuple[str, ...]:
    """Describe what has no data in an image: `constant_parts` and `blank_pixels`."""
    return (*constant_parts(planes, is_flux=is_flux), *blank_pixels(planes))


def constant_parts(planes: NDArray[np.generic], *, is_flux: bool = False) -> tuple[str, ...]:
    """Describe bands and large parts of an image that are of one value, which no image of the sky is.

    Parameters
    ----------
    planes : (B, H, W) uint8 or float32
        Bands or colours; NaN has no data.
    is_flux : bool
        Whether exact zeros in the middle are an error, as surveys write them without data; in other images black may be
        the sky. Resampled images have no exact zeros any more.

    Returns
    -------
    tuple of str
        Warnings.

    Raises
    ------
    NoDataError
        If all fluxes have the same value, or the middle, where the galaxy should be, has none.
    """
    step = max(1, min(planes.shape[1:]) // SAMPLE)
    sample = np.ascontiguousarray(planes[:, ::step, ::step])
    warnings = _constant_bands(planes, sample, is_flux=is_flux)
    # A few pixels nearly always show that there is light.
    if planes.dtype == np.uint8 and sample.max() < BLACK and (brightest := int(planes.max())) < BLACK:
        warnings.append(f"nearly black: its brightest value is {brightest} of 255")
    if warnings:
        return tuple(warnings)
    extreme = _extremes(sample) if is_flux else []
    others = (*_core(planes), *_zeros(sample), *extreme) if is_flux else ()
    if _equal_neighbours(sample, each=not is_flux) < (SUSPICIOUS_FLUXES if is_flux else SUSPICIOUS_BYTES):
        return others
    constant = _constant_blocks(planes, each=not is_flux)
    distance = _distance(constant.shape)
    reach = min(constant.shape) / 2
    if is_flux:
        zero = constant & (planes == 0).any(0)
        if zero[distance <= max(1.0, MIDDLE * reach)].mean() > MOST_BLANK:
            raise NoDataError("the middle of the frame has no data: it is exactly 0")
    share = float(constant.mean())
    if share < WARNED_CONSTANT or extreme:
        return others
    return (f"{share:.0%} of the frame has one and the same value; if it has no data, mark it (NaN, BLANK, --mask)",)


def _core(planes: NDArray[np.generic]) -> list[str]:
    """Warn of fluxes that are all the same in the middle, where the galaxy should be; NoDataError if they are 0."""
    height, width = planes.shape[1:]
    reach = math.ceil(max(CORE, MIDDLE * min(height, width) / 2))
    rows, columns = (slice(max(0, n // 2 - reach), n // 2 + reach) for n in (height, width))
    core = planes[:, rows, columns]
    low, high = core.min((1, 2)), core.max((1, 2))
    constant = low == high
    if (constant & (low == 0)).any():
        raise NoDataError("the middle of the frame has no data: it is exactly 0")
    if not constant.any():
        return []
    return [f"the middle of the frame has one and the same value ({low[constant][0]:g}): saturated, or no data?"]


def _zeros(sample: NDArray[np.generic]) -> list[str]:
    """Warn of exact zeros among fluxes that are no integers; counts of photons have many."""
    share = float((sample == 0).any(0).mean())
    if share < WARNED_CONSTANT or not np.mod(sample[np.isfinite(sample)], 1).any():
        return []
    return [f"{share:.0%} of the frame is exactly 0; if it has no data, mark it (NaN, BLANK, --mask)"]


def _extremes(sample: NDArray[np.generic]) -> list[str]:
    """Warn of a value that stands for no data by being far from all others: -999, 65535, numpy's 1e20."""
    for plane in sample.astype(np.float64):
        ordered = np.sort(plane[np.isfinite(plane)])
        for values in (ordered, -ordered[::-1]):
            count = int(np.searchsorted(values, values[0], "right")) if values.size else 0
            rest = values[count:]
            if not rest.size or count < max(2, WARNED_EXTREME * values.size) or values[0] == 0:
                continue
            reach = float(np.median(rest) - rest[0])
            if reach > 0 and rest[0] - values[0] > FAR * reach:
                value = values[0] if values is ordered else -values[0]
                return [
                    f"{count / plane.size:.1%} of the frame is exactly {value:g}, far from all other values; if it has "
                    "no data, mark it (NaN, BLANK, --mask)"
                ]
    return []


def _constant_bands(planes: NDArray[np.generic], sample: NDArray[np.generic], *, is_flux: bool) -> list[str]:
    tolerance = 1 if planes.dtype == np.uint8 else 0
    constant = [
        _spread(few) <= tolerance and _spread(plane) <= tolerance for few, plane in zip(sample, planes, strict=True)
    ]
    if all(constant):
        value = planes[0][np.isfinite(planes[0])]
        problem = f"no data: all pixels have the same value ({value[0]:g})"
        if is_flux:
            raise NoDataError(problem)
        return [problem]
    return [
        f"band {number} of {len(planes)} has no data: all its pixels have the same value"
        for number, is_constant in enumerate(constant, 1)
        if is_constant
    ]


def _spread(plane: NDArray[np.generic]) -> float:
    """Largest minus smallest value; infinite without a finite one, which has its own error."""
    values = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
    return float(values.max()) - float(values.min()) if values.size else np.inf


def _equal_neighbours(sample: NDArray[np.generic], *, each: bool) -> float:
    """Share of pixels that equal their diagonal neighbours in each band, or in any."""
    equal = sample[:, 1:, 1:] == sample[:, :-1, :-1]
    return float((equal.all(0) if each else equal.any(0)).mean()) if equal.size else 0.0


def _constant_blocks(planes: NDArray[np.generic], *, each: bool) -> NDArray[np.bool_]:
    """Pixels (H, W) of blocks that are constant in each band, or in any."""
    height, width = planes.shape[1:]
    side = max(2, round(min(height, width) * BLOCK))
    rows, columns = height // side, width // side
    blocks = planes[:, : rows * side, : columns * side].reshape(len(planes), rows, side, columns, side)
    constant = blocks.max((2, 4)) == blocks.min((2, 4))
    constant = constant.all(0) if each else constant.any(0)
    out = np.zeros((height, width), bool)
    out[: rows * side, : columns * side] = constant.repeat(side, 0).repeat(side, 1)
    return out


def _distance(shape: tuple[int, ...]) -> NDArray[np.float32]:
    y, x = (np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape)
    return np.hypot(y[:, None], x[None])


def blank_pixels(planes: NDArray[np.generic]) -> tuple[str, ...]:
    """Describe the share of the frame (B, H, W) that is NaN or infinite in a band.

    It counts in the circle that the shorter side holds, so that corners that a turned image leaves do not.

    Raises
    ------
    NoDataError
        If that is more than half, or the middle, where the galaxy should be.
    """
    if planes.dtype.kind != "f" or not (blank := ~np.isfinite(planes).all(0)).any():
        return ()
    if blank.all():
        raise NoDataError("no usable pixel: all are NaN, infinite or masked")
    reach, distance = min(blank.shape) / 2, _distance(blank.shape)
    share = float(blank[distance <= reach].mean())
    if share > MOST_BLANK:
        raise NoDataError(f"{share:.0%} of the frame has no data, more than half")
    if blank[distance <= max(1.0, MIDDLE * reach)].mean() > MOST_BLANK:
        raise NoDataError("the middle of the frame has no data")
    return (f"{share:.0%} of the frame has no data",) if share >= WARNED_BLANK else ()
