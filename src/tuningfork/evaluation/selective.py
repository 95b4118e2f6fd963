"""Selective classification: above which probability is the class right often enough, and for how many galaxies.

The threshold is chosen on one half of the labelled galaxies and judged on the other, which had no say in it. How
many of a half are right is binomial, so the true precision is at least the lower bound of Clopper & Pearson 1934
with the stated confidence, however few the galaxies are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Selection", "clopper_pearson_lower", "least_galaxies", "most_probable", "proves", "select", "threshold"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def clopper_pearson_lower(right: int, galaxies: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of a share: the least p with P(X ≥ right | galaxies, p) ≥ 1 − confidence; 0 if none."""
    if not 0 <= right <= galaxies:
        raise ValueError(f"{right} right of {galaxies}")
    if right == 0:
        return 0.0
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _at_least(right, galaxies, middle) < 1 - confidence else (low, middle)
    return low


def proves(right: int, galaxies: int, precision: float, confidence: float = 0.95) -> bool:
    """Whether `clopper_pearson_lower` is at least `precision`; quicker, as it needs one sum."""
    return right > 0 and _at_least(right, galaxies, precision) <= 1 - confidence


def least_galaxies(precision: float, confidence: float = 0.95) -> int:
    """Galaxies, all of them right, that prove a precision: 299 for 99 % with 95 % confidence."""
    return math.ceil(math.log(1 - confidence) / math.log(precision))


def _at_least(right: int, galaxies: int, p: float) -> float:
    """P(X ≥ right) of a binomial; summed from the side of the few errors."""
    if p >= 1:
        return 1.0
    if p <= 0:
        return float(right == 0)
    wrong = np.arange(galaxies - right + 1)
    terms = np.array([math.lgamma(w + 1) + math.lgamma(galaxies - w + 1) for w in wrong])
    logs = math.lgamma(galaxies + 1) - terms + wrong * math.log1p(-p) + (galaxies - wrong) * math.log(p)
    return float(np.exp(logs).sum())


@dataclass(frozen=True)
class Selection:
    """A threshold and what the galaxies that it was not chosen on say of it.

    Parameters
    ----------
    threshold : float or None
        A class is accepted if its probability is at least this; None if no threshold will do.
    chosen_on, judged_on : int
        Labelled galaxies of the two halves.
    accepted, right : int
        Of those judged: classified without a human, and right.
    low : float or None
        Lower bound of the precision with `confidence`; None if nothing is accepted.
    reached : bool
        Whether the judged half proves the required precision.
    """

    precision: float
    confidence: float
    threshold: float | None
    chosen_on: int
    judged_on: int
    accepted: int
    right: int
    low: float | None
    reached: bool

    @property
    def coverage(self) -> float | None:
        """Share of the judged galaxies that need no human; None without any."""
        return self.accepted / self.judged_on if self.judged_on else None

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "precision_asked": self.precision,
            "confidence": self.confidence,
            "threshold": self.threshold,
            "chosen_on": self.chosen_on,
            "judged_on": self.judged_on,
            "accepted": self.accepted,
            "right": self.right,
            "coverage": self.coverage,
            "precision": self.right / self.accepted if self.accepted else None,
            "precision_low": self.low,
            "reached": self.reached,
            "least_galaxies": least_galaxies(self.precision, self.confidence),
        }


def threshold(probability: Floats, right: Bools, precision: float, confidence: float = 0.95) -> float | None:
    """The lowest threshold whose galaxies prove the precision; None if there is none.

    Parameters
    ----------
    probability : (N,) in [0, 1]
        Of the predicted class.
    right : (N,) bool
    """
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(right[order])
    ordered = probability[order]
    # Galaxies of one probability are accepted together.
    last = np.flatnonzero(np.append(np.diff(ordered) < 0, True)) if len(ordered) else np.empty(0, int)
    for at in last[::-1]:
        if hits[at] >= precision * (at + 1) and proves(int(hits[at]), int(at) + 1, precision, confidence):
            return float(ordered[at])
    return None


def select(
    probability: Floats, right: Bools, precision: float, confidence: float = 0.95, *, seed: int = 0
) -> Selection:
    """Choose a threshold on a random half of labelled galaxies, and judge it on the other half.

    Choosing among many thresholds by one bound flatters the half that it is done on; hence the other.

    Parameters
    ----------
    probability : (N,) in [0, 1]
        Of the predicted class.
    right : (N,) bool
        Whether that is the galaxy's class.
    precision, confidence : float in (0, 1)

    Raises
    ------
    ValueError
        If a number is out of its range.
    """
    for name, value in (("precision", precision), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ValueError(f"{name} {value} is not between 0 and 1")
    halves = np.random.default_rng(seed).permutation(len(probability))
    chosen_on, judged_on = np.split(halves, [len(halves) // 2])
    at = threshold(probability[chosen_on], right[chosen_on], precision, confidence)
    accepted = judged_on[probability[judged_on] >= at] if at is not None else judged_on[:0]
    hits, total = int(right[accepted].sum()), len(accepted)
    low = clopper_pearson_lower(hits, total, confidence) if total else None
    return Selection(
        precision,
        confidence,
        at,
        len(chosen_on),
        len(judged_on),
        total,
        hits,
        low,
        low is not None and low >= precision,
    )


def most_probable(in_groups: Floats, others: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The most probable group of classes and its probability, (N,) each; -1 and 0 where something else is as probable.

    Parameters
    ----------
    in_groups : (N, G)
        Probabilities of the groups that labels know; NaN without a prediction.
    others : (N, K)
        Of classes in no group, and of no class.
    """
    known = np.logical_not(np.any(np.isnan(in_groups), 1))
    values = np.where(known[:, None], in_groups, 0)
    best, highest = values.argmax(1), values.max(1)
    other = np.max(np.nan_to_num(others), 1, initial=0.0)
    named = known & (highest > other)
    return np.where(named, best, -1), np.where(named, highest, 0.0)
