"""Journal of a download in SQLite: nothing that is done is lost, however the process ends."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from .cutout import Cutout

__all__ = ["Entry", "Journal"]


@dataclass(frozen=True, slots=True)
class Entry:
    """The result of a target: `path` within the folder and the provenance of the image, or an error.

    `row`, `id`, `ra`, `dec` and `size` are those of `targets.Target`.
    """

    row: int
    id: str
    ra: float
    dec: float
    size: float
    path: str = ""
    source: str = ""
    layer: str = ""
    pixel_scale: float = math.nan
    time: str = ""
    address: str = ""
    warning: str = ""
    error: str = ""

    @staticmethod
    def provenance(cutout: Cutout) -> dict[str, Any]:
        """The columns of where an image comes from, and its warning."""
        return {**asdict(cutout.provenance), "warning": cutout.warning}


_NAMES = [field.name for field in fields(Entry)]
#: Python's type → SQLite's.
_TYPES = {"int": "INTEGER", "str": "TEXT", "float": "REAL"}


class Journal:
    """The journal of a folder; used by one thread, and to be closed.

    Parameters
    ----------
    file : Path
        Created if it does not exist.

    Raises
    ------
    ValueError
        If the file is no such journal.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._database = sqlite3.connect(file)
        try:
            # A process that is killed loses nothing; a power failure may cost the last rows, which are done again.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            columns = ", ".join(f'"{f.name}" {_TYPES[str(f.type)]}' for f in fields(Entry)[1:])
            self._database.execute(f"CREATE TABLE IF NOT EXISTS done (row INTEGER PRIMARY KEY, {columns})")
            self._database.execute("CREATE TABLE IF NOT EXISTS run (identity TEXT)")
            self._database.commit()
            # Tables of another program, or of another version.
            self._database.execute(f"SELECT {', '.join(_NAMES)} FROM done LIMIT 0")
            self.identity()
        except (sqlite3.DatabaseError, ValueError) as error:
            self._database.close()
            raise ValueError(f"{file}: no journal of cutouts ({error}); delete it to begin anew") from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def identity(self) -> dict[str, object] | None:
        """What `begin` stored; None before."""
        row = self._database.execute("SELECT identity FROM run").fetchone()
        return json.loads(row[0]) if row else None

    def begin(self, identity: Mapping[str, object]) -> None:
        """Store what decides the images beside the targets."""
        self._database.execute("DELETE FROM run")
        self._database.execute("INSERT INTO run VALUES (?)", (json.dumps(dict(identity)),))
        self._database.commit()

    def get(self, row: int) -> Entry | None:
        """The entry of a row."""
        values = self._database.execute("SELECT * FROM done WHERE row = ?", (row,)).fetchone()
        return None if values is None else _entry(values)

    def put(self, entry: Entry) -> None:
        """Store the entry of a row, at once."""
        values = [None if value != value else value for value in astuple(entry)]  # SQLite has no NaN
        marks = ", ".join("?" * len(_NAMES))
        self._database.execute(f"INSERT OR REPLACE INTO done VALUES ({marks})", values)
        self._database.commit()

    def cut(self, rows: int) -> list[Entry]:
        """Remove and return the rows from this number on, which the catalogue has no more."""
        gone = [_entry(values) for values in self._database.execute("SELECT * FROM done WHERE row >= ?", (rows,))]
        self._database.execute("DELETE FROM done WHERE row >= ?", (rows,))
        self._database.commit()
        return gone

    def __iter__(self) -> Iterator[Entry]:
        """All rows, in the catalogue's order."""
        return map(_entry, self._database.execute("SELECT * FROM done ORDER BY row"))


def _entry(values: tuple[object, ...]) -> Entry:
    cells: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
    for field in fields(Entry):
        if cells[field.name] is None and str(field.type) == "float":
            cells[field.name] = math.nan
    return Entry(**cells)
