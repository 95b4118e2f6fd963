"""Local engine: predict chunks in this process, or in several with one network thread each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._utils.environment import available_cores
from .._utils.processes import Worker, WorkerCrash, WorkerError, WorkerTimeout, run_tasks
from ..images.fits.framing import Framing
from ..inputs import ItemReader
from ..inputs.spool import splits_row_group, spool_rows
from ..model.bundle import Bundle
from ..model.model import Model
from ..model.options import InferenceOptions
from .chunks import Chunk, predict_chunk
from .options import ExecutionOptions
from .part_table import ChunkResult, TableLayout

__all__ = ["ChunkJob", "drive_chunks", "predict_chunks", "worker_count"]

#: Rows that take about as long to predict as a process takes to start.
ROWS_PER_WORKER = 200
#: The same where galaxies are measured.
MEASURED_PER_WORKER = 4
#: Seconds without a block of rows, or a row, after which a worker is killed: a decoder hangs.
IDLE_SECONDS = 300.0
#: Processes that one chunk may cost before the run is given up.
MAX_CRASHES = 20


def worker_count(rows: int, *, structure: bool = False) -> int:
    """How many processes pay for so many rows on this machine; 1: predict them in this one."""
    return max(1, min(available_cores(), rows // (MEASURED_PER_WORKER if structure else ROWS_PER_WORKER)))


@dataclass(frozen=True)
class ChunkJob:
    """What a worker needs to predict chunks; see `processes.Job`."""

    bundle: Bundle
    layout: TableLayout
    inference: InferenceOptions
    readers: int
    #: How the networks are opened; see `Model`.
    running: Mapping[str, Any]
    framing: Framing

    def open(self) -> Callable[[Chunk, Callable[[Any], None]], ChunkResult]:
        """Open the model; called in the worker."""
        model, reader = Model(self.bundle, framing=self.framing, **self.running), ItemReader()

        def answer(chunk: Chunk, send_message: Callable[[Any], None]) -> ChunkResult:
            return predict_chunk(
                model,
                chunk,
                reader,
                self.layout,
                self.inference,
                threads=self.readers,
                on_rows=lambda rows: send_message(("rows", rows)),
                on_row=lambda row: send_message(("row", row)),
            )

        return answer


def predict_chunks(
    model: Model,
    groups: Iterator[list[Chunk]],
    layout: TableLayout,
    inference: InferenceOptions,
    execution: ExecutionOptions,
    *,
    readers: int,
    on_rows: Callable[[int], None],
    spool: Path | None = None,
) -> Iterator[ChunkResult]:
    """Predict the chunks of `groups` as they come; one worker predicts a group's chunks, one after the other.

    Parameters
    ----------
    execution : number of workers (1: this process does it all) and threads of the network in each of them; the
        model of this process has its own already
    readers : threads that read ahead, in each worker
    on_rows : called in this thread with the number of rows that were predicted since
    spool : folder for images of row groups that several workers share, so that each is decoded once; None: none is

    Raises
    ------
    WorkerError
        If workers crash again and again over one chunk.
    """
    if execution.workers == 1:
        with ItemReader() as reader:
            for group in groups:
                for chunk in group:
                    yield predict_chunk(model, chunk, reader, layout, inference, threads=readers, on_rows=on_rows)
        return
    running = {**model.running, "threads": execution.threads or 1}
    job = ChunkJob(model.bundle, layout, inference, readers, running, model.framing)
    if spool:
        groups = _decoded_once(groups, spool)

    def drive(worker: Worker, group: list[Chunk], on_rows: Callable[[int], None]) -> Iterator[ChunkResult]:
        try:
            yield from drive_chunks(worker, group, on_rows)
        finally:
            if spool:
                for chunk in group:
                    _spool_file(spool, chunk).unlink(missing_ok=True)

    for answer in run_tasks(groups, [Worker(job) for _ in range(execution.workers)], drive):
        if isinstance(answer, ChunkResult):
            yield answer
        else:
            on_rows(answer)


def _decoded_once(groups: Iterator[list[Chunk]], spool: Path) -> Iterator[list[Chunk]]:
    """The groups; of a row group that is larger than a group, this process decodes the images into spool files."""
    from ..inputs.parquet_images import RowReader

    reader = RowReader()
    for group in groups:
        if not splits_row_group([item for chunk in group for item in chunk.items]):
            yield group
            continue
        for chunk in group:
            yield [replace(chunk, items=spool_rows(chunk.items, reader, _spool_file(spool, chunk)))]


def _spool_file(spool: Path, chunk: Chunk) -> Path:
    # As unfinished files are named, so that those of a killed run are removed with it.
    return spool / f".spool-{chunk.number:08d}.part"


def drive_chunks(worker: Worker, group: list[Chunk], on_rows: Callable[[int], None]) -> Iterator[ChunkResult]:
    """Have one worker predict a group's chunks, whatever becomes of its process.

    A chunk whose worker crashed is tried again; if that one crashes too, row by row, so that the row at fault is found
    and reported. So is one that reports nothing for `IDLE_SECONDS`, but row by row at once.

    Parameters
    ----------
    worker : Worker
        Its job answers with a `ChunkResult`, and sends ("rows", number of rows since the last message) or, row by row,
        ("row", the row that comes next).
    group : list of Chunk
    on_rows : callable
        Called with the number of rows that were done since; a negative one takes back those of a crashed worker.

    Raises
    ------
    WorkerError
        If `MAX_CRASHES` workers crash over one chunk, or a task raises.
    """
    for chunk in group:
        crashes, reported = 0, 0

        def on_message(message: tuple[str, int]) -> None:
            nonlocal reported
            if message[0] == "rows":
                reported += message[1]
                on_rows(message[1])

        while True:
            try:
                yield worker.run(chunk, on_message, idle=IDLE_SECONDS)
                on_rows(len(chunk.items) - reported)
                break
            except (WorkerCrash, WorkerTimeout) as crash:
                crashes += 1
                on_rows(-reported)
                reported = 0
                if crashes >= MAX_CRASHES:
                    raise WorkerError(
                        f"part {chunk.number}: {crashes} processes ended over it, the last with {_cause(crash)}; "
                        "is there enough memory? Try fewer --workers"
                    ) from None
                if chunk.row_by_row and crash.last_message and crash.last_message[0] == "row":
                    reason = f"the process that read it ended with {_cause(crash)}"
                    chunk = replace(chunk, known_failures={**chunk.known_failures, crash.last_message[1]: reason})
                elif crashes > 1 or isinstance(crash, WorkerTimeout):
                    chunk = replace(chunk, row_by_row=True)


def _cause(crash: WorkerCrash | WorkerTimeout) -> str:
    if isinstance(crash, WorkerTimeout):
        return f"a timeout: it {crash}"
    if crash.exit_code is not None and crash.exit_code < 0:
        note = "; out of memory?" if crash.exit_code == -9 else ""
        return f"signal {-crash.exit_code}{note}"
    return f"exit code {crash.exit_code}"
