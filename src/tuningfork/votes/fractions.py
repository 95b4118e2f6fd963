"""What vote tables mean: cumulative, conditional, counts; the tree's sums; clean-sample rules.

Arrays of votes have shape (N, A): N galaxies, A answers in the order of `DecisionTree.columns`, float64.
NaN means *unknown* in a label table, and *never asked* in conditional fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .tree import DecisionTree

__all__ = [
    "BrokenSum",
    "Status",
    "broken_sums",
    "class_fits",
    "classify",
    "conditional_from_counts",
    "conditional_from_cumulative",
    "conditional_from_logits",
    "cumulative_from",
    "cumulative_from_conditional",
    "cumulative_from_logits",
    "shares",
    "sum_violations",
]

Floats = NDArray[np.float64]

#: Label tables are printed with up to nine decimals; a sum that is further off than this is broken.
SUM_TOLERANCE = 1e-3


class Status(IntEnum):
    """Whether the clean-sample rules decide a galaxy's class."""

    UNDECIDED = -2  # fits none on its known columns, but a rule over unknown columns may fit
    UNCLASSIFIED = -1  # fits none, whatever the unknown columns hold
    CLASSIFIED = 0

    @property
    def label(self) -> str:
        """The word used in tables."""
        return self.name.lower()


def _votes(values: ArrayLike, tree: DecisionTree) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != len(tree.columns):
        raise ValueError(f"votes of {tree.name} have {len(tree.columns)} answers on the last axis, not {array.shape}")
    return array


def conditional_from_cumulative(cumulative: ArrayLike, tree: DecisionTree) -> Floats:
    """Fraction of those who were *asked* that gave each answer.

    Parameters
    ----------
    cumulative : (*, A) in [0, 1]
        Products of the fractions down the tree, NaN where unknown.

    Returns
    -------
    (*, A) float64
        NaN where the question was never reached (its parent is 0) or the parent is unknown.
    """
    cumulative = _votes(cumulative, tree)
    out = np.empty_like(cumulative)
    with np.errstate(divide="ignore", invalid="ignore"):
        for part, parent in zip(tree.slices, tree.parents, strict=True):
            if parent is None:
                out[..., part] = cumulative[..., part]
            else:
                reach = cumulative[..., parent, None]
                out[..., part] = np.where(reach > 0, cumulative[..., part] / reach, np.nan)
    return out


def cumulative_from_conditional(conditional: ArrayLike, tree: DecisionTree) -> Floats:
    """Products of the fractions down the tree; the inverse of `conditional_from_cumulative`.

    Parameters
    ----------
    conditional : (*, A) in [0, 1]
        NaN where a question was never reached.

    Returns
    -------
    (*, A) float64
        0 below an answer that nobody gave, NaN where unknown.
    """
    conditional = _votes(conditional, tree)
    out = np.empty_like(conditional)
    for part, parent in zip(tree.slices, tree.parents, strict=True):
        if parent is None:
            out[..., part] = conditional[..., part]
        else:
            reach = out[..., parent, None]
            out[..., part] = np.where(reach == 0, 0.0, reach * conditional[..., part])
    return out


