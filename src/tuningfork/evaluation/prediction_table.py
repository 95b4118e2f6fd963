"""Tables of predictions, read back: in the columns of `tuningfork predict`, or in a campaign's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..pipeline.merge import table_of
from ..tables import CatalogError, RowError
from ..tables.angles import is_blank
from ..tables.columns import about_table
from ..tables.numbers import float_column
from ..votes.fractions import cumulative_from_conditional
from ..votes.label_table import labels_from_table
from ..votes.tree import DecisionTree
from ..votes.vote_table import VoteTable

__all__ = [
    "PredictionTable",
    "id_name",
    "none_in_common",
    "none_usable",
    "predictions_from_table",
    "read_predictions",
    "warn_unmatched",
]

#: Identifiers that a warning names.
MAX_NAMES = 5
logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Predictions of N galaxies, read back from a table.

    Parameters
    ----------
    path : str
        The file's name, for messages.
    votes : VoteTable
    errors : tuple of RowError
        Rows that cannot be used, or have no prediction.
    classes : (N,) int64 or None
        Most probable class, C if none of them is more probable, -1 where blank; None if the table has no such column,
        as below.
    probability : (N, C) float64 or None
        Of the classes; NaN where blank.
    no_class_probability : (N,) float64 or None
        That a galaxy has none of the classes, of which `probability` is given that it has one; None if the table has no
        such column.
    low, high : (N, A) float64 or None
        Bounds of the intervals of the conditional fractions.
    level : float or None
        The share of galaxies whose fraction the intervals are to hold.
    rows : (N,) tuple of int
        Places in the table, from 0.
    about : mapping
        What the table says of itself, such as `model` and `model_sha256`.
    """

    path: str
    votes: VoteTable
    errors: tuple[RowError, ...]
    classes: NDArray[np.int64] | None = None
    probability: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    level: float | None = None
    rows: tuple[int, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    no_class_probability: Floats | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """(N,) identifiers."""
        return self.votes.ids

    def row_number(self, at: int) -> int:
        """Return the number, from 1, of the table's row that galaxy `at` comes from."""
        return (self.rows[at] if self.rows else at) + 1


def read_predictions(path: str | os.PathLike[str], tree: DecisionTree) -> PredictionTable:
    """Read a table or a folder of parts written by `tuningfork predict`, in its own columns or in the campaign's.

    Raises
    ------
    CatalogError
        If it has neither.
    ManifestError
        If a part of the folder is missing or damaged.
    """
    problems: dict[int, str] = {}
    return predictions_from_table(table_of(path, text=True, problems=problems), tree, path, problems)


def predictions_from_table(
    table: pa.Table, tree: DecisionTree, path: str | os.PathLike[str], problems: Mapping[int, str] | None = None
) -> PredictionTable:
    """Return the predictions of a table that is already in memory; `path` is named in errors."""
    names = set(table.column_names)
    id_column = id_name(table.column_names)
    if not set(tree.fraction_names) <= names or id_column is None:
        labels = labels_from_table(table, tree, path, problems)
        return PredictionTable(
            str(path), labels.votes, labels.errors, rows=labels.rows, about=about_table(table.schema)
        )
    renamed = table.select([id_column, *tree.fraction_names]).rename_columns([tree.id_columns[0], *tree.columns])
    fractions = labels_from_table(renamed, tree, path, problems)
    rows = dict(zip(fractions.ids, fractions.rows, strict=True))
    classes = None
    if tree.classes and "class" in names:
        cells = table["class"].to_pylist()
        classes = np.array([_class_number(cells[rows[i]], len(tree.classes), f"{path}, {i}") for i in fractions.ids])
    probability = _numbers(table, [f"class_{c}_probability" for c in range(len(tree.classes))], fractions.rows, path)
    no_class = _numbers(table, ["no_class_probability"], fractions.rows, path)
    if tree.classes and probability is not None and no_class is None and "clean" in names:
        raise CatalogError(
            f"{path}: written by an earlier version, whose classes did not come from the votes: column "
            "no_class_probability is missing; predict again, or drop class, class_name, clean and class_*_probability"
        )
    if classes is not None and no_class is not None:
        # "No clean class" has no number in the table.
        classes = np.where((classes < 0) & ~np.isnan(no_class[:, 0]), len(tree.classes), classes)
    own = dict(zip((tree.id_columns[0], *tree.columns), (id_column, *tree.fraction_names), strict=True))
    errors = [replace(error, column=own.get(error.column, error.column)) for error in fractions.errors]
    if "error" in names:
        reasons = table["error"].to_pylist()
        errors += [
            RowError(str(path), row + 1, id_, "error", str(reasons[row]))
            for id_, row in rows.items()
            if not is_blank(reasons[row])
        ]
    level = _numbers(table, ["interval_level"], fractions.rows, path)
    low, high = (
        _numbers(table, [f"{name}_{end}" for name in tree.answer_names], fractions.rows, path)
        for end in ("low", "high")
    )
    levels = set() if level is None else set(level[~np.isnan(level)].tolist())
    if len(levels) > 1:
        raise CatalogError(f"{path}: several interval_level; evaluate the predictions of one model at a time")
    has_intervals = levels and low is not None and high is not None
    return PredictionTable(
        str(path),
        VoteTable(tree, fractions.ids, cumulative_from_conditional(fractions.values, tree)),
        tuple(errors),
        classes=classes,
        probability=probability,
        low=low if has_intervals else None,
        high=high if has_intervals else None,
        level=levels.pop() if has_intervals else None,
        rows=fractions.rows,
        about=about_table(table.schema),
        no_class_probability=None if no_class is None else no_class[:, 0],
    )


def id_name(names: Sequence[str]) -> str | None:
    """The column of identifiers of a table of predictions: ``id``, else that in another case."""
    return "id" if "id" in names else next((name for name in names if name.strip().lower() == "id"), None)


def _class_number(cell: object, count: int, where: str) -> int:
    if is_blank(cell):
        return -1
    try:
        # 3.0, as pandas writes a column with a blank cell.
        decimal = float(cell)  # type: ignore[arg-type]
        number = int(decimal) if decimal.is_integer() else -1
    except (TypeError, ValueError, OverflowError):
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
        out[:, number], wrong = float_column(table[name].take(pa.array(rows, pa.int64())))
        for row, cell in wrong.items():
            raise CatalogError(f"{path}, row {rows[row] + 1}, column {name}: {cell!r} is not a number")
    return out


def none_usable(path: str, errors: Sequence[RowError]) -> CatalogError:
    """An error of a table without a row that can be used."""
    if not errors:
        return CatalogError(f"{path}: it has no rows")
    return CatalogError(f"{path}: none of its {len(errors)} rows can be used, such as {errors[0]}")


def none_in_common(
    first: tuple[str, Sequence[str]], second: tuple[str, Sequence[str]], errors: Sequence[RowError], which: str = ""
) -> CatalogError:
    """An error of two tables, each a path and its usable identifiers, that have no galaxy in common.

    Parameters
    ----------
    errors : sequence of RowError
        Of rows of either table.
    which : str
        Of which galaxies: `` of the test part``.
    """
    for path, ids in (second, first):
        if not ids:
            return none_usable(path, [error for error in errors if error.file == path])
    (path, ids), (other, others) = first, second
    return CatalogError(
        f"{path} and {other} have no galaxy{which} in common: {ids[0]!r}, … and {others[0]!r}, …; are their IDs of one "
        "kind?"
    )


def warn_unmatched(path: str, what: str, ids: Sequence[str]) -> int:
    """Warn of galaxies that only the other table has, and return how many they are.

    Parameters
    ----------
    path : str
        The table that lacks them.
    what : str
        What it lacks, such as ``no label``.
    """
    if ids:
        names = ", ".join(ids[:MAX_NAMES]) + (", …" if len(ids) > MAX_NAMES else "")
        logger.warning("%s: %s of %d of the galaxies, which are left out: %s", path, what, len(ids), names)
    return len(ids)
