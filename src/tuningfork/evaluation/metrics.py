"""Scores in NumPy: RMSE with unknown columns masked, classification figures, bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ..votes.tree import DecisionTree

__all__ = [
    "Interval",
    "accuracy",
    "auroc",
    "bootstrap",
    "calibration_error",
    "confusion_matrix",
    "jackknife_groups",
    "macro",
    "number_or_none",
    "overall",
    "per_class",
    "rmse",
    "rmse_per_question",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
#: Of a class.
SCORES = ("precision", "recall", "f1")
#: Of the jackknife, which measures the skewness of a score.
MAX_GROUPS = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """A score with the bounds of its bootstrap interval of confidence `level`."""

    value: float
    low: float
    high: float
    level: float = 0.95

    @classmethod
    def of(
        cls,
        value: float,
        drawn: Floats | Sequence[float],
        level: float = 0.95,
        left_out: Floats | Sequence[float] | None = None,
    ) -> Interval:
        """Return the interval of a score from its resamples `drawn` (R,); those that are not finite are left out.

        With `left_out`, the score without each of `jackknife_groups`, bias-corrected and accelerated (BCa: Efron 1987,
        J. Am. Stat. Assoc. 82, 171), which a skewed score of few galaxies needs; else percentiles. The bounds are NaN
        where the score is not finite or no resample is.
        """
        finite = np.asarray(drawn, float)
        finite = finite[np.isfinite(finite)]
        if not math.isfinite(value) or not len(finite):
            return cls(value, math.nan, math.nan, level)
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        if left_out is not None:
            tails = _bca_tails(value, finite, np.asarray(left_out, float), tails)
        low, high = np.quantile(finite, tails).tolist()
        return (
            cls(value, low, high, level) if left_out is None else cls(value, min(low, value), max(high, value), level)
        )

    def to_dict(self) -> dict[str, float | None]:
        """`value`, `low` and `high` for JSON."""
        return {name: number_or_none(getattr(self, name)) for name in ("value", "low", "high")}


def number_or_none(value: float) -> float | None:
    """For JSON, which has no NaN: None says that there was nothing to score."""
    return value if math.isfinite(value) else None


def rmse(predicted: Floats, known: Floats) -> float:
    """Root of the mean squared error over all known cells; on complete rows, Kaggle's score.

    Parameters
    ----------
    predicted, known : (N, A)
        Cumulative fractions; NaN in `known` is left out. NaN in `predicted` where `known` is a
        number gives NaN: a missing prediction is not a good one.
    """
    cells = ~np.isnan(known)
    return float(np.sqrt(np.mean((predicted[cells] - known[cells]) ** 2))) if cells.any() else float("nan")


def rmse_per_question(predicted: Floats, known: Floats, tree: DecisionTree) -> dict[str, float]:
    """RMSE over the columns of each question, by the question's key."""
    return {
        question.key: rmse(predicted[:, part], known[:, part])
        for question, part in zip(tree.questions, tree.slices, strict=True)
    }


def confusion_matrix(
    true: Ints, predicted: Ints, classes: int, weights: Floats | None = None
) -> NDArray[np.int64] | Floats:
    """Counts (C, C): row the true class, column the predicted one. Both inputs (N,) in 0…C−1, else ValueError.

    With `weights` (N,) each galaxy counts for as many.
    """
    if np.any((true < 0) | (true >= classes) | (predicted < 0) | (predicted >= classes)):
        raise ValueError(f"a class is not in 0…{classes - 1}; leave out galaxies without one")
    cells = np.bincount(true.astype(np.int64) * classes + predicted, weights, classes**2)
    return cells.reshape(classes, classes)


