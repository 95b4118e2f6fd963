"""Weighted reservoir sampling: a random sample of a stream in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Shortlist"]

Floats = NDArray[np.float64]


class Shortlist:
    """A weighted random sample of a stream of rows that never holds more than twice its size.

    Each row gets a clock, an exponential random number over its weight, and the earliest stay (Efraimidis &
    Spirakis 2006). `finish` divides each weight by the row's chance to stay (Cohen & Kaplan 2007), so that weighing
    again by the result does not count an uncertain galaxy twice. A stream that fits is kept as it is.

    Parameters
    ----------
    size : int
        Rows to keep, at least 1.
    seed : int
        Decides the sample, together with the rows' order; in which blocks they come does not matter.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f"a shortlist of {size} rows; at least 1 is needed")
        self.size = size
        self.total = 0
        self._rng = np.random.default_rng(seed)
        self._blocks: list[tuple[NDArray[Any], ...]] = []
        self._count = 0
        self._limit = np.inf

    def add(self, weights: ArrayLike, *columns: NDArray[Any]) -> None:
        """A block of rows: weights (n,) ≥ 0, and any arrays (n, *) that belong to them."""
        weight = np.asarray(weights, np.float64)
        with np.errstate(divide="ignore"):
            clock = self._rng.standard_exponential(len(weight)) / weight
        self._blocks.append((clock, weight, *columns))
        self.total += len(weight)
        self._count += len(weight)
        if self._count > 2 * self.size:
            self._shorten()

    def finish(self) -> tuple[Floats, tuple[NDArray[Any], ...]]:
        """Weights (n,) corrected for the chance to be here, and the columns; in the order of the stream."""
        if not self._blocks:
            return np.empty(0), ()
        self._shorten()
        _, weight, *columns = self._blocks[0]
        if np.isfinite(self._limit):
            weight = np.divide(weight, -np.expm1(-weight * self._limit), out=np.zeros_like(weight), where=weight > 0)
        return weight, tuple(columns)

    def _shorten(self) -> None:
        joined = tuple(np.concatenate(each) for each in zip(*self._blocks, strict=True))
        clock = joined[0]
        if len(clock) > self.size:
            earliest = np.argsort(clock, kind="stable")
            # The chance to stay is that of a clock before the first one that did not.
            self._limit = min(self._limit, float(clock[earliest[self.size]]))
            keep = np.sort(earliest[: self.size])
            joined = tuple(each[keep] for each in joined)
        self._blocks, self._count = [joined], len(joined[0])
