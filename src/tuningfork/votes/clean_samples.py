"""Clean samples: classes by thresholds on vote fractions (Kalvankar et al. 2020, arXiv:2008.13611, table 1)."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .fractions import softmax
from .tree import DecisionTree

__all__ = ["Status", "class_fits", "class_margins", "classify", "classes_from_votes"]

#: Scale of the margins in `classes_from_votes`, a difference of fractions; calibration adjusts it.
MARGIN_SCALE = 0.1


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


def class_margins(cumulative: ArrayLike, tree: DecisionTree) -> NDArray[np.float64]:
    """Return by how much each galaxy passes each clean-sample rule.

    Parameters
    ----------
    cumulative : (N, A) float64 in [0, 1]
        Cumulative fractions; NaN where unknown.

    Returns
    -------
    (N, C) float64 in [-1, 1]
        The least difference of a fraction and its threshold; at least 0 where the galaxy fits the rule. NaN if a
        column of the rule is unknown.

    Examples
    --------
    >>> from tuningfork.votes.tree_files import load_tree
    >>> tree = load_tree("gz2")
    >>> bool((class_margins(np.zeros((1, 37)), tree) < 0).all())
    True
    """
    cumulative = np.asarray(cumulative, np.float64)
    position = {column: i for i, column in enumerate(tree.columns)}

    def differences(thresholds: tuple[tuple[str, float], ...]) -> NDArray[np.float64]:
        return cumulative[..., [position[column] for column, _ in thresholds]] - np.array(
            [least for _, least in thresholds]
        )

    margins = [differences(rule.all_of).min(-1) for rule in tree.classes]
    for c, rule in enumerate(tree.classes):
        if rule.any_of:
            margins[c] = np.minimum(margins[c], differences(rule.any_of).max(-1))
    return np.stack(margins, -1) if margins else np.empty((*cumulative.shape[:-1], 0))


def classes_from_votes(cumulative: ArrayLike, tree: DecisionTree) -> NDArray[np.float64]:
    """Return the probability of each class given that the galaxy has one, from its vote fractions alone.

    A softmax of the margins of the clean-sample rules over `MARGIN_SCALE`; a temperature calibrates it.

    Parameters
    ----------
    cumulative : (N, A) float64 in [0, 1]

    Returns
    -------
    (N, C) float64, sums 1
    """
    return softmax(class_margins(cumulative, tree) / MARGIN_SCALE)


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
