"""Predictions against volunteers' votes: scores with intervals, beside two baselines."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..images.find import find_images
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from ..images.read import read_image
from ..model.predictions import bound_name
from ..tables import CatalogError, RowError, read_table
from ..tables.identifiers import file_id
from ..votes import fractions as votes
from ..votes.label_table import VoteTable, read_votes, votes_from_table
from ..votes.tree import DecisionTree
from . import metrics
from .reliability import class_reliability, coverage

__all__ = [
    "Evaluation",
    "PredictionTable",
    "check_part",
    "evaluate",
    "nearest_neighbour_votes",
    "predictions_from_table",
    "read_predictions",
    "read_split",
]

Floats = NDArray[np.float64]
NEIGHBOURS = 25
_PIXELS = Preprocess(crop=0.5, size=32)


@dataclass(frozen=True)
class PredictionTable:
    """Predictions read back.

    Cumulative fractions (N, A) and, where the table has them, classes (N,) with probabilities (N, C) and
    the bounds (N, A) of intervals that promise `level`. `rows` (N,) are their places in the table, from 0.
    """

    ids: tuple[str, ...]
    cumulative: Floats
    errors: tuple[RowError, ...]
    classes: NDArray[np.int64] | None = None
    probability: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    level: float | None = None
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """Scores as plain numbers, in `report`; rows that could not be used, in `errors`."""

    report: dict[str, Any]
    errors: tuple[RowError, ...]


def read_predictions(path: str | os.PathLike[str], tree: DecisionTree) -> PredictionTable:
    """A table written by `tuningfork predict`, in our columns or in the campaign's.

    Raises
    ------
    CatalogError
        If it has neither.
    """
    return predictions_from_table(read_table(path, text=True), tree, path)


def predictions_from_table(table: pa.Table, tree: DecisionTree, path: str | os.PathLike[str]) -> PredictionTable:
    """`read_predictions` on a table that is already in memory; `path` is named in errors."""
    names = set(table.column_names)
    if not set(tree.fraction_names) <= names or "id" not in names:
        read = votes_from_table(table, tree, path)
        return PredictionTable(read.ids, votes.cumulative_from(read.values, tree), read.errors, rows=read.rows)
    renamed = table.select(["id", *tree.fraction_names]).rename_columns([tree.id_columns[0], *tree.columns])
    read = votes_from_table(renamed, tree, path)
    rows = dict(zip(read.ids, read.rows, strict=True))
    classes = None
    if tree.classes and "class" in names:
        cells = table["class"].to_pylist()
        classes = np.array([_class_number(cells[rows[i]], len(tree.classes), f"{path}, {i}") for i in read.ids])
    errors = list(read.errors)
    if "error" in names:
        reasons = table["error"].to_pylist()
        errors += [
            RowError(str(path), rows[i] + 1, i, "error", str(reasons[rows[i]])) for i in read.ids if reasons[rows[i]]
        ]
    level = _numbers(table, ["interval_level"], read.rows, path)
    low, high = (
        _numbers(table, [bound_name(name, end) for name in tree.fraction_names], read.rows, path)
        for end in ("low", "high")
    )
    promised = set() if level is None else set(level[~np.isnan(level)].tolist())
    if len(promised) > 1:
        raise CatalogError(f"{path}: several interval_level; evaluate the predictions of one model at a time")
    return PredictionTable(
        read.ids,
        votes.cumulative_from_conditional(read.values, tree),
        tuple(errors),
        classes,
        _numbers(table, [f"class_{c}_probability" for c in range(len(tree.classes))], read.rows, path),
        *((low, high, promised.pop()) if promised and low is not None and high is not None else (None, None, None)),
        read.rows,
    )


def read_split(path: str | os.PathLike[str]) -> dict[str, str]:
    """ID → part, from a CSV of ``id,part``. Raises CatalogError."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames is None or not {"id", "part"} <= set(reader.fieldnames):
                raise CatalogError(f"{path}: columns id and part are expected, as `tuningfork train` writes them")
            return {row["id"]: row["part"] for row in reader}
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror}") from None


def check_part(split: Mapping[str, str] | None, part: str) -> None:
    """Raise CatalogError if a split, ID → part, has no such part; no split has all."""
    if split is not None and part not in set(split.values()):
        raise CatalogError(f"the split has no part {part!r}; it has {', '.join(sorted(set(split.values())))}")


