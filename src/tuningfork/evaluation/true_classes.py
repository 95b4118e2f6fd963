"""True classes of labelled galaxies: by the clean-sample rules on their votes, or a column of class numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..model.training_ids import TrainingIDs
from ..tables import CatalogError, RowError, read_table
from ..tables.identifiers import exact_ids
from ..votes.class_labels import label_text
from ..votes.clean_samples import Status, class_fits, classify, inverse_probability
from ..votes.label_table import read_labels
from ..votes.split_file import check_subset
from ..votes.tree import DecisionTree
from ..votes.vote_table import VoteTable
from .prediction_table import PredictionTable, none_in_common, none_usable
from .training_overlap import all_in_training, leave_out_training

__all__ = [
    "NO_CLASS",
    "Groups",
    "TrueClasses",
    "group_probabilities",
    "known_classes",
    "known_weights",
    "labelled_rows",
    "parse_groups",
    "predicted_classes",
    "true_classes",
]

Floats = NDArray[np.float64]
Groups = tuple[tuple[int, ...], ...]
#: Cells of a column of class numbers that say that the galaxy has none of the classes.
NO_CLASS = ("-1", "none", "no clean class", Status.UNCLASSIFIED.label)


@dataclass(frozen=True, eq=False)
class TrueClasses:
    """What is known of the classes of N labelled galaxies.

    Parameters
    ----------
    path : str
        The label table's name, for messages.
    tree : DecisionTree
    ids : tuple of str
        (N,) identifiers.
    fits : (N, G) int8
        Whether a galaxy is of each group of classes: 1 it is, 0 it is not, -1 unknown. A row of zeros: it has no class.
    groups : tuple of tuples of int
        The tree's classes that each of the G labels stands for.
    errors : tuple of RowError
        Rows that cannot be used.
    weights : (N, G) float64 or None
        For how many galaxies each counts that is known to be of a group or not, see `known_weights`; None: for itself.
    """

    path: str
    tree: DecisionTree
    ids: tuple[str, ...]
    fits: NDArray[np.int8]
    groups: Groups
    errors: tuple[RowError, ...] = ()
    weights: Floats | None = None

    @classmethod
    def of_votes(
        cls, votes: VoteTable, path: str, groups: Groups | None = None, errors: tuple[RowError, ...] = ()
    ) -> TrueClasses:
        """Return the classes of galaxies by their votes: those that fit no rule have none.

        Parameters
        ----------
        groups : tuple of tuples of int, optional
            Classes that count as one; None: each for itself.
        """
        groups = groups or tuple((c,) for c in range(len(votes.tree.classes)))
        fits = _of_groups(votes.fractions, votes.tree, groups)
        weights = known_weights(votes.fractions, votes.tree, groups)
        return cls(path, votes.tree, votes.ids, fits, groups, errors, weights)

    @property
    def names(self) -> tuple[str, ...]:
        """The groups in words."""
        return tuple(" or ".join(self.tree.classes[c].name for c in group) for group in self.groups)

    @cached_property
    def no_class(self) -> NDArray[np.bool_]:
        """(N,) whether a galaxy is of none of the groups."""
        return np.all(self.fits == 0, 1)

    @cached_property
    def undecided(self) -> NDArray[np.bool_]:
        """(N,) whether it is not known which group a galaxy is of, or whether of any."""
        return np.any(self.fits < 0, 1)


def parse_groups(text: str, tree: DecisionTree) -> Groups:
    """Classes from a text such as ``0,1,2,3,4+5``. Raises CatalogError."""
    try:
        groups = tuple(tuple(int(c) for c in group.split("+")) for group in text.split(","))
    except ValueError:
        raise CatalogError(
            f"groups {text!r}: numbers with + and , between them are expected, as in 0,1,2,3,4+5"
        ) from None
    every = [c for group in groups for c in group]
    if len(set(every)) < len(every) or not set(every) <= set(range(len(tree.classes))):
        raise CatalogError(f"groups {text!r}: each class of 0…{len(tree.classes) - 1} may come once, and no other")
    return groups


def true_classes(
    labels: str | os.PathLike[str], tree: DecisionTree, *, column: str | None = None, groups: Groups | None = None
) -> TrueClasses:
    """Read the classes of a label table.

    Parameters
    ----------
    labels : str or PathLike
        A table of votes, or with `column` of class numbers.
    tree : DecisionTree
    column : str, optional
        Column with a class's number; blank: no label, one of `NO_CLASS`: none of the classes. A blank in a table of
        `tuningfork classes`, whose column `status` says that the votes fit no rule, is no class, too.
    groups : tuple of tuples of int, optional
        Classes that the numbers 0, 1, … of `column` stand for; of a table of votes, classes that count as one. A
        prediction of a class in none of them is never accepted.

    Returns
    -------
    TrueClasses
        Of all galaxies with votes: those that fit no rule have no class, and of those with blank cells it may be
        unknown. Of a column only those with a label.

    Raises
    ------
    CatalogError
        If the table cannot be used.
    """
    if column is None:
        table = read_labels(labels, tree)
        return TrueClasses.of_votes(table.votes, str(labels), groups, table.errors)
    return _from_column(labels, tree, column, groups or tuple((c,) for c in range(len(tree.classes))))


def known_classes(cumulative: Floats, tree: DecisionTree) -> NDArray[np.int8]:
    """Return (N, C) int8 of vote fractions (N, A), NaN where unknown: 1 the class, 0 another or none, -1 unknown."""
    classes, fits = classify(cumulative, tree), class_fits(cumulative, tree)
    # A galaxy that is decided is of its class alone; of an undecided one the rules that cannot fit are known.
    decided = (np.arange(fits.shape[1]) == classes[:, None]).astype(np.int8)
    return np.where((classes == Status.UNDECIDED)[:, None], np.where(fits == -1, np.int8(-1), np.int8(0)), decided)


def _of_groups(cumulative: Floats, tree: DecisionTree, groups: Groups) -> NDArray[np.int8]:
    """(N, G) as `known_classes`: a galaxy of any class of a group is of the group."""
    fits = known_classes(cumulative, tree)
    parts = [fits[:, list(group)] for group in groups]
    return np.stack([np.where((p == 1).any(1), 1, p.min(1)) for p in parts], 1).astype(np.int8)


def known_weights(cumulative: Floats, tree: DecisionTree, groups: Groups) -> Floats:
    """Return for how many galaxies each counts in each group, so that classes whose votes are often blank are not rare.

    As `decision_weights`, but for each group by itself: 1 over the share of the table's rows whose blank cells would
    leave it known whether the galaxy is of the group (Horvitz & Thompson 1952, J. Am. Stat. Assoc. 47, 663). It is
    assumed that which cells are blank has nothing to do with the galaxy.

    Parameters
    ----------
    cumulative : (N, A), NaN where unknown

    Returns
    -------
    (N, G) float64
        At least 1; 0 where it is not known whether the galaxy is of the group.
    """
    return inverse_probability(cumulative, lambda values: _of_groups(values, tree, groups) >= 0)


def _from_column(labels: str | os.PathLike[str], tree: DecisionTree, column: str, groups: Groups) -> TrueClasses:
    problems: dict[int, str] = {}
    table = read_table(labels, text=True, problems=problems)
    id_column = tree.id_column(table.column_names) or ("id" if "id" in table.column_names else None)
    if id_column is None or column not in table.column_names:
        missing = f"column {column!r}" if id_column else f"ID column; call it {tree.id_columns[0]} or id"
        raise CatalogError(f"{labels}: no {missing} (the file has {', '.join(table.column_names[:8])})")
    ids = exact_ids(table[id_column], id_column, labels)
    status = table["status"].to_pylist() if "status" in table.column_names else [None] * len(ids)
    classes: dict[str, int] = {}
    errors = []
    first: dict[str, int] = {}
    for row, (id_, cell, state) in enumerate(zip(ids, table[column].to_pylist(), status, strict=True), 1):
        if row - 1 in problems:
            errors.append(RowError(str(labels), row, id_, "", problems[row - 1]))
            continue
        text = label_text(cell)
        if not text and label_text(state) == Status.UNCLASSIFIED.label:
            text = Status.UNCLASSIFIED.label
        if not text:
            continue
        number = _class_number(text, len(groups))
        if not id_:
            errors.append(RowError(str(labels), row, id_, id_column, "no ID; give the galaxy one"))
        elif id_ in first:
            reason = f"the ID came before, in row {first[id_]}; the first is kept"
            errors.append(RowError(str(labels), row, id_, id_column, reason))
        elif number is None:
            reason = f"{cell!r} is none of 0…{len(groups) - 1}, nor {NO_CLASS[0]} for no class"
            errors.append(RowError(str(labels), row, id_, column, reason))
        else:
            first[id_], classes[id_] = row, number
    fits = (np.array(list(classes.values()), int)[:, None] == np.arange(len(groups))).astype(np.int8)
    return TrueClasses(str(labels), tree, tuple(classes), fits.reshape(-1, len(groups)), groups, tuple(errors))


def _class_number(text: str, count: int) -> int | None:
    """A class's number, -1 for no class; None if it is neither."""
    if text.lower() in NO_CLASS:
        return -1
    try:
        number = int(text)
    except ValueError:
        return None
    return number if 0 <= number < count else None


