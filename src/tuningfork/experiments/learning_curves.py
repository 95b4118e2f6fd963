"""Learning curves of active learning: error against number of labels, for random and ranked acquisition orders.

Labels are hidden and revealed in batches. A frozen network that was not trained on them gives features; on these a
softmax in each question is fitted anew after each batch, and selects the next one. All orders of one seed begin with
the same random galaxies, so that orders are compared in pairs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.files import atomic_file, write_text
from ..display.plots import learning_curves as plot_learning_curves
from ..similarity.pca import principal_components
from ..tables import RowError
from ..tables.csv import csv_text
from ..training.join import TrainingSet, read_training_set
from ..training.recipe import Recipe
from ..votes.label_table import read_labels
from ..votes.split_file import read_split
from ..votes.tree_files import load_tree
from .active_learning import ORDERS, Points, learning_curve
from .features import backbone_features
from .plan import StudyError

__all__ = ["SCORES", "CurveOptions", "measure_learning_curves", "summary"]

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
#: Principal components of the pool's features that the head sees. This and the prior were chosen once, with randomly
#: drawn labels of Galaxy Zoo 2, and are the same for all orders and numbers of labels.
COMPONENTS = 64
SCORES = {"rmse_complete_rows": "RMSE, complete rows", "rmse_known_columns": "RMSE, all known columns"}


@dataclass(frozen=True, slots=True)
class CurveOptions:
    """What a study of label efficiency measures.

    Parameters
    ----------
    numbers : tuple of int, rising
        Labels after each batch; those beyond the train part are left out.
    seeds : int
        Repeats, each from other first galaxies.
    orders : tuple of str
        Acquisition orders to compare, of `ORDERS`.
    split : Path, optional
        ``id,part`` as `tuningfork train` writes it; None: the recipe's own split. Labels are hidden in the train
        part, errors are of the validation part; the test part is not used.

    Raises
    ------
    StudyError
        If the numbers do not rise, or an order is unknown.
    """

    numbers: tuple[int, ...] = (25, 50, 100, 200, 400, 800, 1600)
    seeds: int = 5
    orders: tuple[str, ...] = tuple(ORDERS)
    split: Path | None = None

    def __post_init__(self) -> None:
        numbers = self.numbers
        if list(numbers) != sorted(set(numbers)) or not numbers or numbers[0] < 2:
            raise StudyError(f"numbers of labels {', '.join(map(str, numbers))}: they must rise, from 2 or more")
        if unknown := set(self.orders) - set(ORDERS):
            raise StudyError(f"no order {', '.join(sorted(unknown))}; there are {', '.join(ORDERS)}")


def measure_learning_curves(
    labels: Path,
    images: Sequence[Path],
    output: Path,
    recipe: Recipe,
    init: Path,
    options: CurveOptions = CurveOptions(),
) -> tuple[dict[str, Any], tuple[RowError, ...]]:
    """Measure learning curves, and write ``curves.csv``, ``curves.json`` and ``curves.svg`` into `output`.

    Parameters
    ----------
    recipe : Recipe
        Whose network, size, crop and split are used.
    init : Path
        Weights that were not trained on these labels; see `backbone_features`.

    Returns
    -------
    report : dict
        The content of ``curves.json``.
    errors : tuple of RowError
        Rows and images that could not be used.

    Raises
    ------
    StudyError
        If there are too few galaxies.
    """
    tree = load_tree(recipe.tree)
    output.mkdir(parents=True, exist_ok=True)
    data = read_training_set(read_labels(labels, tree), images, recipe)
    if options.split is not None:
        parts = read_split(options.split)
        data = replace(data, parts=np.array([parts.get(id_, "test") for id_ in data.ids]))
    rows = {part: data.rows(part) for part in ("train", "validation")}
    numbers = tuple(number for number in options.numbers if number <= len(rows["train"]))
    if not numbers or not len(rows["validation"]):
        raise StudyError(
            f"{len(rows['train'])} galaxies to learn from and {len(rows['validation'])} to judge by are too few"
        )
    used = np.concatenate([rows["train"], rows["validation"]])
    subset = replace(
        data, votes=data.votes.select(used), paths=tuple(data.paths[i] for i in used),
        parts=data.parts[used], cache_rows=data.cache_rows[used],
    )  # fmt: skip
    pool, judge = _points(backbone_features(subset, recipe, init, output / "features.npz"), subset)
    curves: list[dict[str, Any]] = []
    for order in options.orders:
        for seed in range(options.seeds):
            curve = learning_curve(pool, judge, tree, order, numbers, seed)
            curves += [{"order": order, "seed": seed, **row} for row in curve]
        last = [row["rmse_known_columns"] for row in curves if row["order"] == order and row["labels"] == numbers[-1]]
        logger.info("%s: RMSE over known columns %.4f at %d labels", order, np.mean(last), numbers[-1])
    report: dict[str, Any] = {
        "labels": str(labels), "labels_sha256": data.labels_sha256, "init": init.name, "network": recipe.network,
        "size": recipe.size, "pool": len(pool.known), "judged_on": len(judge.known),
        "judged_complete_rows": int((~np.isnan(judge.known).any(1)).sum()), "seeds": options.seeds,
        "orders": summary(curves),
    }  # fmt: skip
    write_text(output / "curves.csv", csv_text(curves))
    write_text(output / "curves.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    with atomic_file(output / "curves.svg") as partial:
        partial.write_bytes(plot_learning_curves(report["orders"], SCORES))
    return report, data.errors


def summary(curves: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By order and number of labels: mean and standard deviation over the seeds, and the difference to random.

    `gain` is random's score minus the order's of the same seed, with its standard error; `random_labels` are
    those that random order needs for the order's mean, interpolated in the logarithm, null beyond its ends.
    """
    table: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for row in sorted(curves, key=lambda row: row["seed"]):
        table.setdefault(row["order"], {}).setdefault(row["labels"], []).append(row)
    summaries: dict[str, list[dict[str, Any]]] = {order: [] for order in table}
    for order, by_number in table.items():
        for number, rows in by_number.items():
            entry: dict[str, Any] = {"labels": number, "complete_share": _mean(rows, "complete_share")}
            for name in SCORES:
                values = np.array([row[name] for row in rows])
                entry[name] = {"mean": _finite(values.mean()), "deviation": _finite(_deviation(values))}
                if "random" in table:
                    other = np.array([row[name] for row in table["random"][number]])
                    gains = other - values
                    curve = {n: _mean(each, name) for n, each in table["random"].items()}
                    entry[name] |= {
                        "gain": _finite(gains.mean()),
                        "gain_error": _finite(_deviation(gains) / np.sqrt(len(gains))),
                        "random_labels": _labels_for(float(values.mean()), curve),
                    }
            summaries[order].append(entry)
    return summaries


def _labels_for(score: float, curve: Mapping[int, float | None]) -> float | None:
    """Where a falling curve first reaches a score; None if it does not, or begins below it."""
    points = [(number, value) for number, value in sorted(curve.items()) if value is not None]
    for (n0, high), (n1, low) in pairwise(points):
        if low <= score <= high:
            part = 0.0 if high == low else (high - score) / (high - low)
            return float(np.exp(np.log(n0) + part * (np.log(n1) - np.log(n0))))
    return None


def _points(features: NDArray[np.float32], data: TrainingSet) -> tuple[Points, Points]:
    """Pool and judge on the pool's principal components, scaled to variance 1 on average."""
    pool, judge = data.rows("train"), data.rows("validation")
    mean, axes, variances = principal_components(features[pool].mean(1), COMPONENTS)
    scaled = ((features - mean) @ axes.T / (np.sqrt(variances.mean()) or 1.0)).astype(np.float64)
    return Points(scaled[pool], data.cumulative[pool]), Points(scaled[judge], data.cumulative[judge])


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    return _finite(np.mean([row[name] for row in rows]))


def _deviation(values: Floats) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
