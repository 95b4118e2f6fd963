"""The parts of a prediction on this machine: in this process, or in several, one network thread each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._utils.processes import Worker, WorkerCrash, WorkerError, available_cores, run_tasks
from ..images.fits.framing import Framing
from ..inputs import Opening
from ..model.bundle import Bundle
from ..model.model import Model
from ..model.options import InferenceOptions
from .chunks import Layout, Part, Task, do_part
from .options import ExecutionOptions

__all__ = ["PartJob", "predict_parts", "workers_for"]

#: A process takes about as long to begin as so many pictures to predict.
WORTH_A_WORKER = 200
#: Processes that one part may cost before the run is given up.
MAX_DEATHS = 20
Group = list[Task]


def workers_for(rows: int) -> int:
    """How many processes pay for so many rows on this machine; 1: do it in this one."""
    return max(1, min(available_cores(), rows // WORTH_A_WORKER))


@dataclass(frozen=True)
class PartJob:
    """What a worker needs to know to do parts; see `processes.Job`."""

    bundle: Bundle
    layout: Layout
    inference: InferenceOptions
    readers: int
    #: How the networks are opened; see `Model`.
    running: Mapping[str, Any]
    framing: Framing

    def open(self) -> Callable[[Task, Callable[[Any], None]], Part]:
        """Open the model; called in the worker."""
        model, opening = Model(self.bundle, framing=self.framing, **self.running), Opening()

        def answer(task: Task, say: Callable[[Any], None]) -> Part:
            return do_part(
                model,
                task,
                opening,
                self.layout,
                self.inference,
                threads=self.readers,
                done=lambda rows: say(("done", rows)),
                at=lambda row: say(("at", row)),
            )

        return answer


def predict_parts(
    model: Model,
    groups: Iterator[Group],
    layout: Layout,
    inference: InferenceOptions,
    execution: ExecutionOptions,
    *,
    readers: int,
    done: Callable[[int], None],
) -> Iterator[Part]:
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
        with Opening() as opening:
            for group in groups:
                for task in group:
                    yield do_part(model, task, opening, layout, inference, threads=readers, done=done)
        return
    running = {**model.running, "threads": execution.threads or 1}
    job = PartJob(model.bundle, layout, inference, readers, running, model.framing)
    for answer in run_tasks(groups, [Worker(job) for _ in range(execution.workers)], _drive):
        if isinstance(answer, Part):
            yield answer
        else:
            done(answer)


def _drive(worker: Worker, group: Group, tell: Callable[[int], None]) -> Iterator[Part]:
    """Have one worker do a group's tasks, whatever becomes of its process.

    A task whose worker died is done again; if that one dies too, row by row, so that the row that kills is found
    and reported.
    """
    for task in group:
        deaths, told = 0, 0

        def hear(said: tuple[str, int]) -> None:
            nonlocal told
            if said[0] == "done":
                told += said[1]
                tell(said[1])

        while True:
            try:
                yield worker.run(task, hear)
                tell(len(task.entries) - told)
                break
            except WorkerCrash as death:
                deaths += 1
                tell(-told)
                told = 0
                if deaths >= MAX_DEATHS:
                    raise WorkerError(
                        f"part {task.number}: {deaths} processes ended over it, the last with {_cause(death)}; "
                        "is there enough memory? Try fewer --workers"
                    ) from None
                if task.one_by_one and death.last_message:
                    reason = f"the process that read it ended with {_cause(death)}"
                    task = replace(task, doomed={**task.doomed, death.last_message[1]: reason})
                elif deaths > 1:
                    task = replace(task, one_by_one=True)


def _cause(death: WorkerCrash) -> str:
    if death.exit_code is not None and death.exit_code < 0:
        note = "; out of memory?" if death.exit_code == -9 else ""
        return f"signal {-death.exit_code}{note}"
    return f"exit code {death.exit_code}"
