"""Results that wait for their download: tables in memory, the oldest forgotten first."""

from __future__ import annotations

import secrets
import tempfile
from collections import OrderedDict
from pathlib import Path

import pyarrow as pa

from ...tables import FORMATS, table_writer

__all__ = ["MEDIA_TYPES", "KeptResults", "table_bytes"]

#: Format → media type of a download.
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "fits": "application/fits",
    "ecsv": "text/plain; charset=utf-8",
    "votable": "application/x-votable+xml",
}


class KeptResults:
    """Tables by a secret name; of all of them no more than so many rows are kept."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._tables: OrderedDict[str, list[pa.Table]] = OrderedDict()

    def keep(self, table: pa.Table, name: str = "") -> str:
        """Keep a table, behind those that have the name already; gives the name, a new one if it is unknown."""
        if name not in self._tables:
            name = secrets.token_urlsafe(12)
            self._tables[name] = []
        self._tables[name].append(table)
        self._tables.move_to_end(name)
        while len(self._tables) > 1 and self._count() > self.rows:
            self._tables.popitem(last=False)
        while self._count() > self.rows and len(self._tables[name]) > 1:
            self._tables[name].pop(0)
        return name

    def table(self, name: str) -> pa.Table:
        """All rows of that name. Raises KeyError if they are unknown, or no longer kept."""
        return pa.concat_tables(self._tables[name])

    def _count(self) -> int:
        return sum(table.num_rows for tables in self._tables.values() for table in tables)


def table_bytes(table: pa.Table, extension: str) -> bytes:
    """A table as a file of that extension, such as ``csv`` or ``vot``. Raises CatalogError as `table_writer` does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"tuningfork.{extension}"
        with table_writer(path, table.schema) as write:
            write(table)
        return path.read_bytes()


def format_of(extension: str) -> str | None:
    """The format of an extension, None if it is unknown."""
    return FORMATS.get(f".{extension}")
