"""Evaluation: predictions against volunteers' votes, scored with bootstrap intervals, beside two baselines."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..model.training_ids import TrainingIDs
from ..tables import RowError
from ..votes.clean_samples import NO_CLASS, Status, decision_weights
from ..votes.fractions import sum_violations
from ..votes.label_table import LabelTable
from ..votes.split_file import check_subset
from ..votes.values_kind import kind_conflict
from ..votes.vote_table import VoteTable
from . import metrics
from .baselines import baseline_votes
from .prediction_table import PredictionTable, none_in_common, read_predictions, warn_unmatched
from .reliability import class_reliability, coverage
from .resampling import Resamples, confusion_cells, root_mean, squared_errors
from .training_overlap import all_in_training, leave_out_training, training_ids_of

__all__ = ["Evaluation", "evaluate"]

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores as plain numbers, in `report`; rows that could not be used, in `errors`."""

    report: dict[str, Any]
    errors: tuple[RowError, ...]

    def __repr__(self) -> str:
        scores = [f"{self.report['galaxies']} galaxies"]
        if rmse := (self.report.get("rmse_known_columns") or {}).get("value"):
            scores.append(f"RMSE of known columns {rmse:.4f}")
        if "accuracy" in (classes := self.report.get("classes", {})):
            scores.append(f"class accuracy {classes['accuracy']['value']:.3f}")
        return f"<Evaluation: {'; '.join(scores)}; all numbers in report>"


def evaluate(
    predictions: str | os.PathLike[str] | PredictionTable,
    labels: LabelTable,
    *,
    split: Mapping[str, str] | None = None,
    subset: str = "test",
    images: Sequence[str | os.PathLike[str]] = (),
    resamples: int = 1000,
    seed: int = 0,
    exclude: TrainingIDs | Literal["model"] | None = "model",
) -> Evaluation:
    """Compare a table of predictions with a label table, galaxy by galaxy.

    Parameters
    ----------
    predictions : str, PathLike or PredictionTable
        Table written by `tuningfork predict`.
    labels : LabelTable
        As `read_labels` reads it.
    split : mapping of ID → subset, optional
        Only galaxies of `subset` are scored; those of "train" give the baseline of their mean votes and, with
        `images`, of the 25 nearest neighbours in 32×32 pixels.
    images : sequence of paths
        Images or folders of them, named by their galaxy's ID.
    resamples, seed : int
        Of the bootstrap over galaxies.
    exclude : TrainingIDs, "model" or None
        Galaxies that the model was trained, validated or calibrated on; they are left out, with a warning. "model":
        those of the shipped model that the table names. None: none is left out.

    Returns
    -------
    Evaluation

    Raises
    ------
    CatalogError
        If a table cannot be used, or no galaxy is in both.

    Examples
    --------
    >>> import logging, tempfile, tuningfork
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = tuningfork.simulate(f"{folder}/galaxies", n=8, workers=1)
    ...     summary = tuningfork.predict_files(
    ...         tuningfork.load("fast"), [data / "images_training_rev1"], f"{folder}/votes.csv"
    ...     )
    ...     labels = tuningfork.read_labels(data / "training_solutions_rev1.csv")
    ...     report = evaluate(f"{folder}/votes.csv", labels, resamples=100).report
    >>> report["galaxies"], 0 < report["rmse_known_columns"]["value"] < 0.5
    (8, True)
    """
    check_subset(split, subset)
    table = predictions
    if not isinstance(table, PredictionTable):
        table = read_predictions(table, labels.tree)
    rows, positions, unmatched, errors = _match_rows(table, labels, split, subset)
    kinds = {
        "predictions": table.about.get("values_kind", table.votes.values_kind),
        "labels": labels.tree.values_kind,
    }
    if conflict := kind_conflict(str(table.path), kinds["predictions"], labels.path, kinds["labels"]):
        logger.warning("%s", conflict)
    known = training_ids_of(table.about) if exclude == "model" else exclude
    unseen, left_out = leave_out_training([labels.ids[row] for row in rows], known)
    if not unseen:
        raise all_in_training(table.path, len(rows))
    rows, positions = [rows[at] for at in unseen], [positions[at] for at in unseen]
    has_votes, has_classes = _predicts(table)
    truth, predicted = labels.votes.select(rows), table.votes.select(positions)
    report: dict[str, Any] = {
        "predictions": table.path,
        "labels": labels.path,
        "part": subset if split is not None else "all",
        "galaxies": len(rows),
        "values_kind": kinds,
        **({"left_out": left_out} if left_out else {}),
        **({"unmatched": unmatched} if unmatched else {}),
        "complete_rows": int(truth.complete.sum()),
        **(_vote_scores(predicted, truth, resamples, seed) if has_votes else {}),
    }
    if table.level is not None:
        assert table.low is not None  # a table with a level has its bounds
        assert table.high is not None
        intervals = table.low[positions], table.high[positions]
        report["intervals"] = {
            "level": table.level,
            "per_question": coverage(*intervals, predicted.fractions, truth.fractions, labels.tree),
        }
    if has_classes:
        assert table.classes is not None
        classes = table.classes[positions]
        named = classes >= 0
        errors += [
            RowError(
                table.path, table.row_number(at), table.ids[at], "class", "blank; it is left out of the classes' scores"
            )
            for at in np.asarray(positions)[~named].tolist()
        ]
        if named.any():
            at = np.asarray(positions)[named]
            truth_of_named = truth.select(np.flatnonzero(named))
            report |= _class_reports(table, at, truth_of_named, resamples, seed)
    if split is not None:
        train = [row for row, id_ in enumerate(labels.ids) if split.get(id_) == "train"]
        if train:
            baselines, unread = baseline_votes(labels.votes.select(train), truth, images)
            errors += unread
            report["baselines"] = {
                name: _rmse_scores(baseline, truth, resamples, seed) for name, baseline in baselines.items()
            }
    return Evaluation(report, tuple(errors))


