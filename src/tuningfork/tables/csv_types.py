"""The type of a CSV's column, by its cells: truths, integers and decimal numbers where nothing is lost, else text."""

from __future__ import annotations

from collections.abc import Container

import pyarrow as pa
import pyarrow.compute as pc

from .numbers import without_blanks

__all__ = ["typed_column"]

#: Leading zeros, and more digits than a float holds, are those of identifiers.
_IDENTIFIER = r"^[+-]?(0[0-9]+$|[0-9]{16})"


def typed_column(column: pa.ChunkedArray, is_id: bool = False, wrong: Container[int] = ()) -> pa.ChunkedArray:
    """Convert a column of text to the type that all its cells have.

    Parameters
    ----------
    column : chunked array of text
    is_id : bool
        Whether it holds identifiers, which decimal numbers do not.
    wrong : container of int
        Rows that do not count, and are null in a column that is no text.

    Returns
    -------
    chunked array of bool, int64 or float64
        Null where a cell is blank or a word for nothing, see `angles.is_blank`; or the column itself.

    Examples
    --------
    >>> [str(typed_column(pa.chunked_array([cells])).type) for cells in (["1", "NA"], ["1", ".5"], ["01", "2"])]
    ['int64', 'double', 'string']
    """
    cells = column
    if wrong:
        cells = pc.if_else(pa.array([row not in wrong for row in range(len(column))]), column, None)
    cells = without_blanks(cells)
    if cells.null_count == len(cells):
        return column
    if pc.all(pc.is_in(pc.utf8_lower(cells), pa.array(["true", "false", None]))).as_py():
        return pc.equal(pc.utf8_lower(cells), "true")
    try:
        numbers = cells.cast(pa.int64())
        if numbers.cast(pa.string()).equals(cells):
            return numbers
    except pa.ArrowInvalid:
        pass
    if is_id or pc.any(pc.match_substring_regex(cells, _IDENTIFIER)).as_py():
        return column
    try:
        return cells.cast(pa.float64())
    except pa.ArrowInvalid:
        return column
