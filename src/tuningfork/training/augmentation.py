"""Data augmentation on the host: randomly turned, flipped, shifted, zoomed and lit views of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images.preprocess import Preprocess
from .recipe import Augmentation

__all__ = ["RandomView", "augmented"]


@dataclass(frozen=True)
class RandomView:
    """Random numbers of one augmented view: a square of `pixels`, sampled from an image, and its light.

    Parameters
    ----------
    matrix, offset : (2, 2) and (2,) float64
        The point (x, y) of the view, in pixels from its corner, lies at ``matrix @ (x, y) + offset`` of the image.
    light : float
        Factor of the brightness.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    light: float
    pixels: int

    @classmethod
    def of(
        cls, shape: tuple[int, ...], preprocess: Preprocess, augmentation: Augmentation, rng: np.random.Generator
    ) -> RandomView:
        """Draw a view of an image of this shape: turned, flipped, shifted, zoomed and lit."""
        left, top, side = preprocess.window(*shape[:2])
        angle = np.deg2rad(rng.uniform(*augmentation.rotation))
        zoom = np.exp(rng.uniform(*np.log(augmentation.zoom)))
        shift = rng.uniform(-augmentation.shift, augmentation.shift, 2) * side
        flip = rng.choice((-1, 1), 2) if augmentation.flip else np.ones(2)
        light = rng.uniform(*augmentation.brightness)
        pixels = max(round(side), 1)
        # About the centre: turn, flip and scale, then shift.
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn * flip * (side / pixels / zoom)
        centre = np.array([left + side / 2, top + side / 2]) + shift
        return cls(matrix, centre - matrix @ np.full(2, pixels / 2), float(light), pixels)


def augmented(
    image: NDArray[np.uint8], preprocess: Preprocess, augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Data augmentation: a randomly turned, flipped, shifted, zoomed and lit view.

    The crop's corners are filled from the frame around it, which a prediction leaves out, and beyond the frame from
    its mirror image, so that no black corner reveals the angle. `device_images.DeviceViews` does the same for a batch.

    Parameters
    ----------
    image : (H, W, 3) uint8

    Returns
    -------
    (size, size, 3) uint8
    """
    drawn = RandomView.of(image.shape, preprocess, augmentation, rng)
    matrix, offset, light, pixels = drawn.matrix, drawn.offset, drawn.light, drawn.pixels
    image, added = _mirrored(image, np.array([[0, 0], [0, pixels], [pixels, 0], [pixels, pixels]]) @ matrix.T + offset)
    offset = offset + added
    # Pillow wants the map from output to source.
    view = Image.fromarray(image).transform(
        (pixels, pixels),
        Image.Transform.AFFINE,
        (*matrix[0], offset[0], *matrix[1], offset[1]),
        Image.Resampling.BILINEAR,
    )
    view = view.point(np.clip(np.arange(256) * light + 0.5, 0, 255).astype(np.uint8).tolist() * 3)
    return preprocess.shrunk(view, (0, 0, pixels, pixels))


def _mirrored(image: NDArray[np.uint8], corners: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The image, continued by its mirror image as far as the corners (x, y) of a view need it, and what was added."""
    height, width = image.shape[:2]
    # Half a pixel of rounding is no reason to copy the image.
    before = np.maximum(np.ceil(-corners.min(0) - 0.5), 0).astype(int)
    after = np.maximum(np.ceil(corners.max(0) - (width, height) - 0.5), 0).astype(int)
    if not before.any() and not after.any():
        return image, np.zeros(2)
    margins = [(before[1] + 1, after[1] + 1), (before[0] + 1, after[0] + 1), (0, 0)]
    return np.pad(image, margins, mode="symmetric"), before + 1.0
