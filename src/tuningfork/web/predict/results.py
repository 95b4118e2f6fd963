"""Results that are stored for download: tables in memory, the oldest dropped first."""

from __future__ import annotations

import secrets
from collections import OrderedDict
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

    def add(self, table: pa.Table, name: str = "") -> str:
        """Append a table to those of that name; returns the name, a new one if it is unknown."""
        if name not in self._tables:
            name = secrets.token_urlsafe(12)
            self._tables[name] = []
        self._tables[name].append(table)
        self._tables.move_to_end(name)
        while len(self._tables) > 1 and self._count() > self.max_rows:
            self._tables.popitem(last=False)
        while self._count() > self.max_rows and len(self._tables[name]) > 1:
            self._tables[name].pop(0)
        return name

    def table(self, name: str) -> pa.Table:
        """All rows of that name. Raises KeyError if there are none, or they were dropped."""
        return pa.concat_tables(self._tables[name])

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