def group_probabilities(table: PredictionTable, groups: Groups) -> tuple[Floats, Floats]:
    """Return the probability of each group, and of each class that is in none, for all predictions.

    Both are of all galaxies, with the probability of no class taken into account where the table has it.

    Returns
    -------
    in_groups : (N, G) float64
    others : (N, K) float64

    Raises
    ------
    CatalogError
        If the table has no class probabilities.
    """
    probability = table.probability
    if not table.ids:
        raise none_usable(table.path, table.errors)
    if probability is None or np.isnan(probability).all():
        raise CatalogError(f"{table.path}: no class probabilities; predict with a model of classes")
    if table.no_class_probability is not None:
        probability = probability * (1 - table.no_class_probability)[:, None]
    rest = [c for c in range(probability.shape[1]) if not any(c in group for group in groups)]
    return np.stack([probability[:, list(group)].sum(1) for group in groups], 1), probability[:, rest]


def predicted_classes(
    probability: Floats, no_class: Floats | None, fits: NDArray[np.int8]
) -> tuple[Floats, NDArray[np.int8]]:
    """Return the probability of the most probable class, or of no class, and whether that is right.

    Parameters
    ----------
    probability : (N, C) float64
        Given that there is a class; NaN where there is no prediction.
    no_class : (N,) float64, optional
        Probability of no class; None: the model always names a class.
    fits : (N, C) int8
        As `known_classes` returns it.

    Returns
    -------
    highest : (N,) float64
    outcome : (N,) int8
        1 right, 0 wrong, -1 where that is not known, or nothing is predicted.
    """
    none = np.zeros(len(probability)) if no_class is None else no_class
    every = np.column_stack([probability * (1 - none)[:, None], none])
    known = np.logical_not(np.any(np.isnan(every), 1))
    best = np.where(known[:, None], every, 0).argmax(1)
    is_none = np.where((fits == 1).any(1), 0, np.where((fits == -1).any(1), -1, 1))
    outcome = np.column_stack([fits, is_none]).astype(np.int8)[np.arange(len(fits)), best]
    return every[np.arange(len(every)), best], np.where(known, outcome, np.int8(-1))


