"""The job itself: places → pictures in a folder, in threads, gone on with after any interruption."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from .._utils.errors import TuningforkError
from .._utils.files import atomic_file, lock
from .._utils.threads import imap_unordered
from ..images.image import ImageError
from ..tables import RowError
from .cutout import Cutout, SkySource
from .cutout_table import TABLE, write_table
from .journal import Done, Journal
from .targets import Place

__all__ = ["FORMATS", "MAX_REPORTED", "QUALITY", "CutoutError", "Made", "file_name", "make_cutouts"]

#: Format → extension.
FORMATS = {"png": ".png", "jpeg": ".jpg"}
QUALITY = 95
#: Reported by name; the table's `error` column has them all.
MAX_REPORTED = 1000
#: Pictures of one folder: more names make many programs slow.
FOLDER = 1000
#: Enough for the usual rate, at the second or two that a service takes for a picture.
THREADS = 8
JOURNAL = "_journal.sqlite"
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")
#: Characters of a file's name.
NAME = 100


class CutoutError(TuningforkError, ValueError):
    """A folder that cannot be written to, or gone on with; the message says what to do."""


@dataclass(frozen=True)
class Made:
    """How it ended: the table, its rows, how many failed and the first of these by name, how many were there."""

    table: Path
    rows: int
    failed: int
    resumed: int
    errors: tuple[RowError, ...]


def make_cutouts(
    wanted: Iterable[Place],
    source: SkySource,
    folder: str | os.PathLike[str],
    *,
    pixels: int,
    identity: Mapping[str, object],
    format: str = "png",
    quality: int = QUALITY,
    threads: int = THREADS,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
    rows: int = 0,
) -> Made:
    """Fetch a picture of each place into ``FOLDER/00000/ID.png``, and write ``FOLDER/cutouts.parquet``.

    A thousand rows share a folder. The table has the rows in the catalogue's order, whatever order the pictures
    came in. With `resume` what is there is kept: of a run that was interrupted, or for rows that failed, or if the
    catalogue has changed since, only what is missing is fetched.

    Parameters
    ----------
    pixels : int
        A side of the pictures.
    identity : mapping of JSON's kinds
        What decides the pictures beside the places; a folder is not gone on with if it was another.
    threads : int
        Requests under way at a time, at most; the source's rate holds for all of them together.
    rows : int
        How many places there are, for the progress; 0: not known.

    Raises
    ------
    CutoutError
        If another run is in the way.
    OSError
        If the folder cannot be written to.
    """
    folder = Path(folder)
    what = {**identity, "pixels": pixels, "format": format, **({"quality": quality} if format == "jpeg" else {})}
    folder.mkdir(exist_ok=True)
    busy = CutoutError(f"another run is writing {folder}; wait for it, or name another folder")
    with lock(folder / ".lock", busy), closing(_journal(folder, what, resume)) as journal:
        todo = _Todo(wanted, journal, folder, FORMATS[format])
        made = imap_unordered(lambda errand: _made(errand, source, folder, pixels, format, quality), todo, threads)
        for done in made:
            journal.put(done)
            if progress:
                progress(todo.seen, max(rows, todo.seen))
        for gone in journal.cut(todo.seen):
            _remove(folder, gone)
        if progress:
            progress(todo.seen, todo.seen)
        write_table(journal, folder / TABLE)
        failed, errors = _failed(journal, folder)
    return Made(folder / TABLE, todo.seen, failed, todo.kept, tuple(errors))


def _journal(folder: Path, what: Mapping[str, object], resume: bool) -> Journal:
    file = folder / JOURNAL
    if not file.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise CutoutError(f"{folder} is in the way and not ours; move it or name another folder")
    try:
        journal = Journal(file)
        before = journal.identity()
    except ValueError as error:
        raise CutoutError(str(error)) from None
    if before is None:
        journal.begin(what)
        return journal
    differs = sorted(key for key in {*before, *what} if before.get(key) != what.get(key))
    if not resume or differs:
        journal.close()
    if differs:
        was, is_ = before.get(differs[0]), what.get(differs[0])
        raise CutoutError(f"{folder} holds cutouts of another {differs[0]} ({was!r}, not {is_!r}); name another folder")
    if not resume:
        raise CutoutError(f"{folder} holds cutouts already: go on with --resume, or delete that folder")
    return journal


@dataclass(frozen=True)
class _Errand:
    """A place, and the file for its picture within the folder."""

    place: Place
    path: str


class _Todo:
    """The places that need a picture, each with its file's name; counts all that are seen, and those that are there."""

    def __init__(self, wanted: Iterable[Place], journal: Journal, folder: Path, extension: str) -> None:
        self.seen = self.kept = 0
        self._wanted, self._journal, self._folder, self._extension = wanted, journal, folder, extension

    def __iter__(self) -> Iterator[_Errand]:
        names: set[str] = set()
        for place in self._wanted:
            if place.row % FOLDER == 0:
                names.clear()
            path = f"{place.row // FOLDER:05d}/{file_name(place, names)}{self._extension}"
            self.seen += 1
            before = self._journal.get(place.row)
            if before and before.path == path and _same(before, place) and (self._folder / path).exists():
                self.kept += 1
                continue
            if before and before.path:
                _remove(self._folder, before)
            yield _Errand(place, path)


def _same(before: Done, place: Place) -> bool:
    asked = (before.id, before.ra, before.dec, before.size)
    return not place.error and asked == (place.id, place.ra, place.dec, place.size)


def file_name(place: Place, taken: set[str]) -> str:
    """A file's name for an ID, whatever it holds: no other of this folder, told without regard to case."""
    name = _UNSAFE.sub("_", place.id)[:NAME]
    if name.startswith((".", "-")):
        name = "_" + name[1:]
    if not name or name.lower() in taken:
        name = f"{name or '_'}-row{place.row + 1}"
    while name.lower() in taken:
        name += "_"
    taken.add(name.lower())
    return name


def _made(errand: _Errand, source: SkySource, folder: Path, pixels: int, format: str, quality: int) -> Done:
    """Fetch one picture; whatever goes wrong becomes the row's error, but for the disk's own trouble."""
    place = errand.place
    done = Done(place.row, place.id, place.ra, place.dec, place.size)
    if place.error:
        return replace(done, error=place.error)
    try:
        cutout = source.cutout(place.ra, place.dec, place.size, pixels)
        data = _encoded(cutout, format, quality)
    except ImageError as error:
        return replace(done, error=str(error))
    except Exception as error:  # one place of a million must not end the run
        return replace(done, error=f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    path = folder / errand.path
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path, sync=False) as part:
        part.write_bytes(data)
    return replace(done, path=errand.path, **Done.told(cutout))


def _encoded(cutout: Cutout, format: str, quality: int) -> bytes:
    file = io.BytesIO()
    options = {"quality": quality, "subsampling": 0} if format == "jpeg" else {}
    Image.fromarray(cutout.picture).save(file, format, **options)
    return file.getvalue()


def _remove(folder: Path, done: Done) -> None:
    if done.path:
        (folder / done.path).unlink(missing_ok=True)


def _failed(journal: Journal, folder: Path) -> tuple[int, list[RowError]]:
    failed, errors = 0, []
    for done in journal:
        if done.error:
            failed += 1
            if len(errors) < MAX_REPORTED:
                errors.append(RowError(str(folder / TABLE), done.row + 1, done.id, "", done.error))
    return failed, errors
