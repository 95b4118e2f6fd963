"""Files of a run folder beside the bundle: learning curves, result, predictions, truth."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.files import write_text
from ..model.model import Model
from ..model.options import InferenceOptions
from ..model.predictions import concatenated
from ..pipeline.in_process import predict_batches
from ..tables import Column, arrow_schema, table_writer, ucd
from ..tables.csv import csv_text
from ..tables.csv_rows import read_dicts
from ..votes.clean_samples import classify
from ..votes.tree import DecisionTree
from .join import TrainingSet

__all__ = ["Curves", "peak_memory_mb", "write_predictions", "write_result", "write_truth"]

#: The parts of the split that a training does not learn from.
HELD_OUT = ("validation", "test")


class Curves:
    """``curves.csv``: one row an epoch, rewritten each time; a resumed training continues it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        if path.exists():
            self.rows = [{key: float(cell) for key, cell in row.items() if cell} for row in read_dicts(path)]

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write an epoch (counted from 1); epochs that were written before and are repeated are dropped."""
        self.rows = [row for row in self.rows if row["epoch"] < epoch]
        self.rows.append({"epoch": float(epoch), **values})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        rows = ({name: row.get(name, "") for name in names} | {"epoch": int(row["epoch"])} for row in self.rows)
        write_text(self.path, csv_text(rows))

    def validation(self, epoch: int, monitor: str, best: Any) -> dict[str, float]:
        """Validation figures of an epoch; `monitor` and its best value if the file lacks it."""
        for row in self.rows:
            if row["epoch"] == epoch:
                return {key: value for key, value in row.items() if key.startswith("val_")}
        return {monitor: float(best)}

    @property
    def seconds(self) -> float:
        """Time of all epochs, also of those before an interruption."""
        return sum(row.get("seconds", 0.0) for row in self.rows)

    @property
    def data_wait(self) -> float:
        """Share of that time for which the training waited for images, in [0, 1]."""
        return sum(row.get("data_wait", 0.0) * row.get("seconds", 0.0) for row in self.rows) / max(self.seconds, 1e-9)


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in megabytes (10⁶ bytes)."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """``result.json``, the last file of a run: where it is, the run is complete."""
    write_text(path, json.dumps({"format": "tuningfork-run", "version": 1, **result}, indent=1, allow_nan=False) + "\n")


def _held_out(data: TrainingSet) -> NDArray[np.int64]:
    return np.flatnonzero(np.isin(data.parts, HELD_OUT))


def write_truth(path: Path, data: TrainingSet, tree: DecisionTree) -> None:
    """Parquet of the validation and test parts: id, path, part, the known cumulative fractions, the class.

    The class is its number, or `Status`'s -1 (fits none) or -2 (undecided).
    """
    rows = _held_out(data)
    known = data.cumulative[rows]
    columns = [
        Column("id", pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER),
        Column("path", pa.string(), "Image file", ucd=ucd.FILE),
        Column("part", pa.string(), "Part of the split: validation or test", ucd=ucd.SAMPLE),
        *(
            Column(name, pa.float64(), f"Volunteers' cumulative fraction {name}; NaN: unknown", "", ucd.VOTES)
            for name in tree.columns
        ),
        Column("class", pa.int8(), "Class by the clean-sample rules; -1 fits none, -2 undecided", ucd=ucd.CLASS),
    ]
    _write(
        path,
        columns,
        [
            [data.ids[i] for i in rows],
            [str(data.paths[i]) for i in rows],
            data.parts[rows].tolist(),
            *known.T,
            classify(known, tree),
        ],
    )


def write_predictions(path: Path, model: Model, data: TrainingSet, *, batch: int = 64) -> None:
    """Parquet of the model's own predictions of the validation and test parts, through the predicting path.

    id, part, the cumulative fractions (of a model of votes), ``class_K_probability`` (of a model of classes).
    """
    rows, tree = _held_out(data), model.tree
    predictions = concatenated(
        tree, list(predict_batches(model, [data.paths[i] for i in rows], InferenceOptions(batch_size=batch)))
    )
    answers, classes = model.bundle.outputs.widths(tree)
    columns = [
        Column("id", pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER),
        Column("part", pa.string(), "Part of the split: validation or test", ucd=ucd.SAMPLE),
    ]
    values: list[Any] = [[data.ids[i] for i in rows], data.parts[rows].tolist()]
    if answers:
        columns += [
            Column(name, pa.float64(), f"Predicted cumulative fraction {name}", "", ucd.FRACTION)
            for name in tree.columns
        ]
        values += list(predictions.cumulative.T)
    if classes:
        columns += [
            Column(
                f"class_{number}_probability",
                pa.float64(),
                f"Probability of class {number}, {rule.name}",
                "",
                ucd.CLASS_PROBABILITY,
            )
            for number, rule in enumerate(tree.classes)
        ]
        values += list(predictions.class_probability.T)
    _write(path, columns, values)


def _write(path: Path, columns: list[Column], values: list[Any]) -> None:
    table = pa.table([pa.array(each) for each in values], schema=arrow_schema(columns))
    with table_writer(path, table.schema) as write:
        write(table)