def conditional_from_counts(counts: ArrayLike, tree: DecisionTree) -> Floats:
    """Each answer's share of its question's votes; NaN where nobody was asked. Shapes (*, A)."""
    counts = _votes(counts, tree)
    out = np.empty_like(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        for part in tree.slices:
            asked = counts[..., part].sum(-1, keepdims=True)
            out[..., part] = np.where(asked > 0, counts[..., part] / asked, np.nan)
    return out


def conditional_from_logits(logits: ArrayLike, tree: DecisionTree) -> Floats:
    """The tree layer: a softmax within each question, so that every sum of the tree holds exactly.

    Parameters
    ----------
    logits : (*, A), any finite numbers

    Returns
    -------
    (*, A) float64
        Conditional fractions, each question's sum 1.
    """
    logits = _votes(logits, tree)
    out = np.empty_like(logits)
    for part in tree.slices:
        exponential = np.exp(logits[..., part] - logits[..., part].max(-1, keepdims=True))
        out[..., part] = exponential / exponential.sum(-1, keepdims=True)
    return out


def cumulative_from_logits(logits: ArrayLike, tree: DecisionTree, kind: str = "tree") -> Floats:
    """What a network's numbers say of the votes.

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


def shares(cumulative: ArrayLike, tree: DecisionTree) -> Floats:
    """Each answer's share of its question, also of fractions (*, A) that break the tree's sums.

    Where the sums hold this is `conditional_from_cumulative`; where a network's outputs break them, the
    answers of a question are compared with each other, not with a parent that contradicts them. NaN
    where nobody gave any answer.
    """
    cumulative = _votes(cumulative, tree)
    out = np.empty_like(cumulative)
    with np.errstate(divide="ignore", invalid="ignore"):
        for part in tree.slices:
            total = cumulative[..., part].sum(-1, keepdims=True)
            out[..., part] = np.where(total > 0, cumulative[..., part] / total, np.nan)
    return out


def cumulative_from(values: ArrayLike, tree: DecisionTree) -> Floats:
    """A label table's numbers, of the kind that `tree.values` names, as cumulative fractions (*, A)."""
    if tree.values == "cumulative":
        return _votes(values, tree)
    if tree.values == "counts":
        values = conditional_from_counts(values, tree)
    return cumulative_from_conditional(values, tree)


def sum_violations(cumulative: ArrayLike, tree: DecisionTree) -> Floats:
    """For each question, the sum of its answers minus the fraction that reached it.

    Returns
    -------
    (*, Q) float64
        0 where the sum holds, NaN where a column of it is unknown.
    """
    cumulative = _votes(cumulative, tree)
    columns = []
    for part, parent in zip(tree.slices, tree.parents, strict=True):
        reach = 1.0 if parent is None else cumulative[..., parent]
        columns.append(cumulative[..., part].sum(-1) - reach)
    return np.stack(columns, -1)


@dataclass(frozen=True, slots=True)
class BrokenSum:
    """One sum of one galaxy that does not hold: Σ(columns of `question`) − (`parent` or 1) = `off_by`."""

    row: int
    question: str
    parent: str | None
    off_by: float


def broken_sums(cumulative: ArrayLike, tree: DecisionTree, tolerance: float = SUM_TOLERANCE) -> list[BrokenSum]:
    """The sums of a label table (N, A) that are off by more than `tolerance`, in row order."""
    off = sum_violations(cumulative, tree)
    with np.errstate(invalid="ignore"):
        rows, questions = np.nonzero(np.abs(off) > tolerance)
    return [
        BrokenSum(int(r), tree.questions[q].key, tree.questions[q].parent, float(off[r, q]))
        for r, q in zip(rows, questions, strict=True)
    ]


def class_fits(cumulative: ArrayLike, tree: DecisionTree) -> NDArray[np.int8]:
    """Whether each galaxy fits each clean-sample rule.

    Parameters
    ----------
    cumulative : (N, A), NaN where unknown

    Returns
    -------
    (N, C) int8
        1 fits, 0 does not, -1 depends on a column that is unknown.
    """
    cumulative = _votes(cumulative, tree)
    position = {column: i for i, column in enumerate(tree.columns)}
    out = np.empty((*cumulative.shape[:-1], len(tree.classes)), np.int8)

    def tests(thresholds: tuple[tuple[str, float], ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        values = cumulative[..., [position[column] for column, _ in thresholds]]
        return values >= np.array([least for _, least in thresholds]), np.isnan(values)

    for c, rule in enumerate(tree.classes):
        passed, unknown = tests(rule.all_of)
        yes = passed.all(-1)
        possible = (passed | unknown).all(-1)
        if rule.any_of:
            passed, unknown = tests(rule.any_of)
            yes &= passed.any(-1)
            possible &= (passed | unknown).any(-1)
        out[..., c] = np.where(yes, 1, np.where(possible, -1, 0))
    return out


def classify(cumulative: ArrayLike, tree: DecisionTree) -> NDArray[np.int8]:
    """The class of each galaxy by the tree's clean-sample rules; the first rule that fits wins.

    Returns
    -------
    (N,) int8
        The class's position in `tree.classes`, or `Status.UNCLASSIFIED`, or `Status.UNDECIDED`.
    """
    fits = class_fits(cumulative, tree)
    certain = fits == 1
    open_ = (fits == -1).any(-1)
    without = np.where(open_, np.int8(Status.UNDECIDED), np.int8(Status.UNCLASSIFIED))
    return np.where(certain.any(-1), certain.argmax(-1).astype(np.int8), without)
