"""Noise of the sky by the median absolute deviation, which the light of galaxies hardly changes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SIGMA_PER_MAD", "mad_std"]

#: A normal distribution's standard deviation over its median absolute deviation.
SIGMA_PER_MAD = 1.4826


def mad_std(values: NDArray[Any], centre: ArrayLike) -> float:
    """Standard deviation of normal noise, from the median absolute deviation of values from their centre.

    Parameters
    ----------
    values : array of any shape
        Finite, of any unit.
    centre : float, or an array that broadcasts with `values`
        Such as their median.

    Examples
    --------
    >>> mad_std(np.array([1.0, 2.0, 3.0, 4.0, 100.0]), 3.0)
    1.4826
    """
    return SIGMA_PER_MAD * float(np.median(np.abs(values - centre)))
