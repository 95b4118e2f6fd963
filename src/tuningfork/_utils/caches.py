"""What the package keeps in the user's cache folder: how much, and deleting it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .files import default_cache

__all__ = ["KINDS", "Kind", "clear_caches", "cache_sizes"]


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that is kept.

    Parameters
    ----------
    title : str
        What it is.
    files : re.Pattern
        Matches the paths of its files, from the cache folder, with ``/`` between; no other file is counted or deleted.
    """

    title: str
    files: re.Pattern[str]


#: Name → what is kept under it. Hidden files are locks, and parts of files that are being written.
KINDS = {
    "sky": Kind("answers of survey services", re.compile(r"sky/[0-9a-f]{2}/(?:[0-9a-f]{62}|\.[0-9a-f]{62}\.\S*part)")),
    "tiles": Kind(
        "footprints of FITS tiles", re.compile(r"tiles/[0-9a-f]{64}\.json|tiles/\.[0-9a-f]{64}\.json\.\S*part")
    ),
    "images": Kind(
        "images decoded for trainings",
        re.compile(r"[0-9a-f]{24}-\d+(?:-\d+)?/(?:images\.npy|index\.json)|[a-z_]+-[0-9a-f]{24}\.npy"),
    ),
    "tuning": Kind("batch sizes measured on this machine", re.compile(r"tuning-[0-9a-f]{16}\.json")),
}


def cache_sizes() -> dict[str, dict[str, int]]:
    """Name → files and bytes of each kind."""
    sizes = {name: {"files": 0, "bytes": 0} for name in KINDS}
    for name, path in _files(KINDS):
        with suppress(OSError):
            sizes[name]["bytes"] += os.lstat(path).st_size
            sizes[name]["files"] += 1
    return sizes


def clear_caches(names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Delete what is kept under these names, and folders that are empty then; gives what was deleted."""
    freed = {name: {"files": 0, "bytes": 0} for name in names}
    folders: set[Path] = set()
    for name, path in list(_files(freed)):
        with suppress(OSError):
            size = os.lstat(path).st_size
            os.unlink(path)
            freed[name]["bytes"] += size
            freed[name]["files"] += 1
            folders.add(path.parent)
    root = default_cache()
    for folder in sorted(folders, key=lambda each: -len(each.parts)):
        # One that holds anything else stays.
        while folder != root:
            with suppress(OSError):
                folder.rmdir()
                folder = folder.parent
                continue
            break
    return freed


def _files(names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """The files of these kinds; links are not followed, so that nothing outside of the folder is reached."""
    wanted = list(names)
    root = default_cache()
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = [each for each in folders if not os.path.islink(os.path.join(folder, each))]
        for file in files:
            path = Path(folder, file)
            if path.is_symlink():
                continue
            inside = path.relative_to(root).as_posix()
            for name in wanted:
                if KINDS[name].files.fullmatch(inside):
                    yield name, path
                    break
