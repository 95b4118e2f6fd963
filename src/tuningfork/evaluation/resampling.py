"""Bootstrap and jackknife of scores that depend on galaxies through sums alone, as RMSE and confusion matrices do.

A score of sums is resampled by a product of counts and columns; resampling the galaxies themselves, 37 fractions each,
would take minutes for a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import metrics

__all__ = ["RESAMPLES", "Resamples", "confusion_cells", "intervals_of", "root_mean", "squared_errors"]

Floats = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Resamples:
    """Sums of K columns over N galaxies: of all, of bootstrap samples, and without each group of the jackknife.

    Parameters
    ----------
    total : (K,) float64
    drawn : (R, K) float64
        Of N galaxies drawn with replacement; the same galaxies as `metrics.bootstrap` draws from the same seed.
    left_out : (G, K) float64
        Without each of `metrics.jackknife_groups`.

    Examples
    --------
    >>> import numpy as np
    >>> squares = np.random.default_rng(0).normal(0, 0.1, (500, 1)) ** 2
    >>> interval = Resamples.of(np.hstack([squares, np.ones((500, 1))])).interval(root_mean)
    >>> bool(interval.low < 0.1 < interval.high)
    True
    """

    total: Floats
    drawn: Floats
    left_out: Floats

    @classmethod
    def of(cls, columns: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Resamples:
        """Resample the rows of `columns` (N, K)."""
        count, total = len(columns), columns.sum(0)
        drawn = np.empty((resamples if count else 0, columns.shape[1]))
        rng = np.random.default_rng(seed)
        for row in drawn:
            row[:] = np.bincount(rng.integers(0, count, count), minlength=count) @ columns
        groups = metrics.jackknife_groups(count) if count > 1 else []
        left_out = [total - columns[group].sum(0) for group in groups]
        return cls(total, drawn, np.reshape(left_out, (len(left_out), columns.shape[1])))

    def scores(self, score: Callable[[Floats], float | Sequence[float] | Floats]) -> tuple[Floats, Floats, Floats]:
        """Return scores (M,) of all galaxies, (R, M) of each sample and (G, M) without each group.

        Parameters
        ----------
        score : function of (K,) sums
            Gives one score or several, (M,).
        """
        value = np.atleast_1d(np.asarray(score(self.total), float))
        drawn, left_out = (
            np.reshape([score(sums) for sums in each], (len(each), len(value))) for each in (self.drawn, self.left_out)
        )
        return value, drawn, left_out

    def intervals(self, score: Callable[[Floats], float | Sequence[float] | Floats]) -> list[metrics.Interval]:
        """Return scores, as in `scores`, with their bias-corrected and accelerated bootstrap intervals."""
        return intervals_of(*self.scores(score))

    def interval(self, score: Callable[[Floats], float | Floats]) -> metrics.Interval:
        """Return one score with its interval."""
        return self.intervals(score)[0]


def intervals_of(values: Floats, drawn: Floats, left_out: Floats) -> list[metrics.Interval]:
    """Return the intervals of M scores from what `Resamples.scores` gives of them."""
    return [
        metrics.Interval.of(float(value), drawn[:, at], left_out=left_out[:, at]) for at, value in enumerate(values)
    ]


def squared_errors(predicted: Floats, known: Floats) -> Floats:
    """Return the sum of the squared errors of each galaxy's known cells, and the number of these cells.

    Parameters
    ----------
    predicted, known : (N, A) float64
        Cumulative fractions; NaN in `known` is left out.

    Returns
    -------
    (N, 2) float64
    """
    cells = ~np.isnan(known)
    return np.stack([np.where(cells, (predicted - known) ** 2, 0).sum(1), cells.sum(1).astype(float)], 1)


def root_mean(sums: Floats) -> Floats:
    """Return the RMSE of the sums (..., 2) of `squared_errors`, (...); NaN without known cells."""
    squares, cells = sums[..., 0], sums[..., 1]
    return np.sqrt(np.divide(squares, cells, out=np.full(np.shape(cells), np.nan), where=cells > 0))


def confusion_cells(
    true: NDArray[np.integer], predicted: NDArray[np.integer], classes: int, weights: Floats | None = None
) -> Floats:
    """Return each galaxy's confusion matrix, flat: (N, C²), whose sum is that of `metrics.confusion_matrix`.

    Parameters
    ----------
    true, predicted : (N,) int in 0…C−1
    classes : int
    weights : (N,) float64, optional
        For how many galaxies each counts.
    """
    cells = np.zeros((len(true), classes**2))
    cells[np.arange(len(true)), true.astype(np.int64) * classes + predicted] = 1 if weights is None else weights
    return cells
