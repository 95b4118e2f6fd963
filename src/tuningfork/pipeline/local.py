"""The parts of a prediction on this machine: in this process, or in several, one network thread each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._utils.processes import Worker, WorkerCrash, WorkerError, available_cores, run_tasks
from ..images.fits.framing import Framing
from ..inputs import ItemReader
from ..model.bundle import Bundle
from ..model.model import Model
from ..model.options import InferenceOptions
from .chunks import Chunk, ChunkResult, TableLayout, predict_chunk
from .options import ExecutionOptions

__all__ = ["ChunkJob", "predict_chunks", "worker_count"]

#: A process takes about as long to begin as so many pictures to predict.
WORTH_A_WORKER = 200
#: Processes that one part may cost before the run is given up.
MAX_CRASHES = 20
Group = list[Chunk]


def worker_count(rows: int) -> int:
    """How many processes pay for so many rows on this machine; 1: do it in this one."""
    return max(1, min(available_cores(), rows // WORTH_A_WORKER))


@dataclass(frozen=True)
class ChunkJob:
    """What a worker needs to know to do parts; see `processes.Job`."""

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

        def answer(chunk: Chunk, say: Callable[[Any], None]) -> ChunkResult:
            return predict_chunk(
                model,
                chunk,
                reader,
                self.layout,
                self.inference,
                threads=self.readers,
                done=lambda rows: say(("done", rows)),
                at=lambda row: say(("at", row)),
            )

        return answer


def predict_chunks(
    model: Model,
    groups: Iterator[Group],
    layout: TableLayout,
    inference: InferenceOptions,
    execution: ExecutionOptions,
    *,
    readers: int,
    done: Callable[[int], None],
) -> Iterator[ChunkResult]:
    """The parts of `groups`, as they come; a group's parts are done by one worker, one after the other.

    Parameters
    ----------
    execution : number of workers (1: this process does it all) and threads of the network in each of them; the
        model of this process has its own already
    readers : threads that read ahead, in each worker
    done : called in this thread with numbers of rows that were predicted

    Raises
    ------
    WorkerError
        If workers die again and again over one part.
    """
    if execution.workers == 1:
        with ItemReader() as reader:
            for group in groups:
                for chunk in group:
                    yield predict_chunk(model, chunk, reader, layout, inference, threads=readers, done=done)
        return
    running = {**model.running, "threads": execution.threads or 1}
    job = ChunkJob(model.bundle, layout, inference, readers, running, model.framing)
    for answer in run_tasks(groups, [Worker(job) for _ in range(execution.workers)], _drive):
        if isinstance(answer, ChunkResult):
            yield answer
        else:
            done(answer)


def _drive(worker: Worker, group: Group, tell: Callable[[int], None]) -> Iterator[ChunkResult]:
    """Have one worker do a group's chunks, whatever becomes of its process.

    A chunk whose worker died is done again; if that one dies too, row by row, so that the row that kills is found
    and reported.
    """
    for chunk in group:
        crashes, told = 0, 0

        def hear(said: tuple[str, int]) -> None:
            nonlocal told
            if said[0] == "done":
                told += said[1]
                tell(said[1])

        while True:
            try:
                yield worker.run(chunk, hear)
                tell(len(chunk.items) - told)
                break
            except WorkerCrash as crash:
                crashes += 1
                tell(-told)
                told = 0
                if crashes >= MAX_CRASHES:
                    raise WorkerError(
                        f"part {chunk.number}: {crashes} processes ended over it, the last with {_cause(crash)}; "
                        "is there enough memory? Try fewer --workers"
                    ) from None
                if chunk.row_by_row and crash.last_message:
                    reason = f"the process that read it ended with {_cause(crash)}"
                    chunk = replace(chunk, known_failures={**chunk.known_failures, crash.last_message[1]: reason})
                elif crashes > 1:
                    chunk = replace(chunk, row_by_row=True)


def _cause(crash: WorkerCrash) -> str:
    if crash.exit_code is not None and crash.exit_code < 0:
        note = "; out of memory?" if crash.exit_code == -9 else ""
        return f"signal {-crash.exit_code}{note}"
    return f"exit code {crash.exit_code}"
