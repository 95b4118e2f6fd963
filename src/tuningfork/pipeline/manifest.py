"""Manifest of a prediction run: what it is, what it reads, which parts are written; so a killed run can be resumed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from .. import __version__
from .._utils.environment import available_cores
from .._utils.errors import TuningforkError
from .._utils.files import atomic_file, write_text
from .._utils.text import one_line
from ..inputs import Digest, InputItem, read_listing, write_listing

logger = logging.getLogger(__name__)

__all__ = [
    "MANIFEST",
    "ManifestError",
    "PredictionRun",
    "check_identity",
    "has_run",
    "open_run",
    "part_rows",
    "read_run",
]

MANIFEST = "_manifest.json"
#: What begins with an underscore is passed over by those who read a folder as one data set, and what does not
#: end with .parquet by those who read ``*.parquet``; it is Parquet all the same.
LISTING = "_inputs"
FORM = 1
#: Rows of a part: what a crash can cost each worker. Runs of more than so many rows have larger parts, since
#: millions of small files are a burden of their own.
PART_ROWS = ((0, 512), (100_000, 2048), (10_000_000, 8192))
LEAST_ROWS = 64
#: Parts that each core does at least, so that none is long idle at the end.
SHARES = 12


class ManifestError(TuningforkError, ValueError):
    """A folder that cannot be written to, or gone on with; the message says what to do."""


def part_rows(rows: int, workers: int = 1) -> int:
    """How many rows a part of a run of so many rows has, so that so many workers end at about the same time."""
    size = next(size for least, size in reversed(PART_ROWS) if rows >= least)
    return min(size, max(LEAST_ROWS, -(-rows // (SHARES * workers))))


@dataclass(frozen=True)
class PredictionRun:
    """A run's folder: ``part-….parquet``, the listing of its input, and ``_manifest.json``.

    Parameters
    ----------
    identity : what decides the rows beside the input: model, views, layout
    rows, part_rows : rows in all, and of a part; the last one has what is left
    has_positions : whether the input says where in the sky its galaxies are
    shards : how many processes share the run's parts, each by its number; None: one takes all
    left_out : what the inputs hold beside images, counted by kind
    version : of tuningfork that began the run
    """

    folder: Path
    identity: Mapping[str, Any]
    rows: int
    digest: str
    part_rows: int
    has_positions: bool
    shards: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    version: str = __version__

    @property
    def parts(self) -> int:
        """How many there are."""
        return -(-self.rows // self.part_rows)

    def part(self, number: int) -> Path:
        """The file of a part, numbered from 0."""
        return self.folder / f"part-{number:08d}.parquet"

    def write_part(self, number: int, data: bytes) -> None:
        """Write the file of a part, completely or not at all."""
        with atomic_file(self.part(number)) as file:
            file.write_bytes(data)

    def rows_of(self, number: int) -> int:
        """How many rows a part has."""
        return min(self.part_rows, self.rows - number * self.part_rows)

    def is_complete(self, number: int) -> bool:
        """Whether a part is there with all its rows; one that a crash has cut is not."""
        import pyarrow.parquet as pq

        try:
            about = pq.read_metadata(self.part(number))
        except (OSError, ValueError, pa.ArrowException):  # ValueError: bytes of a name that are no text
            return False
        return about.num_rows == self.rows_of(number) and b"errors" in (about.metadata or {})

    def chunks_of(self, numbers: Collection[int]) -> Iterator[tuple[int, list[InputItem]]]:
        """The parts of these numbers with their items, streamed from the listing."""
        wanted = set(numbers)
        items = read_listing(self.folder / LISTING)
        for number in range(self.parts):
            block = list(islice(items, self.part_rows))
            if number in wanted:
                yield number, block

    def finish(self) -> None:
        """Write in the manifest that all parts are there, with their rows.

        Raises
        ------
        ManifestError
            If a part is missing.
        """
        parts = []
        for number in range(self.parts):
            if not self.is_complete(number):
                raise ManifestError(f"{self.part(number)} is missing or damaged; go on with --resume")
            rows, size = self.rows_of(number), self.part(number).stat().st_size
            parts.append({"file": self.part(number).name, "rows": rows, "bytes": size})
        _write(self, parts)

    def remove(self) -> None:
        """Delete the folder."""
        for file in self.folder.glob("*part-*"):
            file.unlink()
        (self.folder / LISTING).unlink(missing_ok=True)
        for file in self.folder.glob(".*.part"):
            file.unlink()
        # The manifest goes last: whatever is left after a kill here is still recognised as ours.
        (self.folder / MANIFEST).unlink()
        with suppress(OSError):
            self.folder.rmdir()


def open_run(
    folder: Path,
    identity: Mapping[str, Any],
    items: Callable[[], Iterable[InputItem]],
    *,
    resume: bool = False,
    shards: int | None = None,
    chunk_rows: int | None = None,
    left_out: Mapping[str, int] | None = None,
) -> PredictionRun:
    """Begin a run in `folder`, or go on with the one that is there.

    Parameters
    ----------
    items : function without arguments
        Lists the input. Called again at a resume, to check that the input is still the same; not by
        shards, which would each list all of it.
    resume : bool
        Whether to go on with a run that is there.
    left_out : mapping, optional
        What the inputs hold beside images, by kind; filled while `items` lists them.
    shards : int, optional
        One of so many processes that share the folder; it continues the run that another one began.

    Raises
    ------
    ManifestError
        If another run is in the way, its input has changed, or what is there is not ours.
    """
    if has_run(folder):
        if not resume and shards is None:
            raise ManifestError(
                f"{folder} holds an interrupted or finished run: go on with --resume, or delete that folder "
                "(--overwrite replaces files only)"
            )
        return _resume(folder, identity, items, shards)
    # A run that was killed before its manifest was complete leaves a listing or a hidden part of it.
    if folder.exists() and any(not e.name.startswith(".") and e.name != LISTING for e in folder.iterdir()):
        raise ManifestError(f"{folder} is in the way and not ours; move it or name another output")
    is_new = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        digest = write_listing(items(), folder / LISTING)
    except BaseException:
        _undo(folder, is_new)
        raise
    rows = chunk_rows or part_rows(digest.rows, available_cores())
    run = PredictionRun(
        folder, identity, digest.rows, digest.hexdigest(), rows, digest.has_positions, shards, dict(left_out or {})
    )
    if not run.rows:
        _undo(folder, is_new)
        return run
    _write(run)
    return run


def _undo(folder: Path, is_new: bool) -> None:
    (folder / LISTING).unlink(missing_ok=True)
    if is_new:
        with suppress(OSError):
            folder.rmdir()


def _resume(
    folder: Path, identity: Mapping[str, Any], items: Callable[[], Iterable[InputItem]], shards: int | None
) -> PredictionRun:
    run = read_run(folder)
    if run.version != __version__:
        logger.warning(
            "%s was begun by tuningfork %s and is continued by %s: rows of both may differ; delete that folder to "
            "begin anew",
            folder,
            run.version,
            __version__,
        )
    check_identity(run, identity)
    if shards is not None:
        if run.shards not in (None, shards):
            raise ManifestError(
                f"{folder} is being written by {run.shards} shards; go on with as many, or with --resume alone"
            )
        if run.shards is None:
            run = replace(run, shards=shards)
            _write(run)
        return run
    # A run that was killed while it was removed has lost its parts, then its listing.
    is_listed = (folder / LISTING).exists()
    digest = Digest() if is_listed else write_listing(items(), folder / LISTING)
    for _ in digest.count(items()) if is_listed else ():
        pass
    if (digest.rows, digest.hexdigest()) != (run.rows, run.digest):
        if not is_listed:
            (folder / LISTING).unlink()
        raise ManifestError(
            f"{folder} is of a run with other images ({run.rows}, now {digest.rows}; or one has changed since); "
            "delete that folder to begin anew"
        )
    return run


def check_identity(run: PredictionRun, identity: Mapping[str, Any]) -> None:
    """Raise ManifestError if a run is of another model, other views or another layout."""
    for key in {**identity, **run.identity}:
        before, wanted = run.identity.get(key), identity.get(key)
        if before != wanted:
            raise ManifestError(
                f"{run.folder} is of a run with another {key} ({before!r}, not {wanted!r}); "
                "delete that folder to begin anew"
            )


def has_run(folder: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    return (folder / MANIFEST).exists()


def read_run(folder: Path) -> PredictionRun:
    """The run that a folder holds. Raises ManifestError if it holds none that this version can read."""
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_text("utf-8"))
        if content["form"] != FORM:
            raise ManifestError(f"{file} is of another version of tuningfork ({content.get('tuningfork')})")
        inputs = content["inputs"]
        run = PredictionRun(
            folder,
            dict(content["run"]),
            int(inputs["rows"]),
            str(inputs["digest"]),
            int(content["part_rows"]),
            bool(inputs["has_positions"]),
            None if content["shards"] is None else int(content["shards"]),
            {str(kind): int(count) for kind, count in inputs.get("left_out", {}).items()},
            str(content["tuningfork"]),
        )
    except ManifestError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise ManifestError(f"{folder}: not a folder that `predict` wrote (it has no {MANIFEST})") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{file} cannot be read ({one_line(error)}); delete {folder} to begin anew") from None
    if run.rows < 1 or run.part_rows < 1:
        raise ManifestError(f"{file} is of no rows; delete {folder} to begin anew")
    return run


def _write(run: PredictionRun, parts: list[dict[str, Any]] | None = None) -> None:
    content = {
        "tuningfork": run.version,
        "form": FORM,
        "run": dict(run.identity),
        "inputs": {
            "rows": run.rows,
            "digest": run.digest,
            "has_positions": run.has_positions,
            "left_out": dict(run.left_out),
        },
        "part_rows": run.part_rows,
        "shards": run.shards,
        "complete": parts is not None,
        "parts": parts or [],
    }
    write_text(run.folder / MANIFEST, json.dumps(content, indent=1) + "\n")
