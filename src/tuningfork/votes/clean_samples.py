"""Clean samples: classes by thresholds on vote fractions (Kalvankar et al. 2020, arXiv:2008.13611, table 1)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .traversal import majority_answers
from .tree import DecisionTree

__all__ = [
    "NO_CLASS",
    "Status",
    "class_fits",
    "class_margins",
    "classify",
    "decision_weights",
    "inverse_probability",
    "justified",
]

#: By how much a fraction may miss its threshold: tables in single precision hold 0.715 as 0.71499997.
SLACK = 1e-6
#: In `inverse_probability`, combinations of unknown columns beyond the most frequent ones are left aside.
MAX_PATTERNS = 50
#: What a galaxy of no clean sample is called.
NO_CLASS = "no clean class"


class Status(IntEnum):
    """Whether the clean-sample rules decide a galaxy's class."""

    UNDECIDED = -2  # fits none on its known columns, but a rule over unknown columns may fit
    UNCLASSIFIED = -1  # fits none, whatever the unknown columns hold
    CLASSIFIED = 0

    @property
    def label(self) -> str:
        """The word used in tables."""
        return self.name.lower()


def class_fits(cumulative: ArrayLike, tree: DecisionTree) -> NDArray[np.int8]:
    """Return whether each galaxy fits each clean-sample rule.

    Parameters
    ----------
    cumulative : (N, A), NaN where unknown

    Returns
    -------
    (N, C) int8
        1 fits, 0 does not, -1 depends on a column that is unknown.
    """
    cumulative = np.asarray(cumulative, np.float64)
    out = np.empty((*cumulative.shape[:-1], len(tree.classes)), np.int8)

    def tests(thresholds: tuple[tuple[str, float], ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        values = cumulative[..., [tree.positions[column] for column, _ in thresholds]]
        return values >= np.array([least for _, least in thresholds]) - SLACK, np.isnan(values)

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


def class_margins(cumulative: ArrayLike, tree: DecisionTree) -> NDArray[np.float64]:
    """Return by how much each galaxy passes each clean-sample rule.

    Parameters
    ----------
    cumulative : (N, A) float64 in [0, 1]
        Cumulative fractions; NaN where unknown.

    Returns
    -------
    (N, C) float64 in [-1, 1]
        The least difference of a fraction and its threshold; at least −`SLACK` where the galaxy fits the rule. NaN if
        a column of the rule is unknown.

    Examples
    --------
    >>> from tuningfork.votes.tree_files import load_tree
    >>> tree = load_tree("gz2")
    >>> bool((class_margins(np.zeros((1, 37)), tree) < 0).all())
    True
    """
    cumulative = np.asarray(cumulative, np.float64)

    def differences(thresholds: tuple[tuple[str, float], ...]) -> NDArray[np.float64]:
        return cumulative[..., [tree.positions[column] for column, _ in thresholds]] - np.array(
            [least for _, least in thresholds]
        )

    margins = [differences(rule.all_of).min(-1) for rule in tree.classes]
    for c, rule in enumerate(tree.classes):
        if rule.any_of:
            margins[c] = np.minimum(margins[c], differences(rule.any_of).max(-1))
    return np.stack(margins, -1) if margins else np.empty((*cumulative.shape[:-1], 0))


def justified(cumulative: ArrayLike, tree: DecisionTree) -> NDArray[np.bool_]:
    """Return whether each class can be named beside the votes without contradicting them.

    It can if the votes pass the class's rule, or if all answers that the rule demands, and one of those of which it
    demands any, are on the path of the most frequent answers.

    Parameters
    ----------
    cumulative : (N, A) float64 in [0, 1]

    Returns
    -------
    (N, C) bool
    """
    cumulative = np.asarray(cumulative, np.float64)
    on_path = majority_answers(tree, cumulative)
    out = class_fits(cumulative, tree) == 1
    for c, rule in enumerate(tree.classes):
        agree = on_path[:, [tree.positions[column] for column, _ in rule.all_of]].all(-1)
        if rule.any_of:
            agree &= on_path[:, [tree.positions[column] for column, _ in rule.any_of]].any(-1)
        out[:, c] |= agree
    return out


def classify(cumulative: ArrayLike, tree: DecisionTree) -> NDArray[np.int8]:
    """Classify each galaxy by the tree's clean-sample rules; the first rule that fits wins.

    Returns
    -------
    (N,) int8
        The class's position in `tree.classes`, or `Status.UNCLASSIFIED`, or `Status.UNDECIDED`; of a tree without
        classes no galaxy has one.
    """
    if not tree.classes:
        return np.full(np.shape(cumulative)[:-1], Status.UNCLASSIFIED, np.int8)
    fits = class_fits(cumulative, tree)
    certain = fits == 1
    open_ = (fits == -1).any(-1)
    without = np.where(open_, np.int8(Status.UNDECIDED), np.int8(Status.UNCLASSIFIED))
    return np.where(certain.any(-1), certain.argmax(-1).astype(np.int8), without)


def decision_weights(cumulative: ArrayLike, tree: DecisionTree) -> NDArray[np.float64]:
    """Return for how many galaxies each decided one counts, so that classes whose votes are often unknown are not rare.

    If the votes of some questions are blank for most galaxies, a smooth galaxy is decided whether they are or not, but
    a spiral only where they are known. Each decided galaxy counts for 1 over the probability that it would be decided
    (Horvitz & Thompson 1952, J. Am. Stat. Assoc. 47, 663), with the columns hidden that are unknown in any galaxy of
    the table. It is assumed that which are unknown has nothing to do with the galaxy.

    Parameters
    ----------
    cumulative : (N, A), NaN where unknown

    Returns
    -------
    (N,) float64
        At least 1; 0 where `classify` leaves the class undecided.
    """
    return inverse_probability(cumulative, lambda values: classify(values, tree) != Status.UNDECIDED)


def inverse_probability(
    cumulative: ArrayLike, decided: Callable[[NDArray[np.float64]], NDArray[np.bool_]]
) -> NDArray[np.float64]:
    """Return 1 over the share of a table's patterns of blank cells that would leave each galaxy decided.

    Parameters
    ----------
    cumulative : (N, A), NaN where unknown
    decided : function of (N, A)
        Whether something is decided by the known cells, (N,) or (N, G).

    Returns
    -------
    (N,) or (N, G) float64
        At least 1; 0 where it is not decided.
    """
    values = np.asarray(cumulative, np.float64)
    patterns, counts = np.unique(np.isnan(values), axis=0, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MAX_PATTERNS]
    known = decided(values)
    total = np.zeros(known.shape)
    for at in most:
        total += counts[at] * decided(np.where(patterns[at], np.nan, values))
    # Its own pattern may be a rare one that is left out.
    return np.where(known, max(int(counts[most].sum()), 1) / np.maximum(total, 1), 0.0)