def _predicts(table: PredictionTable) -> tuple[bool, bool]:
    """Whether the model predicts votes, and classes; that it does not is no failure of its rows."""
    return (
        not np.isnan(table.votes.fractions).all(),
        table.classes is not None and bool((table.classes >= 0).any()),
    )


def _match_rows(
    table: PredictionTable,
    labels: LabelTable,
    split: Mapping[str, str] | None,
    subset: str,
) -> tuple[list[int], list[int], dict[str, int], list[RowError]]:
    """Rows of the labels and of the predictions, galaxy by galaxy; how many have no counterpart; those that failed."""
    has_votes, _ = _predicts(table)
    errors = [*labels.errors, *table.errors]
    reported = {error.id for error in table.errors}
    rows, positions, missing = [], [], []
    for row, id_ in enumerate(labels.ids):
        if split is not None and split.get(id_) != subset:
            continue
        at = table.votes.row_of.get(id_)
        if at is None:
            missing += [id_]
        elif table.votes.complete[at] or (table.classes is not None and not has_votes and table.classes[at] >= 0):
            rows.append(row)
            positions.append(at)
        elif id_ not in reported:
            errors.append(RowError(table.path, table.row_number(at), id_, "", "its prediction is blank"))
    labelled = {*labels.ids, *(error.id for error in labels.errors)}
    unlabelled = [id_ for id_ in table.ids if id_ not in labelled] if split is None else []
    if not rows:
        which = f" of the {subset} part" if split is not None else ""
        raise none_in_common((table.path, table.ids), (labels.path, labels.ids), errors, which)
    # Two tables of different galaxies are nothing wrong, but it must be known that not all of them were compared.
    unmatched = {
        "labels": warn_unmatched(table.path, "no prediction", [id_ for id_ in missing if id_ not in reported]),
        "predictions": warn_unmatched(labels.path, "no label", unlabelled),
    }
    return rows, positions, {name: count for name, count in unmatched.items() if count}, errors


