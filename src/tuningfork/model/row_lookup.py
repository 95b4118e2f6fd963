"""Rows of a table in memory by number, ID, slice or mask."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.text import nearest

__all__ = ["RowLookup", "Rows"]

#: Which galaxies: a slice, a mask, or numbers or IDs.
Rows = slice | Sequence[int] | Sequence[str] | Sequence[bool] | NDArray[Any]
#: IDs that are compared with one that is not there.
MAX_NEAREST = 10_000


class RowLookup:
    """The rows of N galaxies.

    Parameters
    ----------
    ids : (N,) str
        Several galaxies may share one.
    columns : sequence of str
        Names of the table's columns, for the message if one is taken for an ID.
    """

    def __init__(self, ids: Sequence[str], columns: Sequence[str]) -> None:
        self._ids, self._columns = ids, columns
        self._rows: dict[str, list[int]] = {}
        for row, id_ in enumerate(ids):
            self._rows.setdefault(id_, []).append(row)

    def one(self, which: int | np.integer[Any] | str) -> int:
        """Return the row of a number, from the end if it is negative, or of an ID.

        Raises
        ------
        IndexError
            If there are fewer rows.
        KeyError
            If there is no galaxy of the ID, or several are.
        """
        if not isinstance(which, str):
            row, count = operator.index(which), len(self._ids)
            if not -count <= row < count:
                hint = f"; IDs are texts: predictions[{str(row)!r}]" if str(row) in self._rows else ""
                raise IndexError(f"galaxy {row} of {count}{hint}")
            return row % count
        rows = self._rows.get(which, [])
        if not rows:
            if which in self._columns:
                raise KeyError(f"no galaxy {which!r}; it is a column: predictions.to_pandas()[{which!r}]")
            raise KeyError(f"no galaxy {which!r}{nearest(which, self._ids[:MAX_NEAREST])}")
        if len(rows) > 1:
            numbers = f"{rows[0]} or another"
            raise KeyError(f"{len(rows)} galaxies have the ID {which!r}: choose one by its number, {numbers}")
        return rows[0]

    def several(self, rows: Rows) -> NDArray[np.int64]:
        """Return the rows of a slice, a mask (N,) of bool, or a sequence of numbers or of IDs.

        Raises
        ------
        TypeError
            If it is something else.
        IndexError, KeyError
            As `one`; also if a mask has another length.
        """
        numbers = np.arange(len(self._ids))
        if isinstance(rows, slice):
            return numbers[rows]
        chosen = np.asarray(rows)
        if chosen.dtype.kind in "UO" and chosen.size:
            chosen = np.array([self.one(str(id_)) for id_ in chosen])
        if chosen.dtype.kind not in "biu" and chosen.size:
            raise TypeError(f"rows are a slice, a mask, numbers or IDs; not {chosen.dtype}")
        return numbers[chosen if chosen.size else chosen.astype(int)]
