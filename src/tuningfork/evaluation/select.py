"""Selective classification of tables: which predictions are accepted without a human; see `selective`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.text import counted
from ..model.training_ids import TrainingIDs
from ..tables import CatalogError, Column, RowError, arrow_schema, ucd
from .prediction_table import PredictionTable, read_predictions
from .selective import Selection, least_galaxies, most_probable, select
from .true_classes import TrueClasses, group_probabilities, labelled_rows

__all__ = ["SelectionResult", "select_table"]


@dataclass(frozen=True)
class SelectionResult:
    """A selection, and what its threshold does to all predictions.

    Parameters
    ----------
    selection : Selection
        Threshold, precision and coverage on labelled galaxies.
    names : texts
        Of the classes that labels and predictions were compared in.
    per_class : by name
        Labelled galaxies of both halves by their predicted class: how many, accepted, and of the accepted those that
        are right and those that have no class.
    labelled : mapping of str to int
        Of the labelled galaxies: `no_class`, judged, and wrong whatever class is accepted; `undecided`, left out, since
        it is not known whether the predicted class is theirs; `undecided_accepted`, what the threshold does to these.
    table : Arrow table
        Of all predictions: ID, class, its probability, whether it is accepted.
    """

    selection: Selection
    names: tuple[str, ...]
    per_class: Mapping[str, Mapping[str, int]]
    labelled: Mapping[str, int]
    table: pa.Table
    errors: tuple[RowError, ...]

    @property
    def accepted(self) -> int:
        """Of all predictions, those that need no human."""
        return int(self.table["accepted"].to_numpy().sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        survey = {"galaxies": self.table.num_rows, "accepted": self.accepted}
        return {**self.selection.to_dict(), **self.labelled, "per_class": self.per_class, "survey": survey}

    def lines(self) -> list[str]:
        """For people."""
        s = self.selection
        required, sure = f"{s.precision:.6g}", f"{s.confidence:.0%}"
        need = least_galaxies(s.precision, s.confidence)
        lines = [f"{s.chosen_on} labelled galaxies to choose the threshold on, {s.judged_on} others to judge it"]
        lines.append(
            f"{self.labelled['no_class']} of these have no class: whatever is accepted of them is wrong"
            if self.labelled["no_class"]
            else "none of these is without a class: of galaxies that have none the labels say nothing"
        )
        if self.labelled["undecided"]:
            lines.append(
                f"{counted(self.labelled['undecided'], 'more is', 'more are')} left out: the votes do not decide "
                "whether the predicted class is right"
            )
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
            lines.append(
                f"  {name}: {each['accepted']} of {each['galaxies']} accepted, {each['right']} of them right, "
                f"{each['no_class']} of no class"
            )
        if self.labelled["undecided_accepted"]:
            lines.append(
                f"of the {self.labelled['undecided']} left out {self.labelled['undecided_accepted']} are accepted too; "
                "of these the precision says nothing"
            )
        lines.append(f"of all {self.table.num_rows} predictions {self.accepted} need no human")
        return lines


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
) -> SelectionResult:
    """Choose and test a threshold on the labelled galaxies, and apply it to all predictions.

    A galaxy that has none of the classes is wrong if one is accepted for it, so the precision is that of all galaxies
    like the labelled ones, not of those that have a class. Galaxies of which it is not known whether the predicted
    class is theirs are left out, and counted.

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
    in_groups, others = group_probabilities(table, truth.groups)
    if table.no_class_probability is not None:
        others = np.column_stack([others, table.no_class_probability])
    # What the labels do not have is left to a human.
    best, probability = most_probable(in_groups, others)
    rows, true_rows, _ = labelled_rows(table, truth, split=split, subset=subset, exclude=exclude)
    outcome = np.where(best[rows] < 0, 0, truth.fits[true_rows, best[rows]])
    known, open_ = rows[outcome >= 0], rows[outcome < 0]
    right, no_class = outcome[outcome >= 0] == 1, truth.no_class[true_rows[outcome >= 0]]
    if not len(known):
        raise CatalogError(f"{truth.path}: of no galaxy it is known whether it has the predicted class")
    selection = select(probability[known], right, precision, confidence, seed=seed)
    at = np.inf if selection.threshold is None else selection.threshold
    accepted = (probability >= at) & (best >= 0)
    return SelectionResult(
        selection,
        truth.names,
        {
            name: {
                "galaxies": int((best[known] == n).sum()),
                "accepted": int((accepted[known] & (best[known] == n)).sum()),
                "right": int((accepted[known] & right & (best[known] == n)).sum()),
                "no_class": int((accepted[known] & no_class & (best[known] == n)).sum()),
            }
            for n, name in enumerate(truth.names)
        },
        {
            "no_class": int(no_class.sum()),
            "undecided": len(open_),
            "undecided_accepted": int(accepted[open_].sum()),
        },
        _table(table, best, probability, accepted, at, truth.names),
        (*truth.errors, *table.errors),
    )


def _table(
    predictions: PredictionTable,
    best: NDArray[np.int64],
    probability: NDArray[np.float64],
    accepted: NDArray[np.bool_],
    at: float,
    names: Sequence[str],
) -> pa.Table:
    schema = arrow_schema(
        [
            Column("id", pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER),
            Column(
                "class_name",
                pa.string(),
                "Most probable class, or group of classes; empty if no class, or one that the labels lack, is likelier",
                ucd=ucd.CLASS_NAME,
            ),
            Column(
                "probability",
                pa.float64(),
                "Of that class among all galaxies, 0 to 1; 0 if class_name is empty",
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
    return pa.table([list(predictions.ids), words, probability, accepted], schema=schema)
