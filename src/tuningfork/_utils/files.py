"""Files that appear whole or not at all, and files that one process holds."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

__all__ = ["beside", "check_writable", "default_cache", "lock", "whole_file", "write_text"]


def default_cache() -> Path:
    """Where a user's caches lie: ``$XDG_CACHE_HOME/tuningfork``, or ``~/.cache/tuningfork``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tuningfork"


def beside(path: str | os.PathLike[str]) -> Path:
    """Where `path` is written before it is whole: always the same name, so that a killed run leaves no litter."""
    target = Path(path)
    return target.with_name(f".{target.name}.part")


@contextmanager
def whole_file(path: str | os.PathLike[str], *, sync: bool = True) -> Iterator[Path]:
    """A path beside `path` to write to; on success it is synced and renamed to `path`, else removed.

    Without `sync` a power failure may cost the file; thousands of small ones are written faster.

    Raises
    ------
    OSError
        As the writing raised it (no space, no permission); `path` is then as it was before.
    """
    target, part = Path(path), beside(path)
    _refuse_special(target)
    try:
        yield part
        if sync:
            _sync(part)
        os.replace(part, target)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(target)
        raise
    if sync:
        # The file is in place; some folders cannot be opened or synced, and that is no failure.
        with suppress(OSError):
            _sync(target.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole UTF-8 text file."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


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
        with open(path, "w") as file:
            try:
                kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                fcntl.flock(file, kind | (fcntl.LOCK_NB if busy else 0))
            except BlockingIOError:
                assert busy is not None
                raise busy from None
            if not _is_at(file.fileno(), path):
                continue
            try:
                yield
            finally:
                # Another user's folder may not allow it, and a file that nobody holds is no obstacle.
                if not shared:
                    with suppress(OSError):
                        os.unlink(path)
            return


def _is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    # Whoever held it before may have removed the very file that we opened; a third one could hold its successor.
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError now, rather than after hours of work, if a file cannot be written at `path`."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder; name a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent}: no such folder; make it first")
    _refuse_special(target)
    probe = beside(target)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, f"{target}: cannot be written: {error.strerror}") from None


def _refuse_special(target: Path) -> None:
    # The rename would put a file where a device (/dev/null) or a pipe is.
    if target.exists() and not target.is_file() and not target.is_dir():
        raise OSError(errno.EINVAL, f"{target}: is a device or a pipe; name a file")


def _sync(path: Path) -> None:
    # The bytes, and for a folder the rename, must survive a crash. Windows cannot open folders.
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
