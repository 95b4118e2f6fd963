"""Preprocessing: central crop, resize and scaling of an image to a network's input, for training and prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Preprocess"]

FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MAX_SIZE = 2048


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Central square crop, antialiased resize, scaling: a description that travels with the model.

    Parameters
    ----------
    crop : float in (0, 1]
        Side of the central square, as a fraction of the image's shorter side.
    size : int
        Side of the network's input in pixels.
    mean, std : three floats
        Input = (image / 255 − mean) / std, for red, green, blue.
    filter : str
        Kernel of the resize, widened when shrinking so that nothing aliases.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    crop: float = 0.5
    size: int = 96
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    filter: str = "bilinear"

    def __post_init__(self) -> None:
        if not _is_number(self.crop) or not 0 < self.crop <= 1:
            raise ValueError(f"preprocess: crop {self.crop!r} is not in (0, 1]")
        if not isinstance(self.size, int) or not 8 <= self.size <= MAX_SIZE:
            raise ValueError(f"preprocess: size {self.size!r} is not a whole number in 8…{MAX_SIZE}")
        if self.filter not in tuple(FILTERS):
            raise ValueError(f"preprocess: filter {self.filter!r} is none of {', '.join(FILTERS)}")
        for triple in (self.mean, self.std):
            if not isinstance(triple, tuple) or len(triple) != 3 or not all(map(_is_number, triple)):
                raise ValueError("preprocess: mean and std are three finite numbers each")
        if not min(self.std) > 0:
            raise ValueError("preprocess: std is not above 0")

    def window(self, height: int, width: int) -> tuple[float, float, float]:
        """Left edge, top edge and side of the crop, in pixels of an image of this shape."""
        side = self.crop * min(height, width)
        return (width - side) / 2, (height - side) / 2, side

    def resized(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crop and resize: (H, W, 3) uint8 → (size, size, 3) uint8."""
        left, top, side = self.window(*rgb.shape[:2])
        # Cut first: the kernel of the resize would reach over the edge of the crop.
        x, y = math.floor(left), math.floor(top)
        cut = Image.fromarray(rgb[y : math.ceil(top + side), x : math.ceil(left + side)])
        return self.shrunk(cut, (left - x, top - y, left - x + side, top - y + side))

    def shrunk(self, image: Image.Image, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
        """Resize only: the box (left, top, right, bottom) of an RGB image → (size, size, 3) uint8."""
        return np.asarray(image.resize((self.size, self.size), FILTERS[self.filter], box=box))

    @property
    def gain_and_offset(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What `scaled` multiplies with and adds, (3, 1, 1) each."""
        return _gain_and_offset(self.mean, self.std)

    def scaled(self, resized: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scaling and axis order: (*, size, size, 3) uint8 → (*, 3, size, size) float32."""
        gain, offset = self.gain_and_offset
        # Bytes change places, a quarter of what floats would move.
        scaled = np.multiply(np.moveaxis(resized, -1, -3), gain, order="C")
        scaled += offset
        return scaled

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Crop, resize and scale one image: (H, W, 3) uint8 → (3, size, size) float32."""
        return self.scaled(self.resized(rgb))

    def to_dict(self) -> dict[str, Any]:
        """The description as JSON stores it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocess:
        """Read `to_dict`'s form; an unknown key is an error, since ignoring it would change the input."""
        unknown, missing = sorted(set(data) - set(cls.__slots__)), sorted(set(cls.__slots__) - set(data))
        if unknown:
            raise ValueError(f"preprocess: {unknown[0]!r} is not known to this version")
        if missing:
            raise ValueError(f"preprocess: {missing[0]!r} is missing, and no default may stand for it")
        values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in data.items()}
        return cls(**values)


@lru_cache(maxsize=16)
def _gain_and_offset(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gain, offset = 1 / (255 * np.asarray(std)), -np.asarray(mean) / np.asarray(std)
    return gain.astype(np.float32)[:, None, None], offset.astype(np.float32)[:, None, None]
