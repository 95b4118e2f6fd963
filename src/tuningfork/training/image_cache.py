"""Image cache: all frames of a folder, decoded once, as one memory-mapped array keyed by the files' content."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from .._utils.environment import available_cores
from .._utils.errors import TuningforkError
from .._utils.files import atomic_file, write_text
from .._utils.files import default_cache as default_folder
from .._utils.locks import lock
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from ..images.read import READING_RULES, read_image
from .split import SIGNATURE, near_duplicates, signature

__all__ = ["CacheError", "ImageCache", "cached_array", "content_key", "default_folder", "frame_side", "open_cache"]

#: Sides of cached frames in pixels, so that recipes of like sizes share a cache: half of Galaxy Zoo's frame,
#: the whole, and two larger ones.
SIDES = (212, 424, 848, 1696)
#: A turned view is interpolated from the frame: it wants this many of its pixels for one of the input's.
_OVERSAMPLING = 1.25
_VERSION = 2
_BATCH = 256


class CacheError(TuningforkError, ValueError):
    """A cache that cannot be made or used; says what to do."""


@dataclass(frozen=True)
class ImageCache:
    """N images as they were read, in the order of the paths given.

    Parameters
    ----------
    folder : Path
        Holds ``images.npy`` (G, side, side, 3) uint8 of the G that could be read, and ``index.json``.
    rows : (N,) int64
        Where each image stands in ``images.npy``; -1 if it could not be read.
    reasons : (N,) texts
        Empty, or why an image could not be read.
    groups : (N,) int64
        Images of one galaxy share a number; -1 if it could not be read.
    seconds : float
        What storing took, once.
    """

    folder: Path
    side: int
    rows: NDArray[np.int64]
    reasons: tuple[str, ...]
    groups: NDArray[np.int64]
    seconds: float

    @property
    def file(self) -> Path:
        """The array's file."""
        return self.folder / "images.npy"

    @property
    def bytes(self) -> int:
        """Size of the array on the disk."""
        return self.file.stat().st_size

    @property
    def rate(self) -> float:
        """Images decoded and stored a second."""
        return len(self.rows) / max(self.seconds, 1e-9)


def content_key(ids: Sequence[str], paths: Sequence[Path], progress: Callable[[int, int], None] | None = None) -> str:
    """SHA-256 over IDs and the bytes of their files; one that cannot be read counts by its ID alone."""

    def digest(path: Path) -> bytes:
        try:
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError:
            return b""

    total = hashlib.sha256()
    with ThreadPoolExecutor(available_cores()) as pool:
        for done, (id_, part) in enumerate(zip(ids, pool.map(digest, paths), strict=True), 1):
            total.update(id_.encode("utf-8", "surrogateescape") + b"\0" + part)
            if progress:
                progress(done, len(ids))
    return total.hexdigest()


def frame_side(size: int, crop: float, paths: Sequence[Path]) -> int:
    """Side in pixels that cached frames need for inputs of `size` from the central `crop`.

    One of `SIDES`, and never more than the largest of the first hundred good images has.
    """
    largest = max(islice(_sides(paths), 100), default=0)
    wanted = math.ceil(size / crop * _OVERSAMPLING)
    side = next((side for side in SIDES if side >= wanted), SIDES[-1])
    return max(min(side, largest), 1)


def _sides(paths: Sequence[Path]) -> Iterator[int]:
    for path in paths:
        with suppress(ImageError):
            yield min(read_image(path).rgb.shape[:2])


