"""Locks between processes, held by a file as long as its descriptor is open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

__all__ = ["SAFE_FLAGS", "has_locks", "is_at", "lock", "try_lock"]

#: Never through a link that somebody else has put there; files of ours are not for child processes.
SAFE_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def has_locks() -> bool:
    """Whether the system has ``flock``, which Windows has not."""
    return fcntl is not None


@contextmanager
def lock(path: str | os.PathLike[str], busy: Exception | None = None, *, shared: bool = False) -> Iterator[None]:
    """Hold the file `path`, made for this and removed after it, for this process alone.

    The lock goes with the process, however it ends: the file that a killed one leaves is in nobody's way.
    It binds only those who ask for it, other machines only where the file system's ``flock`` reaches them,
    and on Windows, which has no ``flock``, nobody.

    Parameters
    ----------
    busy : exception, optional
        Raised if another process holds it; None: wait until that one lets go.
    shared : bool
        Hold it together with others who share it, but with none who wants it alone; the file stays.

    Raises
    ------
    OSError
        If the file cannot be made, or its file system has no locks.
    """
    if fcntl is None:
        yield
        return
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | SAFE_FLAGS, 0o666)
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            try:
                fcntl.flock(descriptor, kind | (fcntl.LOCK_NB if busy else 0))
            except BlockingIOError:
                assert busy is not None
                raise busy from None
            if not is_at(descriptor, path):
                continue
            try:
                yield
            finally:
                # Another user's folder may not allow it, and a file that nobody holds is no obstacle.
                if not shared:
                    with suppress(OSError):
                        os.unlink(path)
            return
        finally:
            os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process alone; False if another one holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Whether the open file is the one at `path`."""
    # Whoever held it before may have removed the very file that we opened; a third one could hold its successor.
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
