"""Find the image files of folders, and count what is left out."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from .._utils import compression
from .._utils.text import native_path

__all__ = ["EXTENSIONS", "count_left_out", "find_image", "find_images", "is_image_name", "is_raster_name"]

#: Files of these kinds are taken from a folder; a file that is named directly is tried whatever its name.
EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff"),
        *(".fits", ".fit", ".fts", ".fz", ".npy"),
    )
)
_FITS = (".fits", ".fit", ".fts")
#: Extensions that an image named by its ID may have.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".fits")
#: Names of a folder that are sorted together.
BLOCK = 100_000
#: Kinds that are counted apart.
MAX_KINDS = 100
#: What a prediction run writes beside its images while it lists them.
_OWN_FILES = re.compile(r"_manifest\.json|_inputs|part-\d{8}\.parquet|\..*\.(lock|part)")


def find_images(paths: Iterable[str | os.PathLike[str]], left_out: Counter[str] | None = None) -> Iterator[Path]:
    """Yield the image files of `paths`; folders are walked in sorted order, hidden entries are left out.

    A folder of more than `BLOCK` names is sorted block by block, each as the file system lists it, so that
    no more than these are held in memory.

    Parameters
    ----------
    paths : iterable of path-like
        Files and folders.
    left_out : Counter, optional
        Counts what is in the folders and not taken, by kind; see `count_left_out`.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    """
    counter: Counter[str] = Counter() if left_out is None else left_out
    for path in map(Path, paths):
        if path.is_dir():
            yield from _walk(path, counter)
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")


def is_raster_name(name: str) -> bool:
    """Whether a file's extension is that of an image that is not FITS: such a file is never a table."""
    extension = posixpath.splitext(name)[1].lower()
    return extension in EXTENSIONS and extension not in (*_FITS, ".fz")


def find_image(name: str, path: str, images: Path | None) -> str:
    """Where a galaxy's image is: in the folder `images`, named by its ID or as `path` ends, else `path` itself.

    Parameters
    ----------
    name, path : str
        The galaxy's ID, and its image file as a table names it.
    images : Path or None
        Folder where the images are now; None: where the table says.
    """
    name, path = native_path(name), native_path(path)
    if images is not None:
        for candidate in (images / Path(path).name, *(images / f"{name}{suffix}" for suffix in _SUFFIXES)):
            # The name comes from a table: it must not lead out of the folder.
            if candidate.parent == images and candidate.is_file():
                return str(candidate)
    return path


def is_image_name(name: str) -> bool:
    """Whether a file's extension is that of an image, compressed FITS (``.fits.gz``, ``.fits.bz2``) included.

    Examples
    --------
    >>> [is_image_name(name) for name in ("a.JPG", "b.fits.gz", "c.csv.gz", "d.txt")]
    [True, True, False, False]
    """
    stem, extension = posixpath.splitext(name.lower())
    return extension in EXTENSIONS or (extension in compression.EXTENSIONS and stem.endswith(_FITS))


def count_left_out(name: str, left_out: Counter[str]) -> None:
    """Count a file that is not taken, by its kind: "hidden", its extension, or "without extension"."""
    name = posixpath.basename(name)
    if _OWN_FILES.fullmatch(name):
        return
    kind = "hidden" if name.startswith(".") else posixpath.splitext(name.lower())[1] or "without extension"
    left_out[kind if kind in left_out or len(left_out) < MAX_KINDS else "other"] += 1


def _walk(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        listed = ((entry.name, entry.is_dir(follow_symlinks=False), _links_to_folder(entry)) for entry in entries)
        while block := sorted(islice(listed, BLOCK)):
            for name, is_folder, is_link in block:
                if is_link:
                    # Links to folders are not followed, they may lead in a circle.
                    left_out["linked folders"] += 1
                elif name.startswith(".") or not (is_folder or is_image_name(name)):
                    count_left_out(name, left_out)
                elif is_folder:
                    yield from _walk(folder / name, left_out)
                else:
                    yield folder / name


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # it leads in a circle
        return True
