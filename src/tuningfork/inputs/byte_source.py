"""Byte sources: random access to files and objects that hold many images; archives and tables are read through them."""

from __future__ import annotations

import io
import os
import stat
import threading
from typing import Any, Protocol

from ..images.image import ImageError

__all__ = ["ReadAhead", "CHANGED_MESSAGE", "LocalFile", "ByteSource", "ByteStream", "SourceUnavailable", "open_regular"]

#: Said of a file that is another one than the listing saw.
CHANGED_MESSAGE = "changed since it was listed; predict it again"


class SourceUnavailable(ImageError):
    """The bytes may be good, but cannot be had now: no permission, a broken disk, a store that does not answer."""


class ByteSource(Protocol):
    """Bytes at any place, for several threads at once.

    Parameters
    ----------
    size : int
    stamp : str
        What changes when the bytes change.
    block : int
        How many bytes are worth reading at once.
    """

    size: int
    stamp: str
    block: int

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; fewer, or none, only where the file ends.

        Raises
        ------
        SourceUnavailable
            If they cannot be had.
        ImageError
            If the file has changed since it was opened.
        """


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """An open file's descriptor and state; raises SourceUnavailable for what is none, or a pipe, or a device."""
    descriptor = -1
    try:
        # Opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        status = os.fstat(descriptor)
        # Reading a pipe or a device may never end.
        if not stat.S_ISREG(status.st_mode):
            raise SourceUnavailable("cannot be read: not a regular file")
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        if descriptor >= 0:
            os.close(descriptor)
        if isinstance(error, SourceUnavailable):
            raise
        raise SourceUnavailable(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return descriptor, status


class LocalFile:
    """A file of this machine; closed when nobody refers to it any more, as calls in other threads may still run."""

    block = 2**20

    def __init__(self, path: str, stamp: str = "") -> None:
        self._descriptor = -1
        self._descriptor, status = open_regular(path)
        self._lock = threading.Lock()
        self.size, self.stamp = status.st_size, _stamp(status)
        if stamp and stamp != self.stamp:
            raise ImageError(CHANGED_MESSAGE)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read`."""
        try:
            data = self._read(offset, size)
            changed = _stamp(os.fstat(self._descriptor)) != self.stamp
        except OSError as error:
            raise SourceUnavailable(f"cannot be read: {error.strerror}") from None
        if changed:
            raise ImageError(CHANGED_MESSAGE)
        return data

    def _read(self, offset: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, offset)
        with self._lock:  # Windows
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, size)


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


class ByteStream(io.RawIOBase):
    """A source as a file object that reads and seeks."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; see `io.IOBase.seek`."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; see `io.RawIOBase.readinto`."""
        size = min(len(buffer), self._source.size - self._at)
        data = self._source.read(self._at, size) if size > 0 else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class ReadAhead:
    """Read-ahead for a remote source that is read from its beginning to its end: one block is in memory."""

    #: What is read where bytes were left out that would have filled a block.
    SHORT = 2**16

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.size, self.stamp, self.block = source.size, source.stamp, source.block
        self._start, self._data = 0, b""

    def read(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read`."""
        end = self._start + len(self._data)
        if not (self._start <= offset and min(offset + size, self.size) <= end):
            ahead = self.block if 0 <= offset - end < self.block or not end else self.SHORT
            self._start, self._data = offset, self._source.read(offset, max(size, ahead))
        return self._data[offset - self._start : offset - self._start + size]