def accuracy(matrix: NDArray[np.int64] | Floats) -> float:
    """Share of the diagonal of a confusion matrix; NaN if it is empty."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else float("nan")


def per_class(matrix: NDArray[np.int64] | Floats) -> dict[str, Floats]:
    """Precision, recall, F1, each (C,).

    As in scikit-learn, a class that is never predicted has precision 0, and one that is predicted but never occurs has
    recall and F1 0. One that neither occurs nor is predicted has NaN and counts in no average.
    """
    hit = np.diag(matrix).astype(float)
    occurs, predictions = matrix.sum(1).astype(float), matrix.sum(0).astype(float)
    precision = np.divide(hit, predictions, out=np.zeros_like(hit), where=predictions > 0)
    recall = np.divide(hit, occurs, out=np.zeros_like(hit), where=occurs > 0)
    f1 = np.divide(2 * hit, occurs + predictions, out=np.zeros_like(hit), where=occurs + predictions > 0)
    absent = occurs + predictions == 0
    return {
        name: np.where(absent, np.nan, values) for name, values in zip(SCORES, (precision, recall, f1), strict=True)
    }


def macro(matrix: NDArray[np.int64] | Floats) -> dict[str, float]:
    """Unrounded means of `per_class` over the classes that occur or are predicted."""
    if not matrix.any():
        return dict.fromkeys(SCORES, float("nan"))
    return {name: float(np.nanmean(values)) for name, values in per_class(matrix).items()}


def overall(matrix: NDArray[np.int64] | Floats) -> dict[str, float]:
    """`accuracy`, and the means of `macro` as ``macro_precision``, ``macro_recall`` and ``macro_f1``."""
    return {"accuracy": accuracy(matrix), **{f"macro_{name}": value for name, value in macro(matrix).items()}}


def calibration_error(
    probability: Floats, right: NDArray[np.bool_], bins: int = 10, weights: Floats | None = None
) -> float:
    """Expected calibration error: how far mean probability and share right are apart, averaged over galaxies.

    Guo et al. 2017 (arXiv:1706.04599), with bins of equally many galaxies. NaN without galaxies.

    Parameters
    ----------
    probability : (N,) in [0, 1]
        Of the predicted answer.
    right : (N,) bool
    weights : (N,) float64, optional
        For how many galaxies each counts.
    """
    if not len(probability):
        return float("nan")
    weights = np.ones(len(probability)) if weights is None else weights
    order = np.argsort(probability, kind="stable")
    gaps = np.array_split((weights * (probability - right))[order], min(bins, len(order)))
    return float(sum(abs(gap.sum()) for gap in gaps) / weights.sum())


def auroc(inside: Floats, outside: Floats) -> float:
    """Area under the receiver operating characteristic of scores that should be higher outside; NaN if one is empty.

    The probability that a score of `outside` (M,) is above one of `inside` (N,), ties counting a half: the
    statistic of Mann & Whitney 1947 (Ann. Math. Statist. 18, 50) over N · M.
    """
    if not len(inside) or not len(outside):
        return float("nan")
    ordered = np.sort(inside)
    below = np.searchsorted(ordered, outside, "left") + np.searchsorted(ordered, outside, "right")
    return float(below.mean() / (2 * len(inside)))


def jackknife_groups(count: int) -> list[NDArray[np.int64]]:
    """Return the rows of each of at most `MAX_GROUPS` random groups of `count` galaxies, always the same ones."""
    rows = np.random.default_rng(0).permutation(count)
    return np.array_split(rows, min(count, MAX_GROUPS)) if count else []


def _bca_tails(value: float, drawn: Floats, left_out: Floats, tails: Floats) -> Floats:
    """The quantiles of `drawn` that are the bounds: corrected for the median's bias, and for skewness."""
    normal = NormalDist()
    # Resamples of the same galaxies in another order differ in the last bits.
    equal = np.isclose(drawn, value, rtol=1e-9, atol=0)
    below = ((~equal & (drawn < value)).sum() + equal.sum() / 2) / len(drawn)
    # Not beyond what so many resamples can tell.
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn))))
    left_out = left_out[np.isfinite(left_out)]
    off = left_out.mean() - left_out if len(left_out) else left_out
    scale = float(np.sqrt((off**2).sum()))
    skew = float(((off / scale) ** 3).sum()) / 6 if scale else 0.0
    corrected = []
    for tail in tails.tolist():
        z = bias + normal.inv_cdf(tail)
        corrected.append(normal.cdf(bias + z / max(1 - skew * z, 1e-3)))
    return np.array(corrected)


def bootstrap(
    score: Callable[[NDArray[np.int64]], float],
    count: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """A score of galaxies with its bias-corrected and accelerated bootstrap interval; see `Interval.of`.

    Parameters
    ----------
    score : function of (N,) row numbers
        Called with all rows once, with `resamples` drawings of `count` rows with replacement, and with the rows that
        each of `jackknife_groups` leaves.
    """
    rng = np.random.default_rng(seed)
    value = score(np.arange(count))
    if count == 0 or not math.isfinite(value):
        return Interval.of(value, (), level)
    drawn = [score(rng.integers(0, count, count)) for _ in range(resamples)]
    left_out = [score(np.delete(np.arange(count), group)) for group in jackknife_groups(count)] if count > 1 else []
    return Interval.of(value, drawn, level, left_out)
