"""Columns as numbers, whatever stands for nothing in them: null, NaN, blank text, or a word such as NA."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .angles import is_blank

__all__ = ["float_column"]


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
        return np.array(pc.fill_null(column.cast(pa.float64()), math.nan).to_numpy()), {}
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
