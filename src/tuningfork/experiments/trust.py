"""Reliability of intervals and class probabilities: for all galaxies, and by their size and brightness."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.binomial import binomial_interval
from .._utils.files import atomic_file, write_text
from ..display.plots import trust_panels
from ..evaluation.prediction_table import PredictionTable, warn_unmatched
from ..evaluation.training_overlap import leave_out_training
from ..evaluation.true_classes import known_classes, predicted_classes
from ..images.find import find_images
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from ..images.read import read_image
from ..images.statistics import STATISTICS, appearance
from ..model.training_ids import TrainingIDs
from ..tables import RowError
from ..tables.csv import csv_text
from ..tables.identifiers import file_id
from ..votes import fractions as votes
from ..votes.label_table import LabelTable
from ..votes.split_file import check_subset, read_split
from ..votes.tree import DecisionTree
from .plan import StudyError

__all__ = ["group_reliability", "quantile_groups", "reliability_bins", "trust"]

Floats = NDArray[np.float64]
#: As the shipped models; brightness and size are those of a network's input.
_PREPROCESS = Preprocess(crop=0.5, size=128)
BINS = 8


def group_reliability(
    low: Floats,
    high: Floats,
    known: Floats,
    predicted: tuple[Floats, NDArray[np.int8]] | None,
    groups: Sequence[NDArray[np.bool_]],
    tree: DecisionTree,
) -> list[dict[str, Any]]:
    """Coverage of all intervals together, and calibration of the class, for each group of the N galaxies.

    Parameters
    ----------
    low, high : (N, A) in [0, 1], NaN where there is no interval
    known : (N, A) cumulative fractions, NaN unknown
    predicted : (N,) probability of the predicted class and (N,) whether it is right, or None
        As `predicted_classes` returns them.
    groups : sequence of (N,) bool

    Returns
    -------
    list of dict
        ``galaxies``; ``coverage``, the share of questions whose intervals hold all answers, with ``low`` and ``high``
        (95 % Wilson interval of the galaxies, since the questions of one are not independent), None without any;
        ``judged``, the galaxies of which it is known whether the
        predicted class is right, those of no class included, the ``accuracy`` and the mean ``probability`` of the
        predicted class, None without any.
    """
    true = votes.conditional_from_cumulative(known, tree)
    # A question counts where its answers are known and have intervals; it is held if all are.
    starts = [part.start for part in tree.slices]
    known_questions = np.logical_and.reduceat(~np.isnan(true + low), starts, axis=1)
    within = np.logical_and.reduceat((true >= low) & (true <= high), starts, axis=1) & known_questions
    entries = []
    for group in groups:
        rows = group & known_questions.any(1)
        covered = within[rows].sum(1) / np.maximum(known_questions[rows].sum(1), 1)
        entry: dict[str, Any] = {"galaxies": int(group.sum()), "coverage": None, "low": None, "high": None}
        if len(covered):
            lowest, highest = binomial_interval(float(covered.sum()), len(covered))
            entry |= {"coverage": float(covered.mean()), "low": lowest, "high": highest}
        entry |= {"judged": 0, "accuracy": None, "probability": None}
        if predicted is not None:
            probability, outcome = predicted
            judged = group & (outcome >= 0)
            entry["judged"] = int(judged.sum())
            if judged.any():
                entry |= {"accuracy": float(outcome[judged].mean()), "probability": float(probability[judged].mean())}
        entries.append(entry)
    return entries


def reliability_bins(probability: Floats, outcome: NDArray[np.int8], bins: int = BINS) -> list[dict[str, float]]:
    """Reliability diagram: bins of equally many galaxies by the probability of the predicted class.

    Parameters
    ----------
    probability : (N,)
    outcome : (N,) int8
        Whether the predicted class is right; below 0 where that is not known.

    Returns
    -------
    list of dict
        ``probability``, its mean; ``right``, the share of right classes with its 95 % interval ``low``, ``high``;
        ``galaxies``.
    """
    highest, right = probability[outcome >= 0], outcome[outcome >= 0] == 1
    parts = np.array_split(np.argsort(highest, kind="stable"), max(min(bins, len(highest)), 1))
    entries = []
    for part in parts:
        if len(part):
            low, high = binomial_interval(int(right[part].sum()), len(part))
            entries.append({"probability": float(highest[part].mean()), "right": float(right[part].mean()),
                         "low": low, "high": high, "galaxies": len(part)})  # fmt: skip
    return entries


def quantile_groups(values: Floats, names: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Groups of equally many galaxies by quantiles of `values` (N,), from least to most; NaN is in none."""
    known = np.flatnonzero(~np.isnan(values))
    parts = np.array_split(known[np.argsort(values[known], kind="stable")], len(names))
    return [(name, np.isin(np.arange(len(values)), part)) for name, part in zip(names, parts, strict=True)]


