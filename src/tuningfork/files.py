"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_writable", "whole_file", "write_text"]


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path` to write to; on success it is synced and renamed to `path`, else removed.

    Raises
    ------
    OSError
        As the writing raised it (no space, no permission); `path` is then as it was before.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield beside
        descriptor = os.open(beside, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, target)
        _sync_folder(target.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole UTF-8 text file."""
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError now, rather than after hours of work, if a file cannot be written at `path`."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder; name a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent}: no such folder; make it first")
    probe = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, f"{target}: cannot be written: {error.strerror}") from None


def _sync_folder(folder: Path) -> None:
    # The rename itself must survive a crash. Windows cannot open folders.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