def labelled_rows(
    table: PredictionTable,
    truth: TrueClasses,
    *,
    split: Mapping[str, str] | None = None,
    subset: str = "test",
    exclude: TrainingIDs | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.intp], dict[str, int]]:
    """Return the rows of `table` and of `truth` of each galaxy that is in both and has class probabilities.

    Parameters
    ----------
    split : mapping of ID → subset, optional
        Only galaxies of `subset` count.
    exclude : TrainingIDs, optional
        Galaxies that the model was trained, validated or calibrated on; they are left out, with a warning, and counted
        by subset in the last value returned.

    Raises
    ------
    CatalogError
        If there is no such galaxy.
    """
    check_subset(split, subset)
    has_class = np.logical_not(np.any(np.isnan(group_probabilities(table, truth.groups)[0]), 1))
    places = {id_: row for row, id_ in enumerate(truth.ids) if split is None or split.get(id_) == subset}
    pairs = [(row, places[id_]) for row, id_ in enumerate(table.ids) if id_ in places and has_class[row]]
    unseen, left_out = leave_out_training([table.ids[row] for row, _ in pairs], exclude)
    if not pairs:
        errors = [*truth.errors, *table.errors]
        raise none_in_common((table.path, table.ids), (truth.path, truth.ids), errors, " with a class")
    if not unseen:
        raise all_in_training(table.path, len(pairs))
    rows, true_rows = np.array([pairs[at] for at in unseen], np.intp).T
    return rows, true_rows, left_out
