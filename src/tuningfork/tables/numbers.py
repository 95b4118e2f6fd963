"""Columns as numbers, whatever stands for nothing in them: null, NaN, blank text, or a word such as NA."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .angles import BLANK, is_blank

__all__ = ["float_column", "without_blanks"]


def float_column(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], dict[int, object]]:
    """Convert a column to numbers.

    Returns
    -------
    values : (N,) float64
        NaN where a cell is blank, see `angles.is_blank`, or no number.
    wrong : dict
        Row, from 0, → a cell that is neither blank nor a number.

    Examples
    --------
    >>> import pyarrow as pa
    >>> float_column(pa.chunked_array([["0.5", "NA", "", "0,5"]]))
    (array([0.5, nan, nan, nan]), {3: '0,5'})
    """
    try:
        known = without_blanks(column) if pa.types.is_string(column.type) else column
        return np.array(pc.fill_null(known.cast(pa.float64()), math.nan).to_numpy()), {}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values, wrong = np.full(len(column), math.nan), {}
    for row, cell in enumerate(column.to_pylist()):
        if is_blank(cell):
            continue
        try:
            values[row] = float(str(cell).strip())
        except ValueError:
            wrong[row] = cell
    return values, wrong


def without_blanks(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text without blanks around its cells, and null where `angles.is_blank` says so."""
    cells = pc.utf8_trim(column, " \0\t\r\n")
    is_blank_ = pc.or_(pc.is_in(pc.utf8_lower(cells), pa.array(sorted(BLANK))), pc.match_substring_regex(cells, "^#*$"))
    return pc.if_else(is_blank_, None, cells)
