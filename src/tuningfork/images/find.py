"""Find the image files of folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

__all__ = ["EXTENSIONS", "find_images"]

#: Files of these kinds are taken from a folder; a file that is named directly is tried whatever its name.
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".fits", ".fit", ".fts", ".fz", ".npy"})
#: Names of a folder that are sorted together.
BLOCK = 100_000


def find_images(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Yield the image files of `paths`; folders are walked in sorted order, hidden entries are left out.

    A folder of more than `BLOCK` names is sorted block by block, each as the file system lists it, so that
    no more than these are held in memory.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from _walk(path)
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")


def _walk(folder: Path) -> Iterator[Path]:
    # Links to folders are not followed, they may lead in a circle.
    with os.scandir(folder) as entries:
        visible = ((e.name, e.is_dir(follow_symlinks=False)) for e in entries if not e.name.startswith("."))
        while block := sorted(islice(visible, BLOCK)):
            for name, is_folder in block:
                if is_folder:
                    yield from _walk(folder / name)
                elif os.path.splitext(name)[1].lower() in EXTENSIONS:
                    yield folder / name