def trust(
    table: PredictionTable,
    known: LabelTable,
    images: Sequence[Path],
    output: Path,
    *,
    split: Path | None = None,
    part: str = "test",
    exclude: TrainingIDs | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Any], tuple[RowError, ...]]:
    """Judge a table of predictions by a label table; write `output`/trust.json, trust.csv and trust.svg.

    Brightness is the mean light above the sky in the central half of the frame, size the share of it outside of
    that half's central quarter; both as in `appearance`. Thirds are of the galaxies judged.

    Parameters
    ----------
    exclude : TrainingIDs, optional
        Galaxies that the model was trained, validated or calibrated on; they are left out, with a warning.

    Returns
    -------
    report : dict
        The content of trust.json.
    errors : tuple of RowError
        Rows and images that could not be used.

    Raises
    ------
    StudyError
        If the predictions have no intervals, or no galaxy has labels, prediction and image.
    CatalogError
        If a table cannot be used, or the split has no such part.
    """
    predictions, tree = table.path, known.tree
    if table.low is None or table.high is None:
        raise StudyError(f"{predictions} has no intervals; calibrate the model, and predict with it")
    parts = read_split(split) if split else None
    check_subset(parts, part)
    wanted = [row for row, id_ in enumerate(known.ids) if parts is None or parts.get(id_) == part]
    predicted, left_out = _predicted_rows(table, known, wanted, exclude)
    rows, statistics, unreadable = _read_statistics(predictions, known, predicted, images, progress)
    if not rows:
        raise StudyError(
            f"{predictions} and {known.path} have no galaxy{f' of part {part}' if split else ''} with an image"
        )
    at = [table.votes.row_of[known.ids[row]] for row in rows]
    values = known.votes.fractions[rows]
    by_name = dict(zip(STATISTICS, statistics.T, strict=True))
    groups = [("all", np.ones(len(rows), bool))]
    groups += quantile_groups(by_name["light"], ("faint", "middling", "bright"))
    groups += quantile_groups(-by_name["concentration"], ("compact", "medium", "extended"))
    predicted_class = None
    if table.probability is not None:
        no_class = None if table.no_class_probability is None else table.no_class_probability[at]
        predicted_class = predicted_classes(table.probability[at], no_class, known_classes(values, tree))
    low, high = table.low[at], table.high[at]
    entries = group_reliability(low, high, values, predicted_class, [group for _, group in groups], tree)
    report: dict[str, Any] = {
        "level": table.level,
        "galaxies": len(rows),
        **({"left_out": left_out} if left_out else {}),
        "groups": [{"group": name, **entry} for (name, _), entry in zip(groups, entries, strict=True)],
        "reliability": [] if predicted_class is None else reliability_bins(*predicted_class),
    }
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "trust.json", json.dumps(report, indent=1) + "\n")
    write_text(output / "trust.csv", csv_text(report["groups"]))
    with atomic_file(output / "trust.svg") as partial:
        partial.write_bytes(trust_panels(report))
    return report, (*table.errors, *known.errors, *unreadable)


def _predicted_rows(
    table: PredictionTable, known: LabelTable, wanted: Sequence[int], exclude: TrainingIDs | None
) -> tuple[list[int], dict[str, int]]:
    """Those of the rows of the labels that are predicted and new to the model; how many are not new, by subset."""
    unseen, left_out = leave_out_training([known.ids[row] for row in wanted], exclude)
    if wanted and not unseen:
        raise StudyError(
            f"{table.path}: all {len(wanted)} galaxies were in the training of the model, which looks more reliable "
            "on these than on new ones; --include-training judges them"
        )
    new = [wanted[at] for at in unseen]
    failed = {error.id for error in table.errors}
    missing = [known.ids[row] for row in new if known.ids[row] not in table.votes.row_of]
    warn_unmatched(table.path, "no prediction", [id_ for id_ in missing if id_ not in failed])
    return [row for row in new if known.ids[row] in table.votes.row_of], left_out


def _read_statistics(
    predictions: str,
    known: LabelTable,
    predicted: Sequence[int],
    images: Sequence[Path],
    progress: Callable[[int, int], None] | None,
) -> tuple[list[int], Floats, list[RowError]]:
    """Rows of the labels whose image can be read, its `STATISTICS` (N, S), and the other images."""
    files = {file_id(path.name): path for path in find_images(images)}
    rows, statistics, errors = [], [], []
    for done, row in enumerate(predicted, 1):
        id_ = known.ids[row]
        try:
            if id_ not in files:
                raise ImageError("no image of this ID")
            statistics.append(appearance(_PREPROCESS.resized(read_image(files[id_]).rgb)))
            rows.append(row)
        except ImageError as error:
            errors.append(RowError(str(files.get(id_, predictions)), 0, id_, "", str(error)))
        if progress:
            progress(done, len(predicted))
    return rows, np.array(statistics), errors