def evaluate(
    predictions: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    tree: DecisionTree,
    *,
    split: Mapping[str, str] | None = None,
    part: str = "test",
    images: Sequence[str | os.PathLike[str]] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compare a table of predictions with a label table, galaxy by galaxy.

    Parameters
    ----------
    split : mapping ID → part, optional
        Only galaxies of `part` are scored; those of "train" give the baseline of their mean votes
        and, with `images`, of the 25 nearest neighbours in 32×32 pixels.

    Raises
    ------
    CatalogError
        If a table cannot be used, or no galaxy is in both.
    """
    check_part(split, part)
    told = read_predictions(predictions, tree)
    known = read_votes(labels, tree)
    cumulative = votes.cumulative_from(known.values, tree)
    position = {id_: row for row, id_ in enumerate(told.ids)}
    wanted = [row for row, id_ in enumerate(known.ids) if split is None or split.get(id_) == part]
    # A model may tell only the votes, or only the classes; that is no failure of its rows.
    of_votes = not np.isnan(told.cumulative).all()
    of_classes = told.classes is not None and bool((told.classes >= 0).any())
    errors = [*known.errors, *told.errors]
    reported = {error.id for error in told.errors}
    rows = []
    for row in wanted:
        at = position.get(known.ids[row])
        if at is None:
            errors.append(RowError(str(predictions), 0, known.ids[row], "", "no prediction of this ID"))
        elif not np.isnan(told.cumulative[at]).any() or (of_classes and not of_votes and told.classes[at] >= 0):
            rows.append((row, at))
        elif known.ids[row] not in reported:
            errors.append(RowError(str(predictions), at + 1, known.ids[row], "", "its prediction is blank"))
    if split is None:
        labelled = set(known.ids) | {error.id for error in known.errors}
        errors += [
            RowError(str(labels), 0, id_, "", "no row of this ID among the labels")
            for id_ in told.ids
            if id_ not in labelled
        ]
    if not rows:
        what = f" of the {part} part" if split is not None else ""
        raise CatalogError(f"{predictions} and {labels} have no galaxy{what} in common; are their IDs of one kind?")
    here = [row for row, _ in rows]
    at = [a for _, a in rows]
    report: dict[str, Any] = {
        "predictions": str(predictions),
        "labels": str(labels),
        "part": part if split is not None else "all",
        "galaxies": len(rows),
        "complete_rows": int((~np.isnan(cumulative[here]).any(1)).sum()),
        **(_vote_scores(told.cumulative[at], cumulative[here], tree, resamples, seed) if of_votes else {}),
    }
    if told.level is not None:
        report["intervals"] = {
            "level": told.level,
            "per_question": coverage(told.low[at], told.high[at], told.cumulative[at], cumulative[here], tree),
        }
    if of_classes:
        classes = told.classes[at]
        named = classes >= 0
        errors += [
            RowError(str(predictions), a + 1, told.ids[a], "class", "blank; it is left out of the classes' scores")
            for a in np.asarray(at)[~named]
        ]
        if named.any():
            unknown = np.full((len(rows), len(tree.classes)), np.nan)
            probability = unknown if told.probability is None else told.probability[at]
            report["classes"] = _class_scores(
                classes[named], probability[named], cumulative[here][named], tree, resamples, seed
            )
    if split is not None:
        train = [row for row, id_ in enumerate(known.ids) if split.get(id_) == "train"]
        if train:
            report["baselines"], trouble = _baselines(known, cumulative, train, here, images, tree, resamples, seed)
            errors += trouble
    return Evaluation(report, tuple(errors))


def nearest_neighbour_votes(
    train: Floats, train_pixels: NDArray[np.float32], pixels: NDArray[np.float32], neighbours: int = NEIGHBOURS
) -> Floats:
    """The mean votes of each galaxy's nearest neighbours in pixel space.

    Parameters
    ----------
    train : (M, A), NaN unknown
        A column's neighbours are sought among the galaxies where it is known.
    train_pixels : (M, D) float32
    pixels : (N, D) float32

    Returns
    -------
    (N, A) float64
    """
    square = (train_pixels**2).sum(1)
    distance = square[None] - 2 * pixels @ train_pixels.T
    out = np.full((len(pixels), train.shape[1]), np.nan)
    patterns: dict[bytes, list[int]] = {}
    for column in range(train.shape[1]):
        patterns.setdefault(np.isnan(train[:, column]).tobytes(), []).append(column)
    for pattern, columns in patterns.items():
        known = np.flatnonzero(~np.frombuffer(pattern, bool))
        if len(known):
            count = min(neighbours, len(known))
            nearest = known[np.argpartition(distance[:, known], count - 1, axis=1)[:, :count]]
            out[:, columns] = train[nearest][:, :, columns].mean(1)
    return out


def _class_number(cell: object, count: int, where: str) -> int:
    if cell is None or cell == "":
        return -1
    try:
        number = int(cell)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < count:
        raise CatalogError(f"{where}, column class: {cell!r} is none of 0…{count - 1}; leave it blank if it is unknown")
    return number


def _numbers(table: pa.Table, names: Sequence[str], rows: Sequence[int], path: object) -> Floats | None:
    """Those columns at those rows, (N, K), NaN where blank; None if the table has not all of them."""
    if not set(names) <= set(table.column_names):
        return None
    out = np.empty((len(rows), len(names)))
    for number, name in enumerate(names):
        try:
            out[:, number] = pc.fill_null(
                table[name].take(pa.array(rows, pa.int64())).cast(pa.float64()), math.nan
            ).to_numpy()
        except pa.ArrowInvalid as error:
            raise CatalogError(f"{path}, column {name}: {error}") from None
    return out


def _vote_scores(predicted: Floats, known: Floats, tree: DecisionTree, resamples: int, seed: int) -> dict[str, Any]:
    def interval(told: Floats, true: Floats) -> dict[str, float | None]:
        def score(rows: NDArray[np.int64]) -> float:
            return metrics.rmse(told[rows], true[rows])

        return metrics.bootstrap(score, len(true), resamples=resamples, seed=seed).to_dict()

    complete = ~np.isnan(known).any(1)
    return {
        "rmse_complete_rows": interval(predicted[complete], known[complete]),
        "rmse_known_columns": interval(predicted, known),
        "rmse_per_question": {
            key: metrics.number_or_none(value)
            for key, value in metrics.rmse_per_question(predicted, known, tree).items()
        },
        "largest_sum_violation": float(np.nanmax(np.abs(votes.sum_violations(predicted, tree)))),
    }


def _class_scores(
    classes: NDArray[np.int64], probability: Floats, known: Floats, tree: DecisionTree, resamples: int, seed: int
) -> dict[str, Any]:
    truth = votes.classify(known, tree).astype(int)
    decided = truth >= 0
    truth, told = truth[decided], classes[decided]
    count = len(tree.classes)
    matrix = metrics.confusion_matrix(truth, told, count)

    def interval(score: Any) -> dict[str, float | None]:
        return metrics.bootstrap(
            lambda r: score(metrics.confusion_matrix(truth[r], told[r], count)),
            len(truth),
            resamples=resamples,
            seed=seed,
        ).to_dict()

    each = metrics.per_class(matrix)
    return {
        "galaxies": int(decided.sum()),
        "names": [rule.name for rule in tree.classes],
        "accuracy": interval(metrics.accuracy),
        **{f"macro_{name}": interval(lambda m, n=name: metrics.macro(m)[n]) for name in ("precision", "recall", "f1")},
        "per_class": {
            rule.key: {
                "galaxies": int(matrix[c].sum()),
                **{name: metrics.number_or_none(float(values[c])) for name, values in each.items()},
            }
            for c, rule in enumerate(tree.classes)
        },
        "confusion_matrix": matrix.tolist(),
        "reliability": class_reliability(probability[decided], truth, seed=seed),
    }


def _baselines(
    known: VoteTable,
    cumulative: Floats,
    train: list[int],
    here: list[int],
    images: Sequence[str | os.PathLike[str]],
    tree: DecisionTree,
    resamples: int,
    seed: int,
) -> tuple[dict[str, Any], list[RowError]]:
    def scores(predicted: Floats, rows: list[int]) -> dict[str, Any]:
        all_scores = _vote_scores(predicted, cumulative[rows], tree, resamples, seed)
        return {key: all_scores[key] for key in ("rmse_complete_rows", "rmse_known_columns")}

    with np.errstate(invalid="ignore"):
        mean = np.nanmean(cumulative[train], 0)
    out = {"mean_of_training_votes": scores(np.tile(mean, (len(here), 1)), here)}
    errors: list[RowError] = []
    if images:
        files = {file_id(path.name): path for path in find_images(images)}

        def pixels(rows: list[int]) -> tuple[list[int], NDArray[np.float32]]:
            good, found = [], []
            for row in rows:
                id_ = known.ids[row]
                try:
                    if id_ not in files:
                        raise ImageError("no picture of this ID")
                    found.append(_PIXELS(read_image(files[id_]).rgb).ravel())
                    good.append(row)
                except ImageError as error:
                    errors.append(RowError(str(files.get(id_, "")) or known.path, 0, id_, "", str(error)))
            return good, np.array(found, np.float32)

        train_rows, train_pixels = pixels(train)
        rows, test_pixels = pixels(here)
        if train_rows and rows:
            near = nearest_neighbour_votes(cumulative[train_rows], train_pixels, test_pixels)
            out[f"{NEIGHBOURS}_nearest_neighbours_32x32"] = scores(near, rows)
    return out, errors
