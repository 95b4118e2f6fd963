"""Acquisition functions of active learning: uncertainty and diversity as an order, in NumPy and bounded memory.

Galaxies whose votes are uncertain are informative, but a hundred copies of one are no more informative than one. So
the order is drawn as k-means++ draws its initial centres (Arthur & Vassilvitskii 2007), each galaxy weighted by its
uncertainty: the next one is drawn in proportion to weight × squared distance to the nearest one chosen before it.
(BADGE, Ash et al. 2020, arXiv:1906.03671, does the same with gradients, whose length is the uncertainty.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..votes.tree import DecisionTree

__all__ = ["Order", "entropy", "hellinger", "k_centre", "question_entropies", "weighted_seeding"]

Floats = NDArray[np.float64]
#: Rows compared with all centres at a time.
_BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Order:
    """Rows in the order in which they are to be labelled.

    Parameters
    ----------
    rows : (n,) int64
        Positions in the vectors that were ordered, none twice.
    distances : (n,) float64
        To the nearest centre or row chosen before; infinite for the first one if there are no centres.
    scores : (n,) float64
        Weight × squared distance, the acquisition function; of a first row without centres, its weight.
    """

    rows: NDArray[np.int64]
    distances: Floats
    scores: Floats


def question_entropies(cumulative: ArrayLike, tree: DecisionTree) -> Floats:
    """Contribution of each question to the entropy of one volunteer's answers: (N, A) in [0, 1] → (N, Q) in nats.

    The fraction that reaches the question times the entropy of its answers, by the chain rule; NaN stays NaN.
    """
    values = np.asarray(cumulative, np.float64)
    terms = []
    for columns in tree.slices:
        answers = values[..., columns]
        terms.append(_xlogx(answers.sum(-1)) - _xlogx(answers).sum(-1))
    return np.maximum(np.stack(terms, -1), 0)


def entropy(probability: ArrayLike) -> Floats:
    """Entropy of probabilities over the last axis, in nats: (*, C) → (*,). NaN stays NaN."""
    return -_xlogx(np.asarray(probability, np.float64)).sum(-1)


def hellinger(fractions: ArrayLike) -> NDArray[np.float32]:
    """Square roots of fractions, (*, A) → (*, A): their Euclidean distances are Hellinger's, up to a factor of √2.

    A difference of 0.1 then counts more between 0 and 0.1 than between 0.5 and 0.6, as in the scatter of vote
    counts.
    """
    return np.sqrt(np.clip(np.asarray(fractions, np.float64), 0, None)).astype(np.float32)


def weighted_seeding(
    vectors: ArrayLike, weights: ArrayLike, count: int, *, centres: ArrayLike | None = None, seed: int = 0
) -> Order:
    """Weighted k-means++ seeding: draw rows in proportion to weight × squared distance to the nearest one before.

    Parameters
    ----------
    vectors : (N, D), finite
    weights : (N,), ≥ 0 and finite
        Rows of weight 0 come last.
    count : int
        Rows to choose, at most N.
    centres : (M, D), optional
        What is labelled already: rows near them are little informative.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or the lengths differ.
    """
    rng = np.random.default_rng(seed)

    def draw(mass: Floats) -> int:
        total = np.cumsum(mass)
        row = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
        # Rounding may reach the end of the last row that has any mass.
        return row if row < len(mass) else int(np.flatnonzero(mass)[-1])

    return _spread(vectors, weights, count, centres, draw)


def k_centre(vectors: ArrayLike, count: int, *, centres: ArrayLike | None = None) -> Order:
    """k-centre greedy: the row farthest from all chosen before it, repeatedly (Gonzalez 1985); diversity alone.

    Without centres it begins with the row that is farthest from the mean. Ties go to the first row.
    """
    vectors = np.asarray(vectors)
    if centres is None and len(vectors):
        away = ((vectors - vectors.mean(0)) ** 2).sum(1)
        first = Order(np.array([away.argmax()]), np.array([np.inf]), np.array([away.max()]))
        centres = vectors[first.rows]
        rest = k_centre(vectors, min(count, len(vectors)), centres=centres)
        keep = rest.rows != first.rows[0]
        pairs = ((first.rows, rest.rows), (first.distances, rest.distances), (first.scores, rest.scores))
        return Order(*(np.concatenate([a, b[keep]])[:count] for a, b in pairs))
    return _spread(vectors, np.ones(len(vectors)), count, centres, lambda mass: int(mass.argmax()))


def _spread(
    vectors: ArrayLike, weights: ArrayLike, count: int, centres: ArrayLike | None, pick: Callable[[Floats], int]
) -> Order:
    points, weight = np.asarray(vectors), np.asarray(weights, np.float64)
    if weight.shape != (len(points),):
        raise ValueError(f"{len(points)} vectors and weights of the shape {weight.shape} do not belong together")
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError("a weight is negative or not finite")
    known = np.empty((0, 0)) if centres is None else np.asarray(centres)
    square = _nearest(points, known) if len(known) else np.full(len(points), np.inf)
    free = np.ones(len(points), bool)
    rows, distances, scores = [], [], []
    for _ in range(min(count, len(points))):
        mass = np.where(free, weight, 0.0)
        if np.isfinite(square).all():
            # Where only copies of what was chosen are left, their weights decide, and last those without weight.
            far = mass * square
            mass = far if far.any() else mass
        row = pick(mass if mass.any() else free.astype(float))
        rows.append(row)
        distances.append(np.sqrt(square[row]))
        scores.append(weight[row] * (square[row] if np.isfinite(square[row]) else 1))
        free[row] = False
        step = points - points[row]
        square = np.minimum(square, np.einsum("ij,ij->i", step, step))
    return Order(np.array(rows, np.int64), np.array(distances, float), np.array(scores, float))


def _nearest(points: NDArray[Any], centres: NDArray[Any]) -> Floats:
    """Squared distance of each point (N, D) to the nearest centre (M, D), in blocks of rows."""
    out = np.full(len(points), np.inf)
    for first in range(0, len(points), _BLOCK):
        block = points[first : first + _BLOCK].astype(np.float64)
        own = (block**2).sum(1)
        for start in range(0, len(centres), _BLOCK):
            other = centres[start : start + _BLOCK].astype(np.float64)
            square = own - 2 * (other @ block.T) + (other**2).sum(1)[:, None]
            out[first : first + _BLOCK] = np.minimum(out[first : first + _BLOCK], square.min(0))
    return np.maximum(out, 0)


def _xlogx(values: Floats) -> Floats:
    positive = np.where(values > 0, values, 1.0)
    return np.where(np.isnan(values), np.nan, values * np.log(positive))
