"""Disk cache of responses by their requests: complete files only, bounded in bytes."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

from .._utils.files import atomic_file

__all__ = ["Cache"]

#: What is left of the allowed bytes after the oldest answers had to go.
REMAINING = 0.9


class Cache:
    """Answers of services. Safe to use from many threads, and by several processes.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    max_bytes : int
        Of all answers together; the oldest go first. One that alone is larger is not stored.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int) -> None:
        self._folder = Path(folder)
        self._max_bytes = max_bytes
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._bytes = sum(size for _, size, _ in self._files())

    def get(self, request: str) -> tuple[bytes, float] | None:
        """The response, and when it came, in seconds since 1970; None if it is not stored."""
        file = self._file(request)
        try:
            return file.read_bytes(), file.stat().st_mtime
        except OSError:
            return None

    def put(self, request: str, answer: bytes) -> None:
        """Store a response; a full disk, or a folder that cannot be written to, only means that it is not stored."""
        if len(answer) > self._max_bytes:
            return
        file = self._file(request)
        with self._lock, suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            with atomic_file(file, sync=False) as part:
                part.write_bytes(answer)
            self._bytes += len(answer)
            if self._bytes > self._max_bytes:
                self._make_room()

    def drop(self, request: str) -> None:
        """Forget an answer that turned out to be no good."""
        with suppress(OSError):
            self._file(request).unlink()

    def _file(self, request: str) -> Path:
        # A digest shows no secrets of an address, and fits any file system.
        name = hashlib.sha256(request.encode()).hexdigest()
        return self._folder / name[:2] / name[2:]

    def _files(self) -> list[tuple[float, int, str]]:
        files = []
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(folder, name)
                with suppress(OSError):
                    status = os.stat(path)
                    files.append((status.st_mtime, status.st_size, path))
        return files

    def _make_room(self) -> None:
        # Counted anew: other processes may have added or removed some.
        files = sorted(self._files())
        self._bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._bytes <= REMAINING * self._max_bytes:
                break
            with suppress(OSError):
                os.unlink(path)
                self._bytes -= size
