"""Which format a file's extension asks for, what it needs, and what can be wrong with a table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .._utils.errors import TuningforkError

__all__ = [
    "MAX_REPORTED",
    "FORMATS",
    "VECTOR_FORMATS",
    "CatalogError",
    "RowError",
    "check_format",
    "needs_astropy",
    "table_format",
    "unreadable",
]

#: Row errors that are kept one by one; further ones are counted.
MAX_REPORTED = 1000

#: Extension → format.
FORMATS = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ecsv",
    ".vot": "votable",
    ".vo": "votable",
    ".xml": "votable",
    ".votable": "votable",
}
#: Those whose columns may hold vectors.
VECTOR_FORMATS = ("parquet", "fits", "votable", "ecsv")


class CatalogError(TuningforkError, ValueError):
    """A table that cannot be used as a whole; names the file, the column and the remedy."""


@dataclass(frozen=True, slots=True)
class RowError:
    """One row or file that cannot be used. `row` counts data rows from 1; 0 where there is no row to name."""

    file: str
    row: int
    id: str
    column: str
    reason: str

    def __str__(self) -> str:
        where = self.file + (f", row {self.row}" if self.row else "") + (f" ({self.id})" if self.id else "")
        return f"{where}{f', column {self.column}' if self.column else ''}: {self.reason}"


def table_format(path: str | os.PathLike[str]) -> str:
    """The format that a file's extension asks for. Raises CatalogError if it asks for none we know."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise CatalogError(f"{path}: extension {suffix or '(none)'} is none of {', '.join(FORMATS)}")
    return FORMATS[suffix]


def check_format(path: str | os.PathLike[str]) -> None:
    """Raise CatalogError now, rather than after hours of work, if a table cannot be written as `path` asks."""
    if table_format(path) in ("fits", "ecsv"):
        needs_astropy(path)


def needs_astropy(path: str | os.PathLike[str]) -> None:
    """Raise CatalogError if astropy is not installed."""
    try:
        import astropy.table  # noqa: F401
    except ImportError:
        raise CatalogError(f"{path}: this format needs astropy: pip install 'tuningfork[sky]'") from None


def unreadable(path: str | os.PathLike[str], kind: str, error: Exception) -> CatalogError:
    """A damaged or misnamed file, in one line."""
    why = " ".join(str(error).split())
    return CatalogError(f"{path}: cannot be read as {kind}: {why}; is the file whole, and its extension right?")
