"""Vote fractions: cumulative, conditional and counts, converted into each other; the sums of a decision tree.

Arrays of votes have shape (N, A): N galaxies, A answers in the order of `DecisionTree.columns`, float64.
NaN means *unknown* in a label table, and *nobody reached the question* in conditional fractions.

The *cumulative* fraction of an answer is the share of all volunteers who gave it: the product of the conditional
fractions down the tree. Its *conditional* fraction is the share of those who reached the question (Willett et al. 2013,
MNRAS 435, 2835, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .tree import DecisionTree

__all__ = [
    "BrokenSum",
    "broken_sums",
    "conditional_from_counts",
    "conditional_from_cumulative",
    "conditional_from_logits",
    "cumulative_from",
    "cumulative_from_conditional",
    "cumulative_from_logits",
    "reach_probability",
    "softmax",
    "sum_violations",
]

Floats = NDArray[np.float64]

#: Label tables are printed with up to nine decimals; a sum that is further off than this is broken.
SUM_TOLERANCE = 1e-3


def _votes(values: ArrayLike, tree: DecisionTree) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != len(tree.columns):
        raise ValueError(f"votes of {tree.name} have {len(tree.columns)} answers on the last axis, not {array.shape}")
    return array


def conditional_from_cumulative(cumulative: ArrayLike, tree: DecisionTree) -> Floats:
    """Return the fraction of those who reached the question that gave each answer.

    The answers of a question are normalised by their own sum, which is the parent's fraction wherever the sums of
    the tree hold; where a network's outputs break them, a parent that contradicts its answers is not used.

    Parameters
    ----------
    cumulative : (*, A) in [0, 1]
        Products of the fractions down the tree, NaN where unknown.

    Returns
    -------
    (*, A) float64
        Each question's sum is 1; NaN where nobody gave any answer, or one of them is unknown.

    Examples
    --------
    >>> from tuningfork.votes.tree_files import load_tree
    >>> conditional_from_cumulative([[0.6, 0.4] * 18 + [0.0]], load_tree("gz2")).shape
    (1, 37)
    """
    cumulative = _votes(cumulative, tree)
    out = np.empty_like(cumulative)
    with np.errstate(divide="ignore", invalid="ignore"):
        for part in tree.slices:
            total = cumulative[..., part].sum(-1, keepdims=True)
            out[..., part] = np.where(total > 0, cumulative[..., part] / total, np.nan)
    return out


def cumulative_from_conditional(fractions: ArrayLike, tree: DecisionTree) -> Floats:
    """Return the products of the fractions down the tree; the inverse of `conditional_from_cumulative`.

    Parameters
    ----------
    fractions : (*, A) in [0, 1]
        NaN where a question was never reached.

    Returns
    -------
    (*, A) float64
        0 below an answer that nobody gave, NaN where unknown.
    """
    fractions = _votes(fractions, tree)
    out = fractions.copy()
    for places, parents in tree.levels:
        reach = out[..., parents]
        out[..., places] = np.where(reach == 0, 0.0, reach * fractions[..., places])
    return out


def conditional_from_counts(counts: ArrayLike, tree: DecisionTree) -> Floats:
    """Return each answer's share of its question's votes; NaN where there are none. Shapes (*, A)."""
    return conditional_from_cumulative(counts, tree)


def conditional_from_logits(logits: ArrayLike, tree: DecisionTree) -> Floats:
    """Apply the tree layer: a softmax within each question, so that every sum of the tree holds exactly.

    Parameters
    ----------
    logits : (*, A), any finite numbers

    Returns
    -------
    (*, A) float64
        Conditional fractions, each question's sum 1.
    """
    logits = _votes(logits, tree)
    starts, questions = [part.start for part in tree.slices], tree.question_numbers
    exponential = np.exp(logits - np.maximum.reduceat(logits, starts, -1)[..., questions])
    totals = np.stack([exponential[..., part].sum(-1) for part in tree.slices], -1)
    return exponential / totals[..., questions]


def cumulative_from_logits(logits: ArrayLike, tree: DecisionTree, kind: str = "tree") -> Floats:
    """Convert a network's logits to vote fractions.

    Parameters
    ----------
    logits : (*, A), any finite numbers
    kind : "tree" or "sigmoid"
        The tree layer, or each fraction by itself, which holds no sum.

    Returns
    -------
    (*, A) float64
        Cumulative fractions in [0, 1].
    """
    if kind == "tree":
        return cumulative_from_conditional(conditional_from_logits(logits, tree), tree)
    # Not the plain quotient, which overflows for large negative logits.
    return 0.5 * (1 + np.tanh(0.5 * _votes(logits, tree)))


def cumulative_from(values: ArrayLike, tree: DecisionTree) -> Floats:
    """Convert a label table's numbers, of the kind that `tree.values` names, to cumulative fractions (*, A)."""
    if tree.values == "cumulative":
        return _votes(values, tree)
    if tree.values == "counts":
        values = conditional_from_counts(values, tree)
    return cumulative_from_conditional(values, tree)


def reach_probability(cumulative: ArrayLike, tree: DecisionTree, question: int) -> Floats:
    """Return the fraction (*,) of all volunteers who reach a question, given by its number: its parent's fraction."""
    cumulative = _votes(cumulative, tree)
    parent = tree.parents[question]
    return np.ones(cumulative.shape[:-1]) if parent is None else cumulative[..., parent]


def sum_violations(cumulative: ArrayLike, tree: DecisionTree) -> Floats:
    """Return for each question the sum of its answers minus the fraction that reached it.

    Returns
    -------
    (*, Q) float64
        0 where the sum holds, NaN where a column of it is unknown.
    """
    cumulative = _votes(cumulative, tree)
    columns = []
    for number, part in enumerate(tree.slices):
        columns.append(cumulative[..., part].sum(-1) - reach_probability(cumulative, tree, number))
    return np.stack(columns, -1)


@dataclass(frozen=True, slots=True)
class BrokenSum:
    """One broken sum of one galaxy: Σ(columns of `question`) − (`parent` or 1) = `off_by`."""

    row: int
    question: str
    parent: str | None
    off_by: float


def broken_sums(cumulative: ArrayLike, tree: DecisionTree, tolerance: float = SUM_TOLERANCE) -> list[BrokenSum]:
    """Return the sums of a label table (N, A) that are off by more than `tolerance`, in row order."""
    off = sum_violations(cumulative, tree)
    with np.errstate(invalid="ignore"):
        rows, questions = np.nonzero(np.abs(off) > tolerance)
    return [
        BrokenSum(int(r), tree.questions[q].key, tree.questions[q].parent, float(off[r, q]))
        for r, q in zip(rows, questions, strict=True)
    ]


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities over the last axis of any finite numbers; same shape."""
    exponential = np.exp(logits - logits.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)
