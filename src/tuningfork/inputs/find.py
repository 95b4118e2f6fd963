"""List the images of what a user names, one item after the other, and count what is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from .._utils.errors import InputError
from .._utils.text import text
from .._utils.urls import is_url, name_of
from ..images.find import is_image_name, is_raster_name
from ..tables.column_roles import Columns
from ..tables.hats import is_hats
from .archives import COMPRESSED_ARCHIVES, archive_items, check_packed
from .archives import EXTENSIONS as ARCHIVES
from .catalogues import table_items, table_kind
from .files import file_item, folder_items
from .fits_kind import holds_table
from .item import InputItem
from .objects import remote_items
from .stores import check_url

__all__ = ["Columns", "find_items", "is_catalogue"]


def find_items(
    paths: Iterable[str | os.PathLike[str]], columns: Columns = Columns(), left_out: Counter[str] | None = None
) -> Iterator[InputItem]:
    """List the images of files, folders, catalogues, archives, and of URLs of these in stores.

    What a file is, its name says. A catalogue or an archive is opened only if it is named; in a folder, images
    are looked for.

    Parameters
    ----------
    paths : iterable of str or Path
    columns : Columns
        Of catalogues.
    left_out : Counter, optional
        Counts what folders, archives and stores hold beside images, by kind; see `images.find.count_left_out`.

    Raises
    ------
    FileNotFoundError
        If a named path does not exist.
    InputError
        If an input cannot be used at all.
    """
    counter: Counter[str] = Counter() if left_out is None else left_out
    for name in map(str, paths):
        if is_url(name):
            check_url(name)
        elif Path(name).is_dir() and not is_catalogue(name):
            yield from _folder(Path(name), counter)
            continue
        elif not Path(name).exists():
            raise FileNotFoundError(f"{text(name)}: no such file or folder")
        yield from _find_named(name, columns, counter)


def is_catalogue(name: str) -> bool:
    """Whether a file's or an address' name is that of a catalogue, or a folder is a HATS catalogue.

    A FITS file is opened to see what it holds.
    """
    if not is_url(name) and os.path.isdir(name):
        return is_hats(name)
    file = name_of(name)
    # The formats of tables are not imported for these.
    if is_raster_name(file) or name.endswith("/") or Path(file).suffix.lower() in ARCHIVES:
        return False
    if not table_kind(file):
        return False
    return not is_image_name(file) or (not is_url(name) and Path(name).is_file() and holds_table(name))


def _find_named(name: str, columns: Columns, left_out: Counter[str]) -> Iterator[InputItem]:
    """An input by its name, here or in a store."""
    is_remote, file = is_url(name), name_of(name)
    check_packed(name)
    if Path(file).suffix.lower() in ARCHIVES and not name.endswith("/"):
        yield from archive_items(name, left_out)
    elif is_catalogue(name):
        yield from table_items(name, columns)
    elif is_remote:
        yield from remote_items(name, _is_other, left_out)
    else:
        yield file_item(Path(name))


def _folder(folder: Path, left_out: Counter[str]) -> Iterator[InputItem]:
    is_empty = True
    for item in folder_items(folder, left_out):
        is_empty = False
        yield item
    if is_empty and (other := sorted(name for name in os.listdir(folder) if _is_other(name))):
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise InputError(
            f"{text(str(folder))}: holds no image, but {text(other[0])}{more}: name archives and catalogues "
            f"themselves, {text(str(folder / '*'))}{text(Path(other[0]).suffix)}"
        )


def _is_other(name: str) -> bool:
    is_archive = Path(name).suffix.lower() in ARCHIVES or name.lower().endswith(COMPRESSED_ARCHIVES)
    return not name.startswith(".") and (is_archive or table_kind(name) is not None)
