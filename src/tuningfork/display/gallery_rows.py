"""The rows of a gallery: columns of a prediction table packed in bytes, read block by block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from .._utils.sampling import Shortlist
from ..tables.columns import is_true
from ..votes.description import descriptions
from ..votes.tree import DecisionTree
from .html import MAX_TEXT
from .prediction_columns import ShownColumns, absent_column, numbers, texts

__all__ = ["GalleryError", "GalleryRows"]

Bytes = NDArray[np.uint8]
#: Steps of a fraction from 0 to 1 in a byte, and the byte of what is not known.
_STEPS, _UNKNOWN = 200, 255


class GalleryError(TuningforkError, ValueError):
    """No gallery can be written; the message says why."""


@dataclass(frozen=True, eq=False)
class GalleryRows:
    """The N galaxies of a page, packed, of `total` in the table.

    Parameters
    ----------
    level : float or None
        Of the intervals.
    codes : mapping
        Columns of bytes: (N,), or (N, A) for fractions and the bounds of their intervals.
    extra : mapping
        Further columns, (N,).
    """

    tree: DecisionTree
    total: int
    level: float | None
    ids: list[str]
    paths: list[str]
    descriptions: list[str]
    messages: list[str]
    predicted: NDArray[np.bool_]
    codes: dict[str, Bytes]
    extra: dict[str, NDArray[np.float32]]

    @classmethod
    def read(
        cls, tables: Iterable[pa.Table], tree: DecisionTree, more: Sequence[str], most: int, seed: int
    ) -> GalleryRows:
        """Read blocks of a table; of more than `most` rows so many are drawn at random.

        Parameters
        ----------
        more : sequence of str
            Further columns of numbers.
        """
        shortlist, level = Shortlist(most, seed), None
        names: list[str] = []
        for table in tables:
            if not table.num_rows:
                continue
            listed_columns = _columns(table, tree, more)
            names = list(listed_columns)
            shortlist.add(np.ones(table.num_rows), *listed_columns.values())
            if level is None and "interval_level" in table.column_names:
                known = numbers(table, "interval_level")
                level = float(known[np.isfinite(known)][0]) if np.isfinite(known).any() else None
        _, columns = shortlist.finish()
        values: dict[str, Any] = dict(zip(names, columns, strict=True)) if columns else {}
        if not values:
            return cls(tree, 0, None, [], [], [], [], np.empty(0, bool), {}, {})
        listed = {name: values.pop(name).tolist() for name in ("id", "path", "description", "message")}
        extra = {name: values.pop(f"+{name}") for name in more}
        predicted = values.pop("predicted")
        return cls(
            tree, shortlist.total, level, listed["id"], listed["path"], listed["description"], listed["message"],
            predicted, values, extra,
        )  # fmt: skip


def _columns(table: pa.Table, tree: DecisionTree, extra: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Columns of a block, packed."""
    shown = ShownColumns.of(table, tree)
    count, classes = table.num_rows, len(tree.classes)
    words = {name: texts(table, name) for name in ("id", "path", "description", "class_name", "warning", "error")}
    marks = [is_true(text) for text in texts(table, "out_of_domain")]
    flags = np.array(marks, np.uint8) + 2 * np.array([bool(text) for text in words["warning"]], np.uint8)
    flags += 4 * np.array([bool(text) for text in words["error"]], np.uint8)
    if "description" not in table.column_names:  # a table of an earlier version
        words["description"] = list(descriptions(tree, shown.fractions))
    best = np.full(count, np.nan)
    if shown.class_probability is not None:
        known = shown.class_index >= 0
        best[known] = shown.class_probability[np.flatnonzero(known), shown.class_index[known]]
    out: dict[str, NDArray[Any]] = {
        "id": np.array(words["id"], object),
        "path": np.array(words["path"], object),
        "description": np.array(words["description"], object),
        "message": np.array([_message(w, e) for w, e in zip(words["warning"], words["error"], strict=True)], object),
        "predicted": shown.predicted,
        "class": np.where(shown.class_index < 0, _UNKNOWN, shown.class_index).astype(np.uint8),
        "clean": np.where(shown.clean_index < 0, _UNKNOWN, shown.clean_index).astype(np.uint8),
        "probability": _packed(best) if classes else np.full(count, _UNKNOWN, np.uint8),
        "flags": flags,
        "fractions": _packed(shown.fractions),
    }
    for end in ("low", "high"):
        names = [f"{name}_{end}" for name in tree.answer_names]
        has_columns = set(names) <= set(table.column_names)
        values = (
            np.column_stack([numbers(table, name) for name in names])
            if has_columns
            else np.full(shown.fractions.shape, np.nan)
        )
        out[end] = _packed(values)
    out.update({f"+{name}": numbers(table, _check_column(name, table)).astype(np.float32) for name in extra})
    return out


def _check_column(name: str, table: pa.Table) -> str:
    if name not in table.column_names:
        raise GalleryError(absent_column(name, table.column_names))
    return name


def _message(warning: str, error: str) -> str:
    text = f"No prediction: {error}" if error else warning
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _packed(values: NDArray[np.float64]) -> Bytes:
    """Numbers in [0, 1] as bytes; NaN as `_UNKNOWN`.

    Half a percent and more above a whole percent is a step of its own: the page shows the percentage that other outputs
    show, and a filter from 0.5 leaves 0.498 out. The margin is for numbers such as 0.57 in single precision.
    """
    steps = np.floor(np.clip(values, 0, 1) * _STEPS + 1e-4)
    return np.where(np.isnan(values), _UNKNOWN, steps).astype(np.uint8)
