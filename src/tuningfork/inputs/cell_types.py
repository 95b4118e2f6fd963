"""Cells of a catalogue as the types of the output's columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa

from .._utils.text import text
from ..tables.angles import is_blank
from ..tables.columns import is_true

__all__ = ["converted", "converted_row"]


def converted(value: object, kind: pa.DataType) -> object:
    """A cell as the column's type: the text of a CSV as a number, a blank as None.

    Raises
    ------
    ValueError
        If the text is no number.
    """
    if value is None:
        return None
    if pa.types.is_string(kind):
        # A blank text is text; bytes that are no UTF-8 are written out.
        return text(value) if isinstance(value, str) else str(value)
    if isinstance(value, str):
        if is_blank(value):
            return None
        if pa.types.is_boolean(kind):
            return is_true(value)
        return int(value) if pa.types.is_integer(kind) else float(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def converted_row(values: Sequence[object], kinds: Sequence[pa.DataType]) -> list[object]:
    """The cells of a row as the columns' types; None for one that cannot be read."""
    cells: list[object] = []
    for value, kind in zip(values, kinds, strict=True):
        try:
            cells.append(converted(value, kind))
        except ValueError:
            cells.append(None)
    return cells
