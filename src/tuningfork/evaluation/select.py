"""Tables of predictions and labels in, what may be classified without a human out; see `selective` for how."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..tables import CatalogError, Column, RowError, arrow_schema, read_table, ucd
from ..votes import fractions as votes
from ..votes.label_table import read_votes
from ..votes.tree import DecisionTree
from .evaluate import PredictionTable, check_part, read_predictions
from .selective import Selection, grouped, least_galaxies, select

__all__ = ["Selected", "parse_groups", "select_table"]

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
        asked, sure = f"{s.precision:.6g}", f"{s.confidence:.0%}"
        need = least_galaxies(s.precision, s.confidence)
        lines = [f"{s.chosen_on} labelled galaxies to choose the threshold on, {s.judged_on} others to judge it"]
        if s.threshold is None:
            why = (
                f"{s.chosen_on} galaxies are too few, {need} without an error are the least"
                if s.chosen_on < need
                else "the most confident are not right often enough"
            )
            return [*lines, f"no threshold promises precision {asked} with {sure} confidence: {why}"]
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
            lines.append(f"so precision {asked} is not promised by the galaxies that judged it{few}")
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


def select_table(
    predictions: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    tree: DecisionTree,
    precision: float = 0.99,
    confidence: float = 0.95,
    *,
    column: str | None = None,
    groups: Groups | None = None,
    split: Mapping[str, str] | None = None,
    part: str = "test",
    seed: int = 0,
) -> Selected:
    """Choose and judge a threshold on the labelled galaxies, and apply it to all predictions.

    Parameters
    ----------
    column : text, optional
        Column of `labels` with a class's number; blank: no label. Else the labels are votes, and only galaxies
        count whose votes decide a class: the unclassified ones of a survey are not judged.
    groups : classes that the numbers 0, 1, … of `column` stand for
        A prediction of a class in none of them always goes to a human.

    Raises
    ------
    CatalogError
        If a table cannot be used, predictions have no class probabilities, or no galaxy is in both.
    """
    told = read_predictions(predictions, tree)
    if told.probability is None or np.isnan(told.probability).all():
        raise CatalogError(f"{predictions}: no class probabilities; predict with a model that tells classes")
    groups = groups or tuple((c,) for c in range(len(tree.classes)))
    truth, errors = _truth(labels, tree, column, len(groups))
    check_part(split, part)
    if split is not None:
        truth = {id_: label for id_, label in truth.items() if split.get(id_) == part}
    predicted = ~np.isnan(told.probability).any(1)
    best, probability = np.full(len(told.ids), -1), np.zeros(len(told.ids))
    best[predicted], probability[predicted] = grouped(told.probability[predicted], groups)
    # What the labels have no name for, a human must see.
    probability[best < 0] = 0.0
    rows = np.array([row for row, id_ in enumerate(told.ids) if id_ in truth and predicted[row]], int)
    if not len(rows):
        raise CatalogError(
            f"{predictions} and {labels} have no galaxy with a class in common; are their IDs of one kind?"
        )
    right = best[rows] == np.array([truth[told.ids[row]] for row in rows])
    found = select(probability[rows], right, precision, confidence, seed=seed)
    at = np.inf if found.threshold is None else found.threshold
    names = tuple(" or ".join(tree.classes[c].name for c in group) for group in groups)
    return Selected(
        found,
        names,
        _per_class(best[rows], right, probability[rows] >= at, names),
        _table(told, best, probability, at, names),
        (*errors, *told.errors),
    )


def _truth(
    labels: str | os.PathLike[str], tree: DecisionTree, column: str | None, count: int
) -> tuple[dict[str, int], tuple[RowError, ...]]:
    """The label of each galaxy that has one, by ID, and the rows that cannot be used."""
    if column is None:
        table = read_votes(labels, tree)
        classes = votes.classify(votes.cumulative_from(table.values, tree), tree)
        return {id_: int(c) for id_, c in zip(table.ids, classes, strict=True) if c >= 0}, table.errors
    read = read_table(labels, text=True)
    id_column = next((name for name in (*tree.id_columns, "id") if name in read.column_names), None)
    if id_column is None or column not in read.column_names:
        missing = f"column {column!r}" if id_column else f"ID column; call it {tree.id_columns[0]} or id"
        raise CatalogError(f"{labels}: no {missing} (the file has {', '.join(read.column_names[:8])})")
    truth: dict[str, int] = {}
    errors = []
    for row, (id_, cell) in enumerate(zip(read[id_column].to_pylist(), read[column].to_pylist(), strict=True), 1):
        if cell is None or str(cell).strip() == "":
            continue
        try:
            number = int(cell)
        except ValueError:
            number = -1
        if not 0 <= number < count:
            errors.append(RowError(str(labels), row, str(id_), column, f"{cell!r} is none of 0…{count - 1}"))
        else:
            truth[str(id_).strip()] = number
    return truth, tuple(errors)


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
    told: PredictionTable, best: NDArray[np.int64], probability: NDArray[np.float64], at: float, names: Sequence[str]
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
    return pa.table([list(told.ids), words, probability, probability >= at], schema=schema)
