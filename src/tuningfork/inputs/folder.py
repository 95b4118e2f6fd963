"""Pictures that are files of their own."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ..images import MAX_FILE_BYTES, PictureError, find_pictures
from ..reading import text
from .entry import Entry

__all__ = ["FileOpener", "file_entry", "folder_entries"]


def folder_entries(folder: Path) -> Iterator[Entry]:
    """The pictures of a folder, as `find_pictures` finds them."""
    return map(file_entry, find_pictures([folder]))


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
        # Opening a pipe waits for who writes to it.
        with open(os.open(entry.location, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            # Reading a pipe or a device may never end.
            if not stat.S_ISREG(status.st_mode):
                raise PictureError("cannot be read: not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise PictureError(f"file of {status.st_size} bytes; at most {MAX_FILE_BYTES} are read")
            if entry.stamp and (status.st_size, str(status.st_mtime_ns)) != (entry.size, entry.stamp):
                raise PictureError("changed since it was listed; predict it again")
            return file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
