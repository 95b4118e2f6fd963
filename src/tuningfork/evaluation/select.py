"""Selective classification of tables: which predictions are accepted without a human; see `selective`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..model.training_ids import TrainingIDs
from ..tables import CatalogError, Column, RowError, arrow_schema, read_table, ucd
from ..tables.identifiers import exact_ids
from ..votes.label_table import read_labels
from ..votes.split_file import check_subset
from ..votes.tree import DecisionTree
from .prediction_table import PredictionTable, read_predictions
from .selective import Selection, grouped, least_galaxies, select
from .training_overlap import leave_out_training

__all__ = ["Selected", "TrueClasses", "parse_groups", "select_table", "true_classes"]

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Selected:
    """A selection, and what its threshold does to all predictions.

    Parameters
    ----------
    selection : Selection
        Threshold, precision and coverage on labelled galaxies.
    names : texts
        Of the classes that labels and predictions were compared in.
    per_class : by name
        Labelled galaxies of both halves by their predicted class: how many, accepted, right of the accepted.
    table : Arrow table
        Of all predictions: ID, class, its probability, whether it is accepted.
    """

    selection: Selection
    names: tuple[str, ...]
    per_class: Mapping[str, Mapping[str, int]]
    table: pa.Table
    errors: tuple[RowError, ...]

    @property
    def accepted(self) -> int:
        """Of all predictions, those that need no human."""
        return int(self.table["accepted"].to_numpy().sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        survey = {"galaxies": self.table.num_rows, "accepted": self.accepted}
        return {**self.selection.to_dict(), "per_class": self.per_class, "survey": survey}

    def lines(self) -> list[str]:
        """For people."""
        s = self.selection
        required, sure = f"{s.precision:.6g}", f"{s.confidence:.0%}"
        need = least_galaxies(s.precision, s.confidence)
        lines = [f"{s.chosen_on} labelled galaxies to choose the threshold on, {s.judged_on} others to judge it"]
        if s.threshold is None:
            why = (
                f"{s.chosen_on} galaxies are too few, {need} without an error are the least"
                if s.chosen_on < need
                else "the most confident are not right often enough"
            )
            return [*lines, f"no threshold promises precision {required} with {sure} confidence: {why}"]
        lines.append(
            f"a class of probability {s.threshold:.4f} or more is accepted: {s.accepted} of {s.judged_on} "
            f"({s.coverage:.1%}) need no human"
        )
        if s.accepted:
            lines.append(
                f"of these {s.right} are right: precision {s.right / s.accepted:.4f}, "
                f"at least {s.low:.4f} with {sure} confidence"
            )
        if not s.reached:
            few = f"; {need} accepted ones without an error are the least" if s.accepted < need else ""
            lines.append(f"so precision {required} is not promised by the galaxies that judged it{few}")
        for name, each in self.per_class.items():
            lines.append(f"  {name}: {each['accepted']} of {each['galaxies']} accepted, {each['right']} of them right")
        lines.append(f"of all {self.table.num_rows} predictions {self.accepted} need no human")
        return lines


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


@dataclass(frozen=True)
class TrueClasses:
    """The known classes of galaxies.

    Parameters
    ----------
    path : str
        The label table's name, for messages.
    tree : DecisionTree
    classes : mapping of ID → position in `groups`
    groups : tuple of tuples of int
        The tree's classes that each label stands for.
    errors : tuple of RowError
        Rows that cannot be used.
    """

    path: str
    tree: DecisionTree
    classes: Mapping[str, int]
    groups: Groups
    errors: tuple[RowError, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The groups in words."""
        return tuple(" or ".join(self.tree.classes[c].name for c in group) for group in self.groups)


def true_classes(
    labels: str | os.PathLike[str], tree: DecisionTree, *, column: str | None = None, groups: Groups | None = None
) -> TrueClasses:
    """Read the classes of a label table.

    Parameters
    ----------
    column : str, optional
        Column with a class's number; blank: no label. Without it the labels are votes, and only galaxies count
        whose votes decide a class: the unclassified ones of a survey are not judged.
    groups : classes that the numbers 0, 1, … of `column` stand for
        A prediction of a class in none of them is never accepted.

    Raises
    ------
    CatalogError
        If the table cannot be used.
    """
    groups = groups or tuple((c,) for c in range(len(tree.classes)))
    if column is None:
        table = read_labels(labels, tree)
        classes = {id_: int(c) for id_, c in zip(table.ids, table.votes.classes, strict=True) if c >= 0}
        return TrueClasses(str(labels), tree, classes, groups, table.errors)
    table = read_table(labels, text=True)
    id_column = next((name for name in (*tree.id_columns, "id") if name in table.column_names), None)
    if id_column is None or column not in table.column_names:
        missing = f"column {column!r}" if id_column else f"ID column; call it {tree.id_columns[0]} or id"
        raise CatalogError(f"{labels}: no {missing} (the file has {', '.join(table.column_names[:8])})")
    ids = exact_ids(table[id_column], id_column, labels)
    classes, errors = {}, []
    for row, (id_, cell) in enumerate(zip(ids, table[column].to_pylist(), strict=True), 1):
        if cell is None or str(cell).strip() == "":
            continue
        try:
            number = int(cell)
        except ValueError:
            number = -1
        if not 0 <= number < len(groups):
            errors.append(RowError(str(labels), row, id_, column, f"{cell!r} is none of 0…{len(groups) - 1}"))
        else:
            classes[id_] = number
    return TrueClasses(str(labels), tree, classes, groups, tuple(errors))


