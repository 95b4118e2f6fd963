"""Table formats: one object each, in one registry, by the extensions of files."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from .._utils.compression import DAMAGE, MAGIC_SIZE, compression_of, decompressed, has_compression, inner_name
from .._utils.errors import TuningforkError
from .._utils.extras import install_hint
from .._utils.text import one_line

__all__ = [
    "ECSV",
    "MAX_REPORTED",
    "CatalogError",
    "Format",
    "RowError",
    "check_format",
    "format_of",
    "holds_ecsv",
    "formats",
    "has_format",
    "needs_astropy",
    "readable",
    "unpacked",
    "unreadable",
]

logger = logging.getLogger(__name__)

#: How a file of ECSV begins, astropy's own format, whose header has the units that CSV has no place for.
ECSV = "# %ECSV"
#: Row errors that are reported one by one; further ones are counted.
MAX_REPORTED = 1000
#: Bytes that a compressed table may unpack to.
MAX_UNPACKED = 64 * 2**30
#: Our own formats, in the order in which help and errors list them; each module has its `FORMAT`.
_MODULES = ("csv", "parquet", "fits", "ecsv", "votable")
#: Other packages add theirs by this group of entry points, each a `Format`.
ENTRY_POINTS = "tuningfork.formats"


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


Writer = Callable[[pa.Table], None]


@dataclass(frozen=True)
class Format:
    """A table format.

    Parameters
    ----------
    name : str
    extensions : tuple of str
        Of its files, with the dot, in lower case.
    read : callable
        Called with a path; returns the whole table as `pyarrow.Table`, with `columns.meaning` of its fields.
    write : callable
        Called with a path and a schema; a context manager that gives a function which appends tables.
    vectors : bool
        Whether its columns may hold vectors.
    astropy : bool
        Whether it needs astropy.
    companion : callable, optional
        Called with the path and the schema after the file is written, to write what comes beside it.
    """

    name: str
    extensions: tuple[str, ...]
    read: Callable[..., pa.Table]
    write: Callable[[Path, pa.Schema], AbstractContextManager[Writer]]
    vectors: bool = True
    astropy: bool = False
    companion: Callable[[Path, pa.Schema], Any] | None = None


@cache
def formats() -> dict[str, Format]:
    """All formats by extension: our own, and those of other packages' entry points."""
    from importlib.metadata import entry_points

    available = [import_module(f".{name}", __package__).FORMAT for name in _MODULES]
    for point in entry_points(group=ENTRY_POINTS):
        try:
            available.append(point.load())
        except Exception as error:  # another package's fault must not keep our own formats from being read
            logger.warning("table format %s (%s) cannot be loaded: %s", point.name, point.value, one_line(error))
    registry: dict[str, Format] = {}
    for each in available:
        for extension in each.extensions:
            registry.setdefault(extension, each)
    return registry


def _extension(path: str | os.PathLike[str]) -> str:
    return Path(inner_name(path)).suffix.lower()


def has_format(path: str | os.PathLike[str]) -> bool:
    """Whether a file's extension, also before ``.gz`` or ``.bz2``, is that of a table."""
    return _extension(path) in formats()


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format that a file's extension, also before ``.gz`` or ``.bz2``, asks for.

    Raises
    ------
    CatalogError
        If it asks for none we know.
    """
    extension = _extension(path)
    known = formats()
    if extension not in known:
        raise CatalogError(f"{path}: extension {extension or '(none)'} is none of {', '.join(known)}")
    return known[extension]


def holds_ecsv(path: str | os.PathLike[str]) -> bool:
    """Whether a file named as CSV is ECSV, also compressed, as the Gaia archive names them."""
    with suppress(*DAMAGE), open(path, "rb") as file:
        compression = compression_of(file.read(MAGIC_SIZE))
        file.seek(0)
        return (decompressed(file, compression) if compression else file).read(len(ECSV)) == ECSV.encode()
    return False


def check_format(path: str | os.PathLike[str]) -> None:
    """Raise CatalogError now, rather than after hours of work, if a table cannot be written as `path` asks."""
    if has_compression(path):
        raise CatalogError(f"{path}: compressed tables are read, not written; leave out {Path(path).suffix}")
    if Path(path).suffix.lower() == ".tsv":
        raise CatalogError(f"{path}: tables separated by tabs are read, not written; name it .csv")
    if format_of(path).astropy:
        needs_astropy(path)


def needs_astropy(path: str | os.PathLike[str]) -> None:
    """Raise CatalogError if astropy is not installed."""
    try:
        import astropy.table  # noqa: F401
    except ImportError:
        raise CatalogError(f"{path}: this format needs astropy: {install_hint('sky')}") from None


def unreadable(path: str | os.PathLike[str], kind: str, error: Exception) -> CatalogError:
    """A damaged or misnamed file, in one line."""
    return CatalogError(
        f"{path}: cannot be read as {kind}: {one_line(error, 1000)}; is the file complete, and its extension right?"
    )


@contextmanager
def readable(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Raise CatalogError for what readers of tables raise if a file is missing, or damaged or misnamed."""
    try:
        yield
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file; check its name") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:  # names of columns that are no UTF-8, too
        raise unreadable(path, kind, error) from None


@contextmanager
def unpacked(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The file itself, or a temporary one with its content if it is compressed (gzip, bzip2).

    Raises
    ------
    CatalogError
        If it is damaged, or too large.
    """
    source = Path(path)
    with open(source, "rb") as file:
        compression = compression_of(file.read(MAGIC_SIZE))
    if not compression:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="tuningfork-") as folder:
        target = Path(folder) / inner_name(source)
        try:
            with open(source, "rb") as packed_file, open(target, "wb") as file:
                packed = decompressed(packed_file, compression)
                while block := packed.read(2**22):
                    if file.tell() > min(MAX_UNPACKED, shutil.disk_usage(folder).free // 2):
                        raise CatalogError(f"{path}: unpacks to more than {file.tell()} bytes; unpack it first")
                    file.write(block)
        except DAMAGE as error:
            raise unreadable(path, compression, error) from None
        yield target
