"""Pictures on disk → a table on disk: streaming, overlapped, resumable after any interruption."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from .catalog import RowError, check_format, table_writer
from .files import check_writable, lock, write_text
from .images import find_pictures
from .model import Model, Read, load
from .predictions import concatenated, kaggle_schema, output_schema

__all__ = ["PART_ROWS", "PredictError", "Summary", "load", "predict_batches", "predict_files"]

#: Rows that a crash can cost; a part is written whole or not at all.
PART_ROWS = 512
#: Reported by name; the table's `error` column has them all.
MAX_REPORTED = 1000


class PredictError(ValueError):
    """A prediction that cannot begin; the message says what to do."""


@dataclass(frozen=True)
class Summary:
    """How a prediction ended: rows in the table, how many of them failed, the first of these by name.

    `out_of_domain` rows were flagged; None if the model cannot tell.
    """

    output: Path
    rows: int
    failed: int
    resumed: int
    errors: tuple[RowError, ...]
    out_of_domain: int | None


def predict_files(
    model: Model,
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    kaggle: bool = False,
    views: int | None = None,
    batch: int = 32,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Predict every picture under `paths` into the table `output`, one row a picture.

    Parts of `PART_ROWS` rows are kept in the folder ``OUTPUT.parts`` and joined at the end. After an
    interruption `resume` goes on behind the last whole part and gives the same table, byte for byte,
    as an uninterrupted run on the same machine.

    Parameters
    ----------
    kaggle : bool
        Write GalaxyID and the cumulative columns in the campaign's order.
    views : 1, 2, 4, 8 or None
        Rotated and reflected views to average; None: as the model asks.
    progress : function of (rows done, rows in all)

    Raises
    ------
    PredictError
        If there is no picture, parts of another run are in the way, or the input changed since.
    OSError
        If the output cannot be written (found out before the work begins).
    """
    output = Path(output)
    check_format(output)
    check_writable(output)
    total, fingerprint = _survey(model, paths, kaggle, views, batch)
    if not total:
        raise PredictError(f"no picture in {', '.join(map(str, paths))}; is it the right folder?")
    parts = output.with_name(output.name + ".parts")
    busy = PredictError(f"another run is writing {output}; wait for it, or name another output")
    with lock(parts.with_name(f".{parts.name}.lock"), busy):
        _open_parts(parts, fingerprint, resume)
        return _predict_parts(model, paths, output, parts, total, kaggle, views, batch, progress)


def _predict_parts(
    model: Model,
    paths: Sequence[str | os.PathLike[str]],
    output: Path,
    parts: Path,
    total: int,
    kaggle: bool,
    views: int | None,
    batch: int,
    progress: Callable[[int, int], None] | None,
) -> Summary:
    schema = kaggle_schema(model.tree) if kaggle else output_schema(model.tree)
    pictures = find_pictures(paths)
    errors: list[RowError] = []
    failed = flagged = resumed = done = 0
    for number in range(-(-total // PART_ROWS)):
        file = parts / f"part-{number:08d}.parquet"
        rows = list(islice(pictures, PART_ROWS))
        if file.exists():
            resumed += len(rows)
        else:
            predictions = []
            for prediction in predict_batches(model, rows, views=views, batch=batch):
                predictions.append(prediction)
                if progress:
                    progress(done + sum(map(len, predictions)), total)
            joined = concatenated(model.tree, predictions)
            table = joined.to_kaggle() if kaggle else joined.to_table()
            # Reasons and flags travel beside the table, since Kaggle's layout has no columns for them.
            reasons = {
                str(row): [joined.paths[row], joined.ids[row], reason]
                for row, reason in enumerate(joined.errors)
                if reason
            }
            table = table.replace_schema_metadata(
                {"errors": json.dumps(reasons), "out_of_domain": str(joined.out_of_domain.sum())}
            )
            with table_writer(file, table.schema) as write:
                write(table)
        done += len(rows)
        if progress:
            progress(done, total)
    with table_writer(output, schema) as write:
        for number in range(-(-total // PART_ROWS)):
            table = pa.parquet.read_table(parts / f"part-{number:08d}.parquet", partitioning=None)
            reasons = json.loads(table.schema.metadata[b"errors"])
            failed += len(reasons)
            flagged += int(table.schema.metadata[b"out_of_domain"])
            for row, (path, id_, reason) in reasons.items():
                if len(errors) < MAX_REPORTED:
                    errors.append(RowError(path, number * PART_ROWS + int(row) + 1, id_, "", reason))
            write(table.cast(schema))
    _remove_parts(parts)
    return Summary(output, total, failed, resumed, tuple(errors), flagged if model.calibration.domain else None)


def predict_batches(model: Model, pictures: Sequence[Path], *, views: int | None = None, batch: int = 32) -> Iterator:
    """Predictions batch by batch; the next batches are read in threads while the network works.

    At most three batches of resized pictures are held, however many there are.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        ahead: deque[list[Future[Read]]] = deque()
        starts = iter(range(0, len(pictures), batch))

        def fill() -> None:
            for start in islice(starts, 3 - len(ahead)):
                ahead.append([pool.submit(model.read, path) for path in pictures[start : start + batch]])

        fill()
        while ahead:
            reads = [future.result() for future in ahead.popleft()]
            fill()
            yield model.finish(reads, views)


def _survey(
    model: Model, paths: Sequence[str | os.PathLike[str]], kaggle: bool, views: int | None, batch: int
) -> tuple[int, str]:
    """How many pictures there are, and a digest of all that decides the table."""
    digest = hashlib.sha256(repr((model.bundle.sha256, kaggle, views or model.views, batch, PART_ROWS)).encode())
    total = 0
    seen: dict[str, Path] = {}
    for path in find_pictures(paths):
        if kaggle and seen.setdefault(path.stem, path) is not path:
            raise PredictError(
                f"{path} and {seen[path.stem]} are both named {path.stem}, and Kaggle's layout has no path to tell "
                "them apart; rename one, or leave it out"
            )
        try:
            status = path.stat()
            state = f"{status.st_size},{status.st_mtime_ns}"
        except OSError:
            state = "unreadable"
        digest.update(f"{path}\0{state}\n".encode("utf-8", "surrogateescape"))
        total += 1
    return total, digest.hexdigest()


def _open_parts(parts: Path, fingerprint: str, resume: bool) -> None:
    note = parts / "run.json"
    if note.exists():
        if not resume:
            raise PredictError(f"{parts} holds an interrupted run: go on with --resume, or delete that folder")
        if json.loads(note.read_text("utf-8")).get("fingerprint") != fingerprint:
            raise PredictError(
                f"{parts} is of a run with other pictures, another model or other options (or a picture has "
                "changed since); delete that folder to begin anew"
            )
        return
    # Killed before run.json was whole, we leave a hidden part of it.
    if parts.exists() and any(not entry.name.startswith(".") for entry in parts.iterdir()):
        raise PredictError(f"{parts} is in the way and not ours; move it or name another output")
    parts.mkdir(exist_ok=True)
    write_text(note, json.dumps({"fingerprint": fingerprint, "part_rows": PART_ROWS}) + "\n")


def _remove_parts(parts: Path) -> None:
    # run.json goes last: whatever is left after a kill here is still recognised as ours.
    for file in parts.glob("*part-*"):
        file.unlink()
    shutil.rmtree(parts)
