"""Occlusion map: how much a prediction changes where a part of the image is covered with sky.

After Zeiler & Fergus (2014), "Visualizing and Understanding Convolutional Networks", section 4.2,
https://doi.org/10.1007/978-3-319-10590-1_53. It needs nothing but predictions, so it serves any model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Occlusion", "occlusion_map", "overlay"]

RGB = NDArray[np.uint8]

#: Cells along a side of the map, and along that of the square that covers: 121 coverings.
CELLS, COVER = 12, 2
#: Colour of what spoke for the answer, and of what spoke against it (Okabe & Ito 2008), red, green, blue.
FOR, AGAINST = (230, 159, 0), (86, 180, 233)
#: How much of the image the strongest place hides.
OPACITY = 0.5
#: Where contours are drawn, as shares of the greatest change.
LEVELS = (0.35, 0.7)


@dataclass(frozen=True, eq=False)
class Occlusion:
    """How much a score falls where the image is covered.

    Parameters
    ----------
    fall : (CELLS, CELLS) float64
        Score of the complete image less that with the cell covered, averaged over the coverings of the cell;
        above 0: what is there speaks for the answer. Row 0 is the top.
    score : float
        Of the complete image.
    window : (left, top, side) floats
        What the map spans, in pixels of the image.
    """

    fall: NDArray[np.float64]
    score: float
    window: tuple[float, float, float]

    @property
    def strongest(self) -> tuple[float, float]:
        """Where covering hurts most: x to the right, y downward, in pixels of the image."""
        row, column = np.unravel_index(int(np.argmax(self.fall)), self.fall.shape)
        left, top, side = self.window
        return left + (column + 0.5) * side / CELLS, top + (row + 0.5) * side / CELLS


def occlusion_map(
    image: RGB,
    score: Callable[[Iterable[RGB]], NDArray[np.float64]],
    window: tuple[float, float, float] | None = None,
) -> Occlusion:
    """Cover the image square by square and compute the score each time.

    Parameters
    ----------
    image : (H, W, 3) uint8
    score : callable
        Images of the same shape, one after the other → (N,) scores, such as the probability of a class.
    window : (left, top, side), optional
        What the network sees, in pixels; None: the largest central square.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    window = window or ((width - side) / 2, (height - side) / 2, side)
    left, top, side = window
    places = [(row, column) for row in range(CELLS - COVER + 1) for column in range(CELLS - COVER + 1)]
    sky, reach = _sky(image), round(COVER * side / CELLS)

    def covered() -> Iterator[RGB]:
        yield image
        for row, column in places:
            x, y = round(left + column * side / CELLS), round(top + row * side / CELLS)
            copy = image.copy()
            copy[y : y + reach, x : x + reach] = sky
            yield copy

    complete, *others = np.asarray(score(covered()), np.float64).tolist()
    total, count = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for (row, column), value in zip(places, others, strict=True):
        cells = np.s_[row : row + COVER, column : column + COVER]
        total[cells] += complete - value
        count[cells] += 1
    return Occlusion(total / count, complete, window)


def overlay(occlusion: Occlusion, height: int, width: int) -> NDArray[np.uint8]:
    """A layer to lay over the image: (height, width, 4) uint8, red, green, blue, opacity.

    Opacity grows with the fall of the score; outside of the window it is 0. Contours at `LEVELS` of the greatest
    change, in the colours of for and against between dark lines, show on a bright galaxy as on the dark sky.
    """
    from PIL import Image

    fall = occlusion.fall
    strength = fall / (np.abs(fall).max() or 1)
    left, top, side = (round(number) for number in occlusion.window)
    smooth = Image.fromarray(strength.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    strength = np.clip(np.asarray(smooth), -1, 1)[: height - top, : width - left]
    layer = np.zeros((height, width, 4), np.uint8)
    inside = layer[top : top + side, left : left + side]
    inside[..., :3] = np.where(strength[..., None] > 0, FOR, AGAINST)
    inside[..., 3] = np.rint(255 * OPACITY * np.abs(strength))
    width_of_line = max(1, round(side / 250))
    for level in LEVELS:
        for colour, above in ((FOR, strength > level), (AGAINST, strength < -level)):
            line = _grown(_edge(above), width_of_line)
            inside[_grown(line, width_of_line)] = (0, 0, 0, 200)
            inside[line] = (*colour, 255)
    return layer


def _edge(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) the pixels of a region beside one that is not of it."""
    inner = region.copy()
    inner[1:] &= region[:-1]
    inner[:-1] &= region[1:]
    inner[:, 1:] &= region[:, :-1]
    inner[:, :-1] &= region[:, 1:]
    return region & ~inner


def _grown(region: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """(H, W) a region and what is within so many pixels of it, along rows and columns."""
    for _ in range(pixels):
        grown = region.copy()
        grown[1:] |= region[:-1]
        grown[:-1] |= region[1:]
        grown[:, 1:] |= region[:, :-1]
        grown[:, :-1] |= region[:, 1:]
        region = grown
    return region


def _sky(image: RGB) -> NDArray[np.uint8]:
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return np.median(border, axis=0).astype(np.uint8)
