"""Purity, completeness and yield of samples of each class, against the threshold of its probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.binomial import binomial_interval
from ..model.training_ids import TrainingIDs
from ..tables import Column, RowError, arrow_schema
from ..votes.clean_samples import classify
from .prediction_table import PredictionTable
from .true_classes import TrueClasses, group_probabilities, labelled_rows

__all__ = ["SHORT", "SHORT_CLEAN", "THRESHOLDS", "Purity", "purity", "sample_curve"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
#: Of the probability of a class, for the plot and the table.
THRESHOLDS = (*(n / 20 for n in range(20)), 0.98, 0.99)
#: Those that a terminal, a page and a card show.
SHORT = (0.5, 0.8, 0.95)
#: The same of clean samples, of which the votes are the first condition.
SHORT_CLEAN = (0.0, 0.5, 0.8)
#: A share, and the bounds of its 95 % interval.
_SHARES = ("purity", "completeness", "yield")


@dataclass(frozen=True)
class Purity:
    """Curves of each class as plain numbers, in `report`; rows that could not be used, in `errors`."""

    report: dict[str, Any]
    errors: tuple[RowError, ...]

    def short(self) -> dict[str, Any]:
        """The report with a few thresholds: `SHORT`, of clean samples `SHORT_CLEAN`."""
        shown = {"probability": SHORT, "clean": SHORT_CLEAN}
        return self.report | {
            selection: {
                key: {**each, "curve": [point for point in each["curve"] if point["threshold"] in shown[selection]]}
                for key, each in self.report[selection].items()
            }
            for selection in shown
        }

    def to_table(self) -> pa.Table:
        """Return a row for each sample: how it is selected, its class and threshold, counts, shares and intervals."""
        rows = [
            {"selection": selection, "class": key, "class_name": each["name"], **point}
            for selection in ("probability", "clean")
            for key, each in self.report[selection].items()
            for point in each["curve"]
        ]
        return pa.Table.from_pylist(rows, schema=_SCHEMA)


_MEANING = {
    "purity": "Share of the sample that is of the class; known votes are weighted to stand for blank ones",
    "completeness": "Share of the class that is in the sample",
    "yield": "Share of all judged galaxies that is in the sample",
}
_SCHEMA = arrow_schema(
    [
        Column(
            "selection", pa.string(), "probability: of the class, at least the threshold; clean: clean_class as well"
        ),
        Column("class", pa.string(), "Key of the class, or of the group of classes"),
        Column("class_name", pa.string(), "The same in words"),
        Column("threshold", pa.float64(), "Least probability of the class among all galaxies", ""),
        Column("judged", pa.int64(), "Labelled galaxies of which it is known whether they are of the class", ""),
        Column("galaxies", pa.int64(), "Of these, those of the class", ""),
        Column("selected", pa.int64(), "Of the judged ones, those in the sample", ""),
        Column("right", pa.int64(), "Of the selected ones, those of the class", ""),
        *(
            Column(f"{name}{end}", pa.float64(), f"{_MEANING[name]}{text}", "")
            for name in _SHARES
            for end, text in (("", ""), ("_low", ", lower 95 % Wilson bound"), ("_high", ", upper 95 % Wilson bound"))
        ),
    ]
)


def purity(
    table: PredictionTable,
    truth: TrueClasses,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    split: Mapping[str, str] | None = None,
    subset: str = "test",
    exclude: TrainingIDs | None = None,
) -> Purity:
    """Measure the samples that thresholds on the predicted probability of each class select.

    A sample of a class holds all galaxies whose probability of that class is at least the threshold, whichever class is
    the most probable; `clean` demands that the predicted votes pass the class's rule as well (`clean_class`).
    Probabilities are of all galaxies: the table's class probability times the probability that there is a class, where
    the table has it. A galaxy of no class is a contaminant of any sample. A galaxy of which it is not known whether it
    is of a class is left out for that class, and counted; where labels have blank votes, those of known class count in
    the shares for those like them whose class is open (`known_weights`).

    Parameters
    ----------
    table : PredictionTable
    truth : TrueClasses
        The classes of labelled galaxies; with `groups` classes that count as one.
    thresholds : sequence of float in [0, 1]
    split : mapping of ID → subset, optional
        Only galaxies of `subset` are judged.
    exclude : TrainingIDs, optional
        Galaxies that the model was trained, validated or calibrated on; they are left out, with a warning.

    Returns
    -------
    Purity
        Shares with 95 % intervals of Wilson 1927 (J. Am. Stat. Assoc. 22, 209). The judged galaxies are taken as a
        random sample of the survey: where a class is rarer than among them, its purity is lower.

    Raises
    ------
    CatalogError
        If predictions have no class probabilities, or no galaxy is in both tables.
    """
    rows, true_rows, left_out = labelled_rows(table, truth, split=split, subset=subset, exclude=exclude)
    probability = group_probabilities(table, truth.groups)[0][rows]
    fits = truth.fits[true_rows]
    voted = classify(table.votes.fractions[rows], truth.tree)
    has_votes = not np.isnan(table.votes.fractions).all()
    report: dict[str, Any] = {
        "predictions": table.path,
        "labels": truth.path,
        "part": subset if split is not None else "all",
        "galaxies": len(rows),
        "no_class": int(truth.no_class[true_rows].sum()),
        "undecided": int(truth.undecided[true_rows].sum()),
        **({"left_out": left_out} if left_out else {}),
        "probability": {},
        "clean": {},
    }
    for number, (group, name) in enumerate(zip(truth.groups, truth.names, strict=True)):
        key = "+".join(truth.tree.classes[c].key for c in group)
        known = fits[:, number] >= 0
        of_class = fits[known, number] == 1
        about = {"name": name, "judged": len(of_class), "galaxies": int(of_class.sum()), "unknown": int((~known).sum())}
        weights = None if truth.weights is None else truth.weights[true_rows][known, number]
        selections = {"probability": np.ones(len(of_class), bool)}
        if has_votes:
            selections["clean"] = np.isin(voted[known], group)
        for selection, allowed in selections.items():
            curve = sample_curve(probability[known, number], of_class, thresholds, allowed, weights)
            report[selection][key] = {**about, "curve": curve}
    return Purity(report, (*truth.errors, *table.errors))


def sample_curve(
    probability: Floats,
    of_class: Bools,
    thresholds: Sequence[float],
    allowed: Bools | None = None,
    weights: Floats | None = None,
) -> list[dict[str, Any]]:
    """Return counts, shares and intervals of the samples of one class at each threshold.

    Parameters
    ----------
    probability : (N,) in [0, 1]
        Of the class.
    of_class : (N,) bool
        Whether a galaxy is of the class.
    thresholds : sequence of float
    allowed : (N,) bool, optional
        Galaxies that a sample may hold.
    weights : (N,) float64, optional
        For how many galaxies each counts in the shares; their intervals are of the effective number of galaxies
        (Kish 1965, Survey Sampling, section 11.7).

    Returns
    -------
    list of dict
        `threshold`, `judged`, `galaxies`, `selected`, `right`; `purity`, `completeness` and `yield` with `_low` and
        `_high`, None where there is nothing to divide by.

    Examples
    --------
    >>> curve = sample_curve(np.array([0.9, 0.8, 0.6, 0.1]), np.array([True, False, True, False]), [0.5])
    >>> [(each["selected"], round(each["purity"], 2), each["completeness"]) for each in curve]
    [(3, 0.67, 1.0)]
    """
    allowed = np.ones(len(probability), bool) if allowed is None else allowed
    weights = np.ones(len(probability)) if weights is None else weights
    every = np.ones(len(probability), bool)
    curve = []
    for threshold in thresholds:
        selected = allowed & (probability >= threshold)
        point: dict[str, Any] = {
            "threshold": threshold, "judged": len(of_class), "galaxies": int(of_class.sum()),
            "selected": int(selected.sum()), "right": int((selected & of_class).sum()),
        }  # fmt: skip
        for name, hits, among in (
            ("purity", of_class, selected),
            ("completeness", selected, of_class),
            ("yield", selected, every),
        ):
            point |= dict(zip((name, f"{name}_low", f"{name}_high"), _share(weights, hits, among), strict=True))
        curve.append(point)
    return curve


def _share(weights: Floats, hits: Bools, among: Bools) -> tuple[float | None, float | None, float | None]:
    """The weighted share of `hits` in `among`, and its 95 % Wilson interval."""
    total = float(weights[among].sum())
    if not total:
        return None, None, None
    value = float(weights[among & hits].sum()) / total
    effective = total**2 / float((weights[among] ** 2).sum())
    return value, *binomial_interval(value * effective, effective)
