"""Download cutouts: an image of each target into a folder, in threads, resumed after any interruption."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from operator import length_hint
from pathlib import Path

from .._utils.errors import TuningforkError
from .._utils.files import atomic_file
from .._utils.locks import lock
from .._utils.text import one_line
from .._utils.threads import imap_unordered
from ..images.encode import jpeg, png
from ..images.image import ImageError
from ..tables import MAX_REPORTED, RowError
from .client import ServiceDown
from .cutout import Cutout, SkySource
from .cutout_table import TABLE, write_table
from .journal import Entry, Journal
from .targets import Target

__all__ = [
    "EXTENSIONS",
    "CutoutError",
    "CutoutFormat",
    "CutoutSummary",
    "download_cutouts",
    "file_name",
]

logger = logging.getLogger(__name__)

#: Format → extension.
EXTENSIONS = {"png": ".png", "jpeg": ".jpg"}
#: A side of Galaxy Zoo 2's images (Willett et al. 2013).
PIXELS = 424
#: Images of one folder: more names make many programs slow.
FOLDER = 1000
#: Enough for the default rate, at the second or two that a service takes for an image.
THREADS = 8
JOURNAL = "_journal.sqlite"
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")
#: Characters of a file's name.
NAME = 100


class CutoutError(TuningforkError, ValueError):
    """A folder that cannot be written to or resumed, or a service that is down; the message says what to do."""


@dataclass(frozen=True, slots=True)
class CutoutFormat:
    """Format of the image files.

    Parameters
    ----------
    pixels : int
        A side.
    kind : {"png", "jpeg"}
    quality : int
        Of JPEG files, 1 to 100.
    """

    pixels: int = PIXELS
    kind: str = "png"
    quality: int = 95

    def encode(self, cutout: Cutout) -> bytes:
        """The bytes of the cutout's file."""
        if self.kind == "png":
            return png(cutout.rgb, optimize=False)
        return jpeg(cutout.rgb, self.quality, subsampling="444")

    def identity(self) -> dict[str, object]:
        """What decides the files' contents, as JSON stores it."""
        quality = {"quality": self.quality} if self.kind == "jpeg" else {}
        return {"pixels": self.pixels, "format": self.kind, **quality}


@dataclass(frozen=True)
class CutoutSummary:
    """Result of a download.

    Parameters
    ----------
    table : Path
        Its table of cutouts.
    rows, failed, resumed : int
        Rows of the table, of these without an image, and with one from before.
    errors : tuple of RowError
        The first `MAX_REPORTED` failures.
    """

    table: Path
    rows: int
    failed: int
    resumed: int
    errors: tuple[RowError, ...]


