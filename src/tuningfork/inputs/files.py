"""Image files: list them, and read their bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from .._utils.text import text
from ..images.find import find_images
from ..images.image import ImageError, check_file_size
from ..tables.identifiers import file_id
from .byte_source import CHANGED_MESSAGE, open_regular
from .item import InputItem

__all__ = ["FileReader", "file_item", "folder_items"]


def folder_items(folder: Path, left_out: Counter[str] | None = None) -> Iterator[InputItem]:
    """The images of a folder, as `find_images` finds them."""
    return map(file_item, find_images([folder], left_out))


def file_item(path: Path) -> InputItem:
    """A file as it is now; one that is not there is an item whose reading will fail."""
    size, stamp = -1, ""
    try:
        status = path.stat()
        size, stamp = status.st_size, str(status.st_mtime_ns)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        pass
    return InputItem(file_id(path.name), text(str(path)), "file", str(path), size=size, stamp=stamp)


class FileReader:
    """Reads files as they were listed; see `readers.Reader`."""

    def prepare(self, item: InputItem) -> Callable[[], bytes]:
        """The file's bytes, read when they are called for."""
        return lambda: _read(item)

    def close(self) -> None:
        """Nothing is open."""


def _read(item: InputItem) -> bytes:
    try:
        descriptor, status = open_regular(item.location)
        with open(descriptor, "rb") as file:
            check_file_size(status.st_size)
            if item.stamp and (status.st_size, str(status.st_mtime_ns)) != (item.size, item.stamp):
                raise ImageError(CHANGED_MESSAGE)
            return file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
