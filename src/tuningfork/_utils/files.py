"""Atomic files and the output guard: an output appears complete or not at all, and nothing else is harmed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import TuningforkError
from .locks import SAFE_FLAGS, has_locks, is_at, lock, try_lock
from .urls import is_url

__all__ = [
    "OutputError",
    "atomic_file",
    "check_output",
    "check_writable",
    "default_cache",
    "part_of",
    "reserved_output",
    "write_text",
]


class OutputError(TuningforkError, ValueError):
    """An output that would harm a file, or is being written by another run; the message says what to do."""


def default_cache() -> Path:
    """The folder of a user's caches: ``$XDG_CACHE_HOME/tuningfork``, or ``~/.cache/tuningfork``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tuningfork"


# ---------------------------------------------------------------- atomic files


def part_of(path: str | os.PathLike[str]) -> Path:
    """The hidden file beside `path` to which it is written first; another one if that belongs to somebody."""
    target = Path(path)
    return target.with_name(f".{target.name}.part")


@contextmanager
def atomic_file(path: str | os.PathLike[str], *, sync: bool = True) -> Iterator[Path]:
    """Yield a new file beside `path` to write to; on success it is synced and renamed to `path`, else removed.

    The file is nobody else's: it is created exclusively, links are not followed, and two writers of one path have two
    of them. What a killed writer left is removed by the next one.

    Parameters
    ----------
    sync : bool
        Without it a power failure may cost the file; thousands of small ones are written faster.

    Raises
    ------
    OSError
        As the writing raised it (no space, no permission); `path` is then as it was before.
    """
    target = Path(path)
    _refuse_special(target)
    part, descriptor = _new_part(target)
    try:
        try:
            yield part
            status = part.stat()
            if status.st_size == 0 and status.st_mtime_ns == 0:
                raise FileNotFoundError(errno.ENOENT, "nothing was written", os.fspath(target))
            if sync:
                _sync(part)
            os.replace(part, target)
        except BaseException as error:
            part.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = os.fspath(target)
            raise
    finally:
        os.close(descriptor)
    if sync:
        # The file is in place; some folders cannot be opened or synced, and that is no failure.
        with suppress(OSError):
            _sync(target.parent)


def _new_part(target: Path) -> tuple[Path, int]:
    """A file that is locked as long as its descriptor is open, and by whose time one sees if it was written to."""
    part = part_of(target)
    for _ in range(100):
        try:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o666)
        except FileExistsError:
            if not _remove_stale(part):
                part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
            continue
        if try_lock(descriptor) and is_at(descriptor, part):
            os.utime(part, ns=(0, 0))
            return part, descriptor
        os.close(descriptor)
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(part))


def _remove_stale(part: Path) -> bool:
    """Remove what a killed writer left; False if its writer lives, or if it is no plain file of ours."""
    if not has_locks():
        return False
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_NONBLOCK | SAFE_FLAGS)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if part.is_file() and try_lock(descriptor) and is_at(descriptor, part):
            os.unlink(part)
            return True
        return False
    except OSError:
        return False
    finally:
        os.close(descriptor)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file, completely or not at all."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


# ---------------------------------------------------------------- output guard


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError now, rather than after hours of work, if a file cannot be written at `path`."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder; name a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent}: no such folder; make it first")
    _refuse_special(target)
    try:
        part, descriptor = _new_part(target)
    except OSError as error:
        raise OSError(error.errno, f"{target}: cannot be written: {error.strerror}") from None
    part.unlink(missing_ok=True)
    os.close(descriptor)


def check_output(
    path: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]] = (),
    *,
    overwrite: bool = False,
    is_folder: bool = False,
) -> None:
    """Refuse an output that would harm a file.

    Parameters
    ----------
    path : path-like
        The output, a file or a folder.
    inputs : iterable of path-like
        Files and folders that the command reads; URLs are left out.
    overwrite : bool
        Whether an existing file may be replaced, or an existing folder be written into.
    is_folder : bool
        Whether the output is a folder; an empty one may exist.

    Raises
    ------
    OutputError
        If the output is an input, or exists and may not be overwritten.
    OSError
        If a file cannot be written there.
    """
    target = Path(path)
    for name in (os.fspath(each) for each in inputs):
        if not is_url(name) and _is_same(target, Path(name)):
            raise OutputError(f"{target}: is an input of this command; name another output")
    if is_folder:
        if target.exists() and not target.is_dir():
            raise OutputError(f"{target}: is a file; name a folder")
        if target.is_dir() and any(target.iterdir()) and not overwrite:
            raise OutputError(f"{target}: exists and is not empty; name another folder, or give --overwrite")
        return
    check_writable(target)
    if os.path.lexists(target) and not overwrite:
        raise OutputError(
            f"{target}: exists; name another output, or replace it with --overwrite (in Python: overwrite=True)"
        )


@contextmanager
def reserved_output(
    path: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]] = (),
    *,
    overwrite: bool = False,
    is_folder: bool = False,
) -> Iterator[None]:
    """Keep an output for this process alone, and refuse what `check_output` refuses.

    Raises
    ------
    OutputError
        Also if another run is writing it.
    """
    target = Path(path)
    check_output(target, inputs, overwrite=overwrite, is_folder=is_folder)
    if is_folder:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
    busy = OutputError(f"another run is writing {target}; wait for it, or name another output")
    resolved = target.absolute()
    with lock(resolved.with_name(f".{resolved.name}.lock"), busy):
        # Whoever held it before may have written it a moment ago.
        check_output(target, inputs, overwrite=overwrite, is_folder=is_folder)
        yield


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


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
