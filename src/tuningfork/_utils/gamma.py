"""Logarithm of the gamma function and its derivative, for arrays; NumPy has neither."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["digamma", "log_gamma"]

Floats = NDArray[np.float64]

#: Arguments are moved up by as much, where the asymptotic series are exact to about 1e-13.
_SHIFT = 10


def log_gamma(x: Floats) -> Floats:
    """Return log Γ(x) of positive numbers (*), by Stirling's series (Abramowitz & Stegun 1964, 6.1.41)."""
    x = np.asarray(x, np.float64)
    product = np.ones_like(x)
    for step in range(_SHIFT):
        product *= x + step
    z = x + _SHIFT
    square = z**2
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * square)) / square) / square) / z
    return (z - 0.5) * np.log(z) - z + 0.5 * math.log(2 * math.pi) + series - np.log(product)


def digamma(x: Floats) -> Floats:
    """Return ψ(x) = d log Γ(x) / dx of positive numbers (*) (Abramowitz & Stegun 1964, 6.3.18)."""
    x = np.asarray(x, np.float64)
    steps = np.zeros_like(x)
    for step in range(_SHIFT):
        steps += 1 / (x + step)
    z = x + _SHIFT
    square = z**2
    return (
        np.log(z) - 0.5 / z - (1 / 12 - (1 / 120 - (1 / 252 - 1 / (240 * square)) / square) / square) / square - steps
    )
