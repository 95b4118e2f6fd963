"""Inter-annotator agreement, question by question: raw agreement of pairs, and Krippendorff's alpha."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..votes.tree import DecisionTree

__all__ = ["Agreement", "agreement", "alpha", "raw_agreement"]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two or more people on one question.

    Parameters
    ----------
    galaxies, answers : int
        Galaxies for which several people answered it, and these answers.
    raw, alpha : float
        NaN where they are not defined: without such a galaxy, and alpha also where all answers are the same.
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
        Number of people who gave each answer, for N galaxies. Only those who reached a question count: people who
        disagreed before are not asked, so its agreement is that of people who agree so far.
    """
    counts = np.asarray(counts, np.float64)
    out = []
    for question, columns in zip(tree.questions, tree.slices, strict=True):
        several = counts[:, columns][counts[:, columns].sum(1) >= 2]
        sizes = len(several), int(several.sum())
        out.append(Agreement(question.key, question.text, *sizes, raw_agreement(several), alpha(several)))
    return out


def raw_agreement(counts: ArrayLike) -> float:
    """Share of pairs of people who give the same answer: 1 minus the observed disagreement of `alpha`.

    Parameters
    ----------
    counts : (N, C)
        Number of people who put each galaxy into each category; galaxies with fewer than two are left out.

    Returns
    -------
    float
        In [0, 1]; NaN without a pair. The weight of a galaxy is its number of answers.
    """
    return 1 - _disagreement(counts)[0]


def alpha(counts: ArrayLike) -> float:
    """Krippendorff's alpha for nominal categories, any number of people, any of them missing (Krippendorff 2011,
    "Computing Krippendorff's Alpha-Reliability", section D, from the sums of the coincidence matrix).

    Parameters
    ----------
    counts : (N, C)
        As for `raw_agreement`.

    Returns
    -------
    float
        1 perfect, 0 as by chance, below 0 worse than chance; NaN where only one category was ever used, or no pair.

    Examples
    --------
    >>> round(alpha([[2, 0], [0, 2], [1, 1]]), 3)
    0.444
    """
    observed, expected = _disagreement(counts)
    return 1 - observed / expected if expected > 0 else float("nan")


def _disagreement(counts: ArrayLike) -> tuple[float, float]:
    """Observed and expected share of pairs that differ."""
    votes: NDArray[np.float64] = np.asarray(counts, np.float64)
    votes = votes[votes.sum(1) >= 2]
    people, total = votes.sum(1), votes.sum()
    if not total:
        return float("nan"), float("nan")
    observed = ((people**2 - (votes**2).sum(1)) / (people - 1)).sum() / total
    expected = (total**2 - (votes.sum(0) ** 2).sum()) / (total * (total - 1))
    return float(observed), float(expected)
