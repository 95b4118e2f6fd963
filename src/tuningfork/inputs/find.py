"""What a user names → items, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .._utils.errors import InputError
from .._utils.text import text
from .._utils.urls import is_url, name_of
from ..images.find import EXTENSIONS as IMAGES
from ..tables.column_roles import Columns
from .archives import EXTENSIONS as ARCHIVES
from .archives import PACKED, archive_items, check_packed
from .catalogues import EXTENSIONS as TABLES
from .catalogues import table_items
from .files import file_item, folder_items
from .fits_kind import holds_table
from .item import InputItem
from .objects import remote_items
from .stores import check_url

__all__ = ["Columns", "find_items"]


def find_items(given: Iterable[str | Path], columns: Columns = Columns()) -> Iterator[InputItem]:
    """The images named: files, folders, catalogues, archives, and addresses of these in stores.

    What a file is, its name tells. A catalogue or an archive is opened only if it is named; in a folder, images
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


def _named(name: str, columns: Columns) -> Iterator[InputItem]:
    """What is told by its name, here or in a store."""
    is_remote = is_url(name)
    suffix = Path(name_of(name)).suffix.lower()
    check_packed(name)
    if suffix in ARCHIVES and not name.endswith("/"):
        yield from archive_items(name)
    elif (
        suffix in TABLES and not name.endswith("/") and (suffix not in IMAGES or (not is_remote and holds_table(name)))
    ):
        yield from table_items(name, columns)
    elif is_remote:
        yield from remote_items(name, _is_other)
    else:
        yield file_item(Path(name))


def _folder(folder: Path) -> Iterator[InputItem]:
    found = False
    for item in folder_items(folder):
        found = True
        yield item
    if not found and (other := sorted(name for name in os.listdir(folder) if _is_other(name))):
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise InputError(
            f"{text(str(folder))}: holds no image, but {text(other[0])}{more}: name archives and catalogues "
            f"themselves, {text(str(folder / '*'))}{text(Path(other[0]).suffix)}"
        )


def _is_other(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return not name.startswith(".") and (suffix in ARCHIVES or suffix in TABLES or name.lower().endswith(PACKED))
