"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["beside", "check_writable", "whole_file", "write_text"]


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