def download_cutouts(
    targets: Iterable[Target],
    source: SkySource,
    folder: str | os.PathLike[str],
    format: CutoutFormat = CutoutFormat(),
    *,
    identity: Mapping[str, object] | None = None,
    threads: int = THREADS,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CutoutSummary:
    """Fetch an image of each target into ``FOLDER/00000/ID.png``, and write ``FOLDER/cutouts.parquet``.

    A thousand rows share a folder. The table has the rows in the catalogue's order, whatever order the images came in.
    With `resume` what is there stays: of a run that was interrupted, or for rows that failed, or if the catalogue has
    changed since, only what is missing is fetched.

    Parameters
    ----------
    identity : mapping, optional
        What decides the images beside targets and format, in JSON's types; a folder of another identity is not resumed.
    threads : int
        Requests under way at a time, at most; the source's rate holds for all of them together.
    progress : callable
        Called with the rows done and the rows in all.

    Raises
    ------
    CutoutError
        If another run is in the way, or the service is down: it failed many times in a row. What is done stays.
    OSError
        If the folder cannot be written to.
    """
    folder, total = Path(folder), length_hint(targets)
    folder.mkdir(exist_ok=True)
    busy = CutoutError(f"another run is writing {folder}; wait for it, or name another folder")
    run = {**(identity or {}), **format.identity()}
    with lock(folder / ".lock", busy), closing(_journal(folder, run, resume)) as journal:
        jobs = _Jobs(targets, journal, folder, EXTENSIONS[format.kind])
        try:
            for entry in imap_unordered(lambda job: _fetch(job, source, folder, format), jobs, threads):
                journal.put(entry)
                if progress:
                    progress(jobs.rows, max(total, jobs.rows))
        except ServiceDown as error:
            raise CutoutError(f"{error}; what is done stays in {folder}: try it later, with --resume") from None
        for entry in journal.cut(jobs.rows):
            _remove(folder, entry)
        if progress:
            progress(jobs.rows, jobs.rows)
        write_table(journal, folder / TABLE)
        failed, errors = _failed(journal, folder)
    return CutoutSummary(folder / TABLE, jobs.rows, failed, jobs.resumed, tuple(errors))


def _journal(folder: Path, run: Mapping[str, object], resume: bool) -> Journal:
    file = folder / JOURNAL
    if not file.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise CutoutError(f"{folder} holds other files than cutouts; move it or name another folder")
    try:
        journal = Journal(file)
    except ValueError as error:
        raise CutoutError(str(error)) from None
    before = journal.identity()
    if before is None:
        journal.begin(run)
        return journal
    differs = sorted(key for key in {*before, *run} if before.get(key) != run.get(key))
    if not resume or differs:
        journal.close()
    if differs:
        was, is_ = before.get(differs[0]), run.get(differs[0])
        raise CutoutError(f"{folder} holds cutouts of another {differs[0]} ({was!r}, not {is_!r}); name another folder")
    if not resume:
        raise CutoutError(f"{folder} holds cutouts already: resume with --resume, or delete that folder")
    return journal


@dataclass(frozen=True)
class _Job:
    """A target, and the file for its image within the folder."""

    target: Target
    path: str


class _Jobs:
    """The targets that need an image, each with its file's name; counts the rows, and those that have one."""

    def __init__(self, targets: Iterable[Target], journal: Journal, folder: Path, extension: str) -> None:
        self.rows = self.resumed = 0
        self._targets, self._journal, self._folder, self._extension = targets, journal, folder, extension

    def __iter__(self) -> Iterator[_Job]:
        names: set[str] = set()
        for target in self._targets:
            if target.row % FOLDER == 0:
                names.clear()
            path = f"{target.row // FOLDER:05d}/{file_name(target, names)}{self._extension}"
            self.rows += 1
            before = self._journal.get(target.row)
            if before and before.path == path and _same(before, target) and (self._folder / path).exists():
                self.resumed += 1
                continue
            if before and before.path:
                _remove(self._folder, before)
            yield _Job(target, path)


def _same(before: Entry, target: Target) -> bool:
    entry = (before.id, before.ra, before.dec, before.size)
    return not target.error and entry == (target.id, target.ra, target.dec, target.size)


def file_name(target: Target, taken: set[str]) -> str:
    """A file's name for an ID, whatever it holds; unique in its folder without regard to case."""
    name = _UNSAFE.sub("_", target.id)[:NAME]
    if name.startswith((".", "-")):
        name = "_" + name[1:]
    if not name or name.lower() in taken:
        name = f"{name or '_'}-row{target.row + 1}"
    while name.lower() in taken:
        name += "_"
    taken.add(name.lower())
    return name


def _fetch(job: _Job, source: SkySource, folder: Path, format: CutoutFormat) -> Entry:
    """Fetch one image; whatever goes wrong becomes the row's error, but for the disk's own trouble."""
    target = job.target
    entry = Entry(target.row, target.id, target.ra, target.dec, target.size)
    if target.error:
        return replace(entry, error=target.error)
    try:
        cutout = source.cutout(target.ra, target.dec, target.size, format.pixels)
        data = format.encode(cutout)
    except ServiceDown:
        raise
    except ImageError as error:
        return replace(entry, error=str(error))
    except Exception as error:  # one target of a million must not end the run
        return replace(entry, error=f"unexpected {type(error).__name__}: {one_line(error)}")
    path = folder / job.path
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path, sync=False) as part:
        part.write_bytes(data)
    return replace(entry, path=job.path, **Entry.provenance(cutout))


def _remove(folder: Path, entry: Entry) -> None:
    if entry.path:
        (folder / entry.path).unlink(missing_ok=True)


def _failed(journal: Journal, folder: Path) -> tuple[int, list[RowError]]:
    failed = 0
    errors: list[RowError] = []
    for entry in journal:
        if entry.error:
            failed += 1
            if len(errors) < MAX_REPORTED:
                errors.append(RowError(str(folder / TABLE), entry.row + 1, entry.id, "", entry.error))
    return failed, errors