def select_table(
    predictions: str | os.PathLike[str] | PredictionTable,
    truth: TrueClasses,
    precision: float = 0.99,
    confidence: float = 0.95,
    *,
    split: Mapping[str, str] | None = None,
    subset: str = "test",
    seed: int = 0,
    exclude: TrainingIDs | None = None,
) -> Selected:
    """Choose and test a threshold on the labelled galaxies, and apply it to all predictions.

    Parameters
    ----------
    predictions : str, PathLike or PredictionTable
        Table written by `tuningfork predict`.
    truth : TrueClasses
    precision, confidence : float in (0, 1)
        The accepted classes are to be right in at least `precision` of the cases, with this confidence.
    split : mapping of ID → subset, optional
        Only galaxies of `subset` count as labelled.
    exclude : TrainingIDs, optional
        Galaxies that the model was trained, validated or calibrated on; they do not count as labelled.

    Raises
    ------
    CatalogError
        If the table cannot be used, predictions have no class probabilities, or no galaxy is in both.
    """
    table = predictions
    if not isinstance(table, PredictionTable):
        table = read_predictions(table, truth.tree)
    if table.probability is None or np.isnan(table.probability).all():
        raise CatalogError(f"{table.path}: no class probabilities; predict with a model of classes")
    check_subset(split, subset)
    known = {id_: c for id_, c in truth.classes.items() if split is None or split.get(id_) == subset}
    has_class = np.logical_not(np.any(np.isnan(table.probability), 1))
    best, probability = np.full(len(table.ids), -1), np.zeros(len(table.ids))
    best[has_class], probability[has_class] = grouped(table.probability[has_class], truth.groups)
    # A class that the labels do not have is left to a human.
    probability[best < 0] = 0.0
    rows = np.array([row for row, id_ in enumerate(table.ids) if id_ in known and has_class[row]], np.intp)
    rows = rows[leave_out_training([table.ids[row] for row in rows], exclude)[0]]
    if not len(rows):
        raise CatalogError(
            f"{table.path} and {truth.path} have no galaxy with a class in common; are their IDs of one kind?"
            + (" Those of the model's training are left out" if exclude else "")
        )
    right = best[rows] == np.array([known[table.ids[row]] for row in rows])
    selection = select(probability[rows], right, precision, confidence, seed=seed)
    at = np.inf if selection.threshold is None else selection.threshold
    return Selected(
        selection,
        truth.names,
        _per_class(best[rows], right, probability[rows] >= at, truth.names),
        _table(table, best, probability, at, truth.names),
        (*truth.errors, *table.errors),
    )


def _per_class(
    best: NDArray[np.int64], right: NDArray[np.bool_], accepted: NDArray[np.bool_], names: Sequence[str]
) -> dict[str, dict[str, int]]:
    return {
        name: {
            "galaxies": int((best == n).sum()),
            "accepted": int((accepted & (best == n)).sum()),
            "right": int((accepted & right & (best == n)).sum()),
        }
        for n, name in enumerate(names)
    }


def _table(
    predictions: PredictionTable,
    best: NDArray[np.int64],
    probability: NDArray[np.float64],
    at: float,
    names: Sequence[str],
) -> pa.Table:
    schema = arrow_schema(
        [
            Column("id", pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER),
            Column(
                "class_name",
                pa.string(),
                "Most probable class, or group of classes; empty if the labels have none",
                ucd=ucd.CLASS_NAME,
            ),
            Column(
                "probability",
                pa.float64(),
                "Of that class, 0 to 1; 0 if the labels have no such class",
                "",
                ucd.CLASS_PROBABILITY,
            ),
            Column(
                "accepted",
                pa.bool_(),
                f"Whether the probability is at least {at:.6g}, so that no human is needed",
                ucd=ucd.QUALITY,
            ),
        ]
    )
    words = [names[n] if n >= 0 else "" for n in best]
    return pa.table([list(predictions.ids), words, probability, probability >= at], schema=schema)