def _vote_scores(predicted: VoteTable, truth: VoteTable, resamples: int, seed: int) -> dict[str, Any]:
    per_question = metrics.rmse_per_question(predicted.fractions, truth.fractions, truth.tree)
    return {
        **_rmse_scores(predicted, truth, resamples, seed),
        "rmse_per_question": {key: metrics.number_or_none(value) for key, value in per_question.items()},
        "largest_sum_violation": float(np.nanmax(np.abs(sum_violations(predicted.fractions, truth.tree)))),
    }


def _rmse_scores(predicted: VoteTable, truth: VoteTable, resamples: int, seed: int) -> dict[str, Any]:
    """RMSE on the galaxies whose votes are all known, and over all known columns, of those that are predicted."""
    truth = truth.select([truth.row_of[id_] for id_ in predicted.ids])

    errors = squared_errors(predicted.fractions, truth.fractions)

    def interval(rows: NDArray[np.bool_]) -> dict[str, float | None]:
        return Resamples.of(errors[rows], resamples, seed).interval(root_mean).to_dict()

    return {
        "rmse_complete_rows": interval(truth.complete),
        "rmse_known_columns": interval(np.ones(len(truth), bool)),
    }


def _class_reports(
    table: PredictionTable, at: NDArray[np.intp], truth: VoteTable, resamples: int, seed: int
) -> dict[str, Any]:
    """Scores of the class among galaxies that have one; and, if its probability is predicted, of none among them.

    Parameters
    ----------
    at : (N,) int
        Rows of the table that have a class, or none.
    truth : VoteTable
        Their votes.
    """
    tree, assigned, probability = truth.tree, table.classes, table.probability
    assert assigned is not None
    classes, names = assigned[at], [rule.name for rule in tree.classes]
    keys = [rule.key for rule in tree.classes]
    has_class = truth.classes >= 0
    class_probability = np.full((len(at), len(names)), np.nan) if probability is None else probability[at]
    # Of a galaxy that has a class the question is which one.
    nearest = classes if probability is None else class_probability.argmax(1)
    scores = _class_scores(
        nearest[has_class], class_probability[has_class], truth.classes[has_class], keys, None, resamples, seed
    )
    report: dict[str, Any] = {"classes": {**scores, "names": names}}
    if table.no_class_probability is not None and not np.isnan(table.no_class_probability[at]).any():
        none = table.no_class_probability[at, None]
        joint = np.concatenate([class_probability * (1 - none), none], 1)
        known = truth.classes > Status.UNDECIDED
        true = np.where(truth.classes < 0, len(names), truth.classes)
        # Without weights, classes that are often undecided would be too rare.
        weights = decision_weights(truth.fractions, tree)[known]
        scores = _class_scores(classes[known], joint[known], true[known], [*keys, "none"], weights, resamples, seed)
        for c, each in enumerate(scores["per_class"].values()):
            each |= {
                "true": float(weights[true[known] == c].sum()),
                "named": float(weights[classes[known] == c].sum()),
                "expected": float((weights * joint[known, c]).sum()),
            }
        undecided = int((~known).sum())
        report["classes_and_none"] = {**scores, "names": [*names, NO_CLASS], "undecided": undecided}
    return report


def _class_scores(
    predicted: NDArray[np.integer],
    probability: Floats,
    true: NDArray[np.integer],
    keys: Sequence[str],
    weights: Floats | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Scores of N galaxies: accuracy, macro averages, each class by its key, and the calibration error."""
    matrix = metrics.confusion_matrix(true, predicted, len(keys), weights)
    resampled = Resamples.of(confusion_cells(true, predicted, len(keys), weights), resamples, seed)

    intervals = resampled.intervals(lambda sums: [*metrics.overall(sums.reshape(matrix.shape)).values()])
    classes = metrics.per_class(matrix)
    return {
        "galaxies": len(true),
        **{name: each.to_dict() for name, each in zip(metrics.overall(matrix), intervals, strict=True)},
        "per_class": {
            key: {
                "galaxies": int((true == c).sum()),
                **{name: metrics.number_or_none(float(values[c])) for name, values in classes.items()},
            }
            for c, key in enumerate(keys)
        },
        "confusion_matrix": matrix.tolist(),
        "reliability": class_reliability(probability, true, weights, seed=seed),
    }
