"""Split conformal prediction's order statistic: what further galaxies exceed no more often than promised."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["bound", "galaxies_needed"]

#: Levels are decimals, which a float misses by a little: 0.9 / (1 − 0.9) is a little more than 9.
_SLACK = 1e-9


def galaxies_needed(level: float) -> int:
    """The smallest number of galaxies whose largest score can be promised at `level`: 9 at 0.9, 99 at 0.99."""
    return max(1, math.ceil(level / (1 - level) * (1 - _SLACK)))


def bound(scores: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """The ⌈(n + 1) · level⌉-th smallest of n scores (N, *) along their first axis → (*).

    A further exchangeable score is at most this with a probability of at least `level`, whatever the
    distribution (Vovk, Gammerman & Shafer 2005). IndexError if there are fewer than `galaxies_needed`.
    """
    return np.sort(scores, 0)[math.ceil((len(scores) + 1) * level - _SLACK) - 1]
