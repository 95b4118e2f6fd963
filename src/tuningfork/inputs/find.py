"""What a user names → entries, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .._utils.errors import InputError
from .._utils.text import text
from .._utils.urls import check_url, is_url, name_of
from ..images.find import EXTENSIONS as PICTURES
from ..tables.column_roles import Columns
from .archives import EXTENSIONS as ARCHIVES
from .archives import PACKED, archive_entries, check_packed
from .catalogues import EXTENSIONS as TABLES
from .catalogues import table_entries
from .files import file_entry, folder_entries
from .fits_kind import holds_table
from .item import Entry
from .objects import remote_entries

__all__ = ["Columns", "find_entries"]


def find_entries(given: Iterable[str | Path], columns: Columns = Columns()) -> Iterator[Entry]:
    """The pictures named: files, folders, catalogues, archives, and addresses of these in stores.

    What a file is, its name tells. A catalogue or an archive is opened only if it is named; in a folder, pictures
    are looked for.

    Raises
    ------
    FileNotFoundError
        If a named path does not exist.
    InputError
        If an input cannot be used as a whole.
    """
    for name in map(str, given):
        if is_url(name):
            check_url(name)
        elif Path(name).is_dir():
            yield from _folder(Path(name))
            continue
        elif not Path(name).exists():
            raise FileNotFoundError(f"{text(name)}: no such file or folder")
        yield from _named(name, columns)


def _named(name: str, columns: Columns) -> Iterator[Entry]:
    """What is told by its name, here or in a store."""
    is_remote = is_url(name)
    suffix = Path(name_of(name)).suffix.lower()
    check_packed(name)
    if suffix in ARCHIVES and not name.endswith("/"):
        yield from archive_entries(name)
    elif (
        suffix in TABLES
        and not name.endswith("/")
        and (suffix not in PICTURES or (not is_remote and holds_table(name)))
    ):
        yield from table_entries(name, columns)
    elif is_remote:
        yield from remote_entries(name, _is_other)
    else:
        yield file_entry(Path(name))


def _folder(folder: Path) -> Iterator[Entry]:
    found = False
    for entry in folder_entries(folder):
        found = True
        yield entry
    if not found and (other := sorted(name for name in os.listdir(folder) if _is_other(name))):
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise InputError(
            f"{text(str(folder))}: holds no picture, but {text(other[0])}{more}: name archives and catalogues "
            f"themselves, {text(str(folder / '*'))}{text(Path(other[0]).suffix)}"
        )


def _is_other(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return not name.startswith(".") and (suffix in ARCHIVES or suffix in TABLES or name.lower().endswith(PACKED))