def open_cache(
    paths: Sequence[Path],
    key: str,
    side: int,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> ImageCache:
    """Open the cache of these images in `folder`, or make it: read each once, its central square at `side` px.

    Parameters
    ----------
    key : str
        `content_key` of the images; names the cache together with `side` and the version of the reading rules.
    progress : function of (images done, images in all)

    Raises
    ------
    CacheError
        If the disk has no room, or what is there is of other data.
    """
    target = folder / f"{key[:24]}-{side}-{READING_RULES}"
    folder.mkdir(parents=True, exist_ok=True)
    # Two trainings that start at once share the work.
    with lock(folder / f".{target.name}.lock"):
        if not target.exists():
            _build(paths, key, side, target, progress)
        return _open(target, key, side, len(paths))


def _build(
    paths: Sequence[Path], key: str, side: int, target: Path, progress: Callable[[int, int], None] | None
) -> None:
    started = time.monotonic()
    building = target.with_name(f".{target.name}.building")
    shutil.rmtree(building, ignore_errors=True)  # of one that was killed; the lock says it is not at work
    needed = len(paths) * side * side * 3
    free = shutil.disk_usage(target.parent).free
    if needed > 0.98 * free:
        raise CacheError(
            f"{target.parent}: caching {len(paths)} images at {side} px needs {needed / 1e9:.1f} GB and the disk has "
            f"{free / 1e9:.1f}; make room, name another folder with --cache, or read the images each time with "
            "--no-cache"
        )
    building.mkdir()
    try:
        rows, reasons, signatures = _write_frames(paths, max(side, 8), building / "images.npy", progress)
        groups = np.full(len(paths), -1, np.int64)
        if len(signatures):
            # Numbers of rows of the paths, which a reader can look up.
            groups[rows >= 0] = np.flatnonzero(rows >= 0)[near_duplicates(signatures)]
        index = {
            "version": _VERSION,
            "key": key,
            "side": side,
            "bytes": (building / "images.npy").stat().st_size,
            "rows": rows.tolist(),
            "groups": groups.tolist(),
            "reasons": {str(i): reason for i, reason in enumerate(reasons) if reason},
            "seconds": time.monotonic() - started,
        }
        write_text(building / "index.json", json.dumps(index) + "\n")
        os.rename(building, target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _write_frames(
    paths: Sequence[Path], side: int, array: Path, progress: Callable[[int, int], None] | None
) -> tuple[NDArray[np.int64], list[str], NDArray[np.float32]]:
    """Write the frames (N, side, side, 3) of N images one after the other as a NumPy file.

    Returns
    -------
    rows : (N,) int64
        Each image's row of the array; -1 if it cannot be read.
    reasons : list of N texts
        Why it cannot be read, else "".
    signatures : (M, SIGNATURE) float32
        Of the M images that can be read.
    """
    frame = Preprocess(crop=1.0, size=side, filter="box")
    rows = np.full(len(paths), -1, np.int64)
    reasons = [""] * len(paths)
    signatures = np.empty((len(paths), SIGNATURE), np.float32)

    def read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]] | str:
        try:
            image = read_image(path).rgb
        except ImageError as error:
            return str(error)
        return frame.resized(image), signature(image)

    good = 0
    # Written from front to back, since pages of a map would count as this process's memory.
    with open(array, "wb") as file, ThreadPoolExecutor(available_cores()) as pool:
        # As long as if all could be read.
        shape = (max(len(paths), 1), side, side, 3)
        write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        size = file.tell() + math.prod(shape)
        _reserve(file.fileno(), size)
        for start in range(0, len(paths), _BATCH):
            for i, result in enumerate(pool.map(read, paths[start : start + _BATCH]), start):
                if isinstance(result, str):
                    reasons[i] = result
                    continue
                image, signatures[good] = result
                file.write(image.tobytes())
                rows[i] = good
                good += 1
            if progress:
                progress(min(start + _BATCH, len(paths)), len(paths))
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())
    return rows, reasons, signatures[:good]


def _reserve(file: int, size: int) -> None:
    """Allocate the file now: a full disk is better noticed before the work than after it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)


def _open(target: Path, key: str, side: int, count: int) -> ImageCache:
    anew = "delete that folder to build it again"
    try:
        index: dict[str, Any] = json.loads((target / "index.json").read_text("utf-8"))
        size = (target / "images.npy").stat().st_size
    except (OSError, ValueError) as error:
        raise CacheError(f"{target}: not a complete cache ({error}); {anew}") from None
    try:
        if index["version"] != _VERSION:
            raise CacheError(f"{target}: made by another version of tuningfork; {anew}")
        if index["key"] != key or index["side"] != side or len(index["rows"]) != count:
            raise CacheError(f"{target}: made of other images (their hash differs); {anew}")
        if index["bytes"] != size:
            raise CacheError(f"{target}: images.npy has {size} bytes, {index['bytes']} were written; {anew}")
        reasons = [""] * count
        for i, reason in index["reasons"].items():
            reasons[int(i)] = reason
        rows, groups = (np.array(index[key], np.int64).reshape(count) for key in ("rows", "groups"))
        return ImageCache(target, side, rows, tuple(reasons), groups, float(index["seconds"]))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        if isinstance(error, CacheError):
            raise
        raise CacheError(f"{target}: index.json is damaged ({error!r}); {anew}") from None


def cached_array(cache: Path | None, key: Sequence[Any], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Memoise on disk: an array that is computed once for all trainings with one cache; `key` holds its inputs."""
    if cache is None:
        return make()
    path = cache / f"{key[0]}-{hashlib.sha256(json.dumps([READING_RULES, *key]).encode()).hexdigest()[:24]}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    array = make()
    cache.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as beside, open(beside, "wb") as file:
        np.save(file, array, allow_pickle=False)
    return array
