"""Out-of-distribution detection: images unlike those of the training, with a stated rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from ..images.statistics import STATISTICS
from . import conformal

__all__ = ["NoveltyDetector", "DomainError", "fit_novelty_detector", "galaxies_needed"]

Floats = NDArray[np.float64]

#: Differences below this count for nothing, in the units of `images.statistics`: about 1 % of a level, 1 % of a share.
RESOLUTION = 0.01
#: Galaxies for each statistic, below which their covariance says little; the rate of false alarms holds even so.
PER_STATISTIC = 4


class DomainError(TuningforkError, ValueError):
    """Too few galaxies to promise a rate of false alarms; the message says how many are needed."""


@dataclass(frozen=True)
class NoveltyDetector:
    """Novelty detector: mean and covariance of the image statistics of in-domain galaxies.

    An image's score is its Mahalanobis distance from the mean, divided by the threshold: above 1 it is flagged.

    Parameters
    ----------
    mean : tuple of D floats
    covariance : tuple of D tuples of D floats
    threshold : float above 0
        Distance that at most `rate` of new galaxies of the same kind exceed.
    rate : float in (0, 1)
        The promised share of false alarms.
    fitted, held_out : int
        Galaxies that mean and covariance, and that the threshold, come from.
    statistics : tuple of D texts
        Names of the statistics: the keys of `images.statistics.STATISTICS`.

    Raises
    ------
    ValueError
        If a number is not finite or out of its range, the covariance is none, or this version measures
        other statistics.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    threshold: float
    rate: float
    fitted: int
    held_out: int
    statistics: tuple[str, ...] = tuple(STATISTICS)

    def __post_init__(self) -> None:
        if self.statistics != tuple(STATISTICS):
            raise ValueError("domain: measured in other statistics than this version's; upgrade, or calibrate again")
        width = len(self.statistics)
        if len(self.mean) != width or [len(row) for row in self.covariance] != [width] * width:
            raise ValueError(f"domain: mean and covariance are not of {width} statistics")
        numbers = (self.threshold, self.rate, *self.mean, *(x for row in self.covariance for x in row))
        if not all(type(x) in (int, float) and math.isfinite(x) for x in numbers):
            raise ValueError("domain: not all numbers are finite")
        if self.threshold <= 0 or not 0 < self.rate < 1:
            raise ValueError(f"domain: threshold {self.threshold} is not above 0, or rate {self.rate} not in (0, 1)")
        if not all(type(n) is int and n > 0 for n in (self.fitted, self.held_out)):
            raise ValueError(f"domain: {self.fitted!r} and {self.held_out!r} are not counts of galaxies")
        matrix = np.array(self.covariance)
        if not np.array_equal(matrix, matrix.T) or np.linalg.eigvalsh(matrix)[0] <= 0:
            raise ValueError("domain: the covariance is not symmetric and positive")

    @cached_property
    def _whitening(self) -> Floats:
        return np.linalg.inv(np.linalg.cholesky(np.array(self.covariance)))

    def scores(self, values: Floats) -> Floats:
        """Return the scores (N,) of images' statistics (N, D): 0 and above; above 1 is out of domain."""
        return _distances(values, np.array(self.mean), self._whitening) / self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain types; `from_dict` reads them back."""
        return {
            "statistics": list(self.statistics),
            "mean": list(self.mean),
            "covariance": [list(row) for row in self.covariance],
            "threshold": self.threshold,
            "rate": self.rate,
            "fitted": self.fitted,
            "held_out": self.held_out,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NoveltyDetector:
        """From the plain form. Raises ValueError or TypeError if it is none."""
        values: dict[str, Any] = dict(data)
        for key in ("statistics", "mean", "covariance"):
            values[key] = tuple(values.get(key, ()))
        values["covariance"] = tuple(tuple(row) for row in values["covariance"])
        return cls(**values)


def galaxies_needed(rate: float) -> int:
    """Return how many galaxies `fit_novelty_detector` needs for this rate of false alarms: 198 for 1 %."""
    return 2 * max(conformal.galaxies_needed(1 - rate), PER_STATISTIC * len(STATISTICS))


def fit_novelty_detector(
    values: Floats | Sequence[Floats], rate: float = 0.01, seed: int = 0, *, training: NDArray[np.bool_] | None = None
) -> NoveltyDetector:
    """Fit a novelty detector on the statistics of the images of in-domain galaxies.

    Mean and covariance come from one half of the galaxies, chosen by chance; the threshold is the
    ⌈(n + 1)(1 − rate)⌉-th smallest distance of the n others. A further galaxy of the same kind exceeds it with
    a probability of at most `rate`, whatever the distances' distribution (Vovk, Gammerman & Shafer 2005; for
    outliers: Bates et al. 2023, Ann. Statist. 51, 149). That is on average over such fits; the rate of
    a single fit scatters by about √(rate / n).

    Parameters
    ----------
    values : (N, D)
        Statistics of the images, as `images.statistics.appearance` measures them.
    rate : float in (0, 1)
        Of false alarms.
    seed : int
        Of the halves.
    training : (N,) bool, optional
        Galaxies that the model was trained on. They may give mean and covariance, but never the threshold: if there are
        enough of them and of others, mean and covariance are theirs and the threshold is that of all others.

    Raises
    ------
    DomainError
        If there are fewer than `galaxies_needed`.
    ValueError
        If the rate is not between 0 and 1, or a number is not finite.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate of false alarms {rate} is not between 0 and 1")
    rows = np.asarray(values, np.float64)
    is_training = np.zeros(len(rows), bool) if training is None else training
    new, needed = rows[~is_training], galaxies_needed(rate)
    by_training = int(is_training.sum()) >= needed // 2 and len(new) >= needed // 2
    if not by_training and len(new) < needed:
        kind = "galaxies that the model was not trained on" if is_training.any() else "galaxies"
        raise DomainError(
            f"{len(new)} {kind}; to promise at most {100 * rate:.3g} % of false alarms, {needed} are needed"
        )
    if not np.isfinite(rows).all():
        raise ValueError("a statistic is not a finite number")
    if by_training:
        fit, held_out = rows[is_training], new
    else:
        shuffled = np.random.default_rng(seed).permutation(len(new))
        fit, held_out = new[shuffled[: len(new) // 2]], new[shuffled[len(new) // 2 :]]
    mean, covariance = fit.mean(0), np.cov(fit.T) + RESOLUTION**2 * np.eye(rows.shape[1])
    covariance = (covariance + covariance.T) / 2
    distances = _distances(held_out, mean, np.linalg.inv(np.linalg.cholesky(covariance)))
    threshold = conformal.bound(distances, 1 - rate)
    return NoveltyDetector(
        tuple(mean.tolist()),
        tuple(map(tuple, covariance.tolist())),
        float(threshold),
        float(rate),
        len(fit),
        len(held_out),
    )


def _distances(rows: Floats, mean: Floats, whitening: Floats) -> Floats:
    """Mahalanobis distances (N,) of (N, D) (Mahalanobis 1936, Proc. Nat. Inst. Sci. India 2, 49)."""
    return np.sqrt((((rows - mean) @ whitening.T) ** 2).sum(1))
