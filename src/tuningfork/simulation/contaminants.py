"""Simulated contaminants: out-of-distribution images of known kinds, made from images of galaxies."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ..images.noise import mad_std

__all__ = ["CONTAMINANTS", "contaminate"]

RGB = NDArray[np.uint8]
Floats = NDArray[np.float32]
#: Share of the frame's shorter side whose outermost band is taken as sky.
SKY_BAND = 0.05


def contaminate(image: RGB, kind: str, seed: int, index: int, crop: float = 0.5) -> RGB:
    """Return galaxy `index` changed into one kind of contaminant; the same arguments give the same result.

    Parameters
    ----------
    image : (H, W, 3) uint8
        A galaxy in the middle of its frame; red, green, blue.
    kind : str
        A key of `CONTAMINANTS`.
    crop : float in (0, 1]
        Share of the frame's shorter side that the model sees: shifts, cuts and trails are laid out in it.

    Returns
    -------
    (H, W, 3) uint8

    Raises
    ------
    KeyError
        If the kind is not known.
    """
    make = CONTAMINANTS[kind]
    return make(image, np.random.default_rng([seed, index, zlib.crc32(kind.encode())]), crop)


def _blank(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """One colour everywhere: the sky's."""
    return _rounded(np.broadcast_to(_sky(image)[0], image.shape))


def _noise(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """The sky's colour and independent Gaussian noise of 4 to 64 counts."""
    return _rounded(_sky(image)[0] + _deviates(image, rng) * _log_uniform(rng, 4, 64))


def _star(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """A saturated star on empty sky: Moffat profile, four diffraction spikes, at most 5 % of the crop off centre."""
    side = crop * min(image.shape[:2])
    x, y = _about_centre(image, rng.uniform(-0.05, 0.05, 2) * side)
    width = side * _log_uniform(rng, 0.02, 0.08)
    light = _log_uniform(rng, 3, 30) * (1 + (x**2 + y**2) / width**2) ** -2.5
    turn = rng.uniform(0, math.pi / 2)
    length = side * rng.uniform(0.15, 0.5)
    for angle in (turn, turn + math.pi / 2):
        along, across = (
            x * math.cos(angle) + y * math.sin(angle),
            y * math.cos(angle) - x * math.sin(angle),
        )
        light += 1.5 * np.exp(-np.abs(along) / (length / 3) - (across / (0.1 * width + 0.5)) ** 2)
    tint = 1 - rng.uniform(0, 0.3) * rng.permutation([0, 0.5, 1])
    sky, noise = _sky(image)
    return _rounded(sky + noise * _deviates(image, rng) + 255 * light[..., None] * tint)


def _off_centre(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """The galaxy moved by 30 to 60 % of the crop's side; what comes into the frame is its mirrored edge."""
    shift = rng.uniform(0.3, 0.6) * crop * min(image.shape[:2])
    angle = rng.uniform(0, 2 * math.pi)
    for axis, part in enumerate((math.cos(angle), math.sin(angle))):
        step, length = round(shift * part), image.shape[axis]
        rows = np.abs(np.arange(length) - step)
        image = image.take(np.minimum(rows, 2 * (length - 1) - rows), axis)
    return image


def _cut(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """The edge of an exposure: black beyond a line that passes within 15 % of the crop's side from the centre."""
    x, y = _about_centre(image)
    angle = rng.uniform(0, 2 * math.pi)
    beyond = x * math.cos(angle) + y * math.sin(angle) > rng.uniform(-0.15, 0.15) * crop * min(image.shape[:2])
    return np.where(beyond[..., None], np.uint8(0), image)


def _trail(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """A satellite's trail, 1 to 4 % of the crop wide, within 25 % of the crop from the centre."""
    side = crop * min(image.shape[:2])
    x, y = _about_centre(image)
    angle = rng.uniform(0, math.pi)
    away = x * math.cos(angle) + y * math.sin(angle) - rng.uniform(-0.25, 0.25) * side
    light = rng.uniform(0.5, 1.5) * np.exp(-((away / (side * rng.uniform(0.005, 0.02))) ** 2))
    return _rounded(image + 255 * light[..., None])


def _inverted(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """Dark on white, as on a photographic plate."""
    return 255 - image


def _grey(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """One band, repeated."""
    return _rounded(np.broadcast_to(image.mean(2, keepdims=True, dtype=np.float32), image.shape))


def _swapped(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """Blue, green, red: the bands in the wrong order."""
    return np.ascontiguousarray(image[..., ::-1])


def _larger(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """Twice the angular scale: every galaxy twice as large."""
    return _scaled(image, 2)


def _smaller(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """Half the angular scale, on sky."""
    return _scaled(image, 0.5)


def _noisy(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """Independent Gaussian noise of 30 to 60 counts on the galaxy."""
    return _rounded(image + _deviates(image, rng) * rng.uniform(30, 60))


def _blurred(image: RGB, rng: np.random.Generator, crop: float) -> RGB:
    """A Gaussian blur of 4 to 8 % of the crop's side."""
    radius = rng.uniform(0.04, 0.08) * crop * min(image.shape[:2])
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


#: Name → function of a galaxy's image (H, W, 3), a random generator and the model's crop.
CONTAMINANTS: dict[str, Callable[[RGB, np.random.Generator, float], RGB]] = {
    "blank": _blank,
    "noise": _noise,
    "star": _star,
    "off_centre": _off_centre,
    "cut": _cut,
    "trail": _trail,
    "inverted": _inverted,
    "grey": _grey,
    "swapped_bands": _swapped,
    "twice_as_large": _larger,
    "half_as_large": _smaller,
    "noisy": _noisy,
    "blurred": _blurred,
}


def _sky(image: RGB) -> tuple[Floats, float]:
    """Colour (3,) and noise of the frame's outermost band, by medians, so that neighbours do not count."""
    band = max(1, round(SKY_BAND * min(image.shape[:2])))
    edge = np.ones(image.shape[:2], bool)
    edge[band:-band, band:-band] = False
    pixels = image[edge].astype(np.float32)
    colour = np.median(pixels, 0)
    return colour, mad_std(pixels, colour)


def _about_centre(image: RGB, offset: NDArray[np.float64] | tuple[float, float] = (0, 0)) -> tuple[Floats, ...]:
    """Distances (H, W) in pixels to the right of and below the frame's centre, moved by `offset`."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x - (width - 1) / 2 - np.float32(offset[0]), y - (height - 1) / 2 - np.float32(offset[1])


def _scaled(image: RGB, factor: float) -> RGB:
    height, width = image.shape[:2]
    new = round(width * factor), round(height * factor)
    resized = Image.fromarray(image).resize(new, Image.Resampling.BICUBIC)
    frame = Image.new("RGB", (width, height), tuple(_rounded(_sky(image)[0]).tolist()))
    frame.paste(resized, ((width - new[0]) // 2, (height - new[1]) // 2))
    return np.asarray(frame)


def _deviates(image: RGB, rng: np.random.Generator) -> Floats:
    return rng.standard_normal(image.shape, np.float32)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _rounded(values: NDArray[np.floating]) -> RGB:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
