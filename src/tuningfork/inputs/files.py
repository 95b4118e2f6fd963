"""Pictures that are files of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from .._utils.text import text
from ..images.find import find_images
from ..images.image import MAX_FILE_BYTES, ImageError
from .byte_source import CHANGED, open_regular
from .item import Entry

__all__ = ["FileOpener", "file_entry", "folder_entries"]


def folder_entries(folder: Path) -> Iterator[Entry]:
    """The pictures of a folder, as `find_images` finds them."""
    return map(file_entry, find_images([folder]))


def file_entry(path: Path) -> Entry:
    """A file as it is now; one that is not there is an entry whose reading will fail."""
    size, stamp = -1, ""
    try:
        status = path.stat()
        size, stamp = status.st_size, str(status.st_mtime_ns)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        pass
    return Entry(text(path.stem), text(str(path)), "file", str(path), size=size, stamp=stamp)


class FileOpener:
    """Reads files as they were listed; see `opening.Opener`."""

    def prepare(self, entry: Entry) -> Callable[[], bytes]:
        """The file's bytes, read when they are called for."""
        return lambda: _read(entry)

    def close(self) -> None:
        """Nothing is held."""


def _read(entry: Entry) -> bytes:
    try:
        descriptor, status = open_regular(entry.location)
        with open(descriptor, "rb") as file:
            if status.st_size > MAX_FILE_BYTES:
                raise ImageError(f"file of {status.st_size} bytes; at most {MAX_FILE_BYTES} are read")
            if entry.stamp and (status.st_size, str(status.st_mtime_ns)) != (entry.size, entry.stamp):
                raise ImageError(CHANGED)
            return file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
