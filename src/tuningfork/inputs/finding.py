"""What a user names → entries, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..images import EXTENSIONS as PICTURES
from .columns import Columns
from .entry import Entry
from .fits import holds_table
from .folder import file_entry, folder_entries
from .tables import EXTENSIONS as TABLES
from .tables import table_entries

__all__ = ["Columns", "find_entries"]


def find_entries(given: Iterable[str | Path], columns: Columns = Columns()) -> Iterator[Entry]:
    """The pictures named: files and folders.

    Raises
    ------
    FileNotFoundError
        If a named path does not exist.
    InputError
        If an input cannot be used as a whole.
    """
    for name in given:
        path = Path(name)
        if path.is_dir():
            yield from folder_entries(path)
        elif path.exists():
            suffix = path.suffix.lower()
            if suffix in TABLES and (suffix not in PICTURES or holds_table(path)):
                yield from table_entries(str(path), columns)
            else:
                yield file_entry(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
