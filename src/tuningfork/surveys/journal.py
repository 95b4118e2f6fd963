"""What has become of each place, in SQLite: nothing that is done is lost, however the process ends."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from .cutout import Cutout

__all__ = ["Done", "Journal"]


@dataclass(frozen=True, slots=True)
class Done:
    """A place that was tried: `path` within the folder and where the picture comes from, or an error.

    `row`, `id`, `ra`, `dec` and `size` are those of `places.Place`.
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
    def told(cutout: Cutout) -> dict[str, Any]:
        """The columns that say where a picture comes from, and what to tell of it."""
        return {**asdict(cutout.provenance), "warning": cutout.warning}


_NAMES = [field.name for field in fields(Done)]
#: Python's type → SQLite's.
_TYPES = {"int": "INTEGER", "str": "TEXT", "float": "REAL"}


class Journal:
    """The journal of a folder; one thread's, and to be closed.

    Parameters
    ----------
    file : Path
        Made if it is not there.

    Raises
    ------
    ValueError
        If the file is no journal of ours.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._database = sqlite3.connect(file)
        try:
            # A process that is killed loses nothing; a power failure may cost the last rows, which are done again.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            columns = ", ".join(f'"{f.name}" {_TYPES[str(f.type)]}' for f in fields(Done)[1:])
            self._database.execute(f"CREATE TABLE IF NOT EXISTS done (row INTEGER PRIMARY KEY, {columns})")
            self._database.execute("CREATE TABLE IF NOT EXISTS told (what TEXT)")
            self._database.commit()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise ValueError(f"{file}: no journal of cutouts ({error}); delete it to begin anew") from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def identity(self) -> dict[str, object] | None:
        """What `begin` was told; None before."""
        found = self._database.execute("SELECT what FROM told").fetchone()
        return json.loads(found[0]) if found else None

    def begin(self, identity: Mapping[str, object]) -> None:
        """Keep what decides the pictures beside the places."""
        self._database.execute("DELETE FROM told")
        self._database.execute("INSERT INTO told VALUES (?)", (json.dumps(dict(identity)),))
        self._database.commit()

    def get(self, row: int) -> Done | None:
        """What has become of a row."""
        found = self._database.execute("SELECT * FROM done WHERE row = ?", (row,)).fetchone()
        return None if found is None else _done(found)

    def put(self, done: Done) -> None:
        """Write down what has become of a row, at once."""
        values = [None if value != value else value for value in astuple(done)]  # SQLite has no NaN
        marks = ", ".join("?" * len(_NAMES))
        self._database.execute(f"INSERT OR REPLACE INTO done VALUES ({marks})", values)
        self._database.commit()

    def cut(self, rows: int) -> list[Done]:
        """Forget the rows from this number on, which the catalogue has no more; gives them."""
        gone = [_done(found) for found in self._database.execute("SELECT * FROM done WHERE row >= ?", (rows,))]
        self._database.execute("DELETE FROM done WHERE row >= ?", (rows,))
        self._database.commit()
        return gone

    def __iter__(self) -> Iterator[Done]:
        """All rows, in the catalogue's order."""
        return map(_done, self._database.execute("SELECT * FROM done ORDER BY row"))


def _done(values: tuple[object, ...]) -> Done:
    told: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
    for field in fields(Done):
        if told[field.name] is None and str(field.type) == "float":
            told[field.name] = math.nan
    return Done(**told)
