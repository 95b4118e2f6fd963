"""How far people agree, question by question: pairs of like answers, and Krippendorff's alpha."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..votes.tree import DecisionTree

__all__ = ["Agreement", "agreement", "alpha", "raw_agreement"]


@dataclass(frozen=True)
class Agreement:
    """What two or more people said to one question: `galaxies` that several were asked it about, `answers` of these.

    `raw` and `alpha` are NaN where they are not defined: without such a galaxy, and alpha also where all say the same.
    """

    question: str
    text: str
    galaxies: int
    answers: int
    raw: float
    alpha: float


def agreement(counts: ArrayLike, tree: DecisionTree) -> list[Agreement]:
    """Agreement on each question of the tree, in its order.

    Parameters
    ----------
    counts : (N, A)
        How many people gave each answer, for N galaxies. A question further down counts those who were led to it:
        who disagreed before is not asked, so its agreement is that of people who agree so far.
    """
    counts = np.asarray(counts, np.float64)
    found = []
    for question, part in zip(tree.questions, tree.slices, strict=True):
        several = counts[:, part][counts[:, part].sum(1) >= 2]
        found.append(
            Agreement(
                question.key,
                question.text,
                len(several),
                int(several.sum()),
                raw_agreement(several),
                alpha(several),
            )
        )
    return found


def raw_agreement(counts: ArrayLike) -> float:
    """The share of pairs of people who say the same of a galaxy: 1 less the observed disagreement of `alpha`.

    Parameters
    ----------
    counts : (N, C)
        How many people put each galaxy into each category; galaxies with fewer than two are left out.

    Returns
    -------
    float
        In [0, 1]; NaN without a pair. A galaxy weighs as many as there are answers to it.
    """
    return 1 - _disagreement(_pairable(counts))[0]


def alpha(counts: ArrayLike) -> float:
    """Krippendorff's alpha for nominal categories, any number of people, any of them missing (Krippendorff 2011,
    "Computing Krippendorff's Alpha-Reliability", section D, from the coincidences' sums).

    Parameters
    ----------
    counts : (N, C)
        As for `raw_agreement`.

    Returns
    -------
    float
        1 all agree, 0 as by chance, below 0 worse than that; NaN where only one category was ever used, or no pair.
    """
    observed, expected = _disagreement(_pairable(counts))
    return 1 - observed / expected if expected > 0 else float("nan")


def _pairable(counts: ArrayLike) -> NDArray[np.float64]:
    counts = np.asarray(counts, np.float64)
    return counts[counts.sum(1) >= 2]


def _disagreement(counts: NDArray[np.float64]) -> tuple[float, float]:
    """Observed and expected share of pairs that differ."""
    people, total = counts.sum(1), counts.sum()
    if not total:
        return float("nan"), float("nan")
    observed = ((people**2 - (counts**2).sum(1)) / (people - 1)).sum() / total
    expected = (total**2 - (counts.sum(0) ** 2).sum()) / (total * (total - 1))
    return float(observed), float(expected)
