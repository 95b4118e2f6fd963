"""Results that are stored for download: tables in memory, the oldest dropped first."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ...tables import formats, table_writer

__all__ = ["MEDIA_TYPES", "ResultStore", "format_of", "write_result"]

#: Format → media type of a download.
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "fits": "application/fits",
    "ecsv": "text/plain; charset=utf-8",
    "votable": "application/x-votable+xml",
}


class ResultStore:
    """Tables under secret names, with a maximum number of rows of all of them together."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._tables: OrderedDict[str, list[pa.Table]] = OrderedDict()
        #: Rows of each name that were dropped: the rows that are left keep their numbers.
        self._dropped: dict[str, int] = {}

    def add(self, table: pa.Table, name: str = "") -> tuple[str, int]:
        """Append a table to those of that name; a new one if it is unknown.

        Returns
        -------
        name : str
        first : int
            Number of the table's first row among all that were added under the name, from 0.
        """
        if name not in self._tables:
            name = secrets.token_urlsafe(12)
            self._tables[name], self._dropped[name] = [], 0
        first = self._dropped[name] + sum(each.num_rows for each in self._tables[name])
        self._tables[name].append(table)
        self._tables.move_to_end(name)
        while len(self._tables) > 1 and self._count() > self.max_rows:
            self._dropped.pop(self._tables.popitem(last=False)[0])
        while self._count() > self.max_rows and len(self._tables[name]) > 1:
            self._dropped[name] += self._tables[name].pop(0).num_rows
        return name, first

    def table(self, name: str, rows: Sequence[int] = ()) -> pa.Table:
        """The rows of that name with these numbers, in this order; all of them if there are no numbers.

        Raises
        ------
        KeyError
            If there are none, or one of them was dropped.
        """
        table = pa.concat_tables(self._tables[name])
        if not rows:
            return table
        places = [row - self._dropped[name] for row in rows]
        if not all(0 <= place < table.num_rows for place in places):
            raise KeyError(name)
        return table.take(pa.array(places, pa.int64()))

    def _count(self) -> int:
        return sum(table.num_rows for tables in self._tables.values() for table in tables)


def write_result(table: pa.Table, path: Path) -> None:
    """Write a table to a file of its extension. Raises CatalogError as `table_writer` does."""
    with table_writer(path, table.schema) as write:
        write(table)


def format_of(extension: str) -> str | None:
    """The table format of an extension without dot, None if it is unknown."""
    kind = formats().get(f".{extension}")
    return kind.name if kind else None
