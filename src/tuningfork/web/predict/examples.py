"""Simulated galaxies as examples to try."""

from __future__ import annotations

from functools import lru_cache

from ...images.encode import jpeg
from ...simulation import draw, render

__all__ = ["EXAMPLE", "EXAMPLES", "example_jpeg"]

#: Number of examples, and the seed of the population that they are drawn from.
EXAMPLES, _SEED = 12, 23
#: The one that the page shows first, a spiral.
EXAMPLE = 1


@lru_cache(maxsize=EXAMPLES)
def example_jpeg(number: int) -> bytes:
    """One of the `EXAMPLES`, as a JPEG file."""
    return jpeg(render(draw(_SEED, number)), quality=88)
