"""The parts of a prediction on a Ray cluster, or on one that is started on this machine for the occasion."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from ... import __version__
from ..._utils.errors import TuningforkError
from ..._utils.processes import WorkerError, available_cores
from ...model.model import Model
from ...model.options import InferenceOptions
from ...model.predictions import concatenated
from ..chunks import BATCH, TOGETHER, Chunk, ChunkResult, TableLayout, chunk_result
from ..options import ExecutionOptions
from .queue import ChunkQueue, WorkItem
from .resources import ActorPool

__all__ = ["MissingRay", "check", "predict_chunks"]

#: Rows that are read and predicted together: what goes through the object store as one.
SLICE = 256
#: Seconds between looks at how large the cluster is.
LOOK = 2.0
#: How often a cluster on this machine is begun: Ray gives its own processes 30 seconds, too few on a busy one.
STARTS = 3
#: So many times more actors are worth letting the stages run dry.
WORTH_A_BREAK = 1.1
#: Failures of Ray itself, without a single row in between, after which the run is given up.
MAX_FAILURES = 3
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # sends no statistics
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # warns of nothing that is not used here
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what goes wrong is told by our own errors
    "RAY_worker_niceness": "0",  # as willing to work as the processes of the local engine
}


class MissingRay(TuningforkError, ValueError):
    """Ray is not installed."""


def check() -> None:
    """Raise MissingRay if Ray is not installed."""
    # It asks the environment when it is imported.
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingRay(f"--engine ray needs Ray ({error}): pip install 'tuningfork[ray]'") from None


def predict_chunks(
    model: Model,
    groups: Iterator[list[Chunk]],
    layout: TableLayout,
    inference: InferenceOptions,
    execution: ExecutionOptions,
    *,
    done: Callable[[int], None],
) -> Iterator[ChunkResult]:
    """The parts of `groups`, as they come: Ray's chunks read them, its actors, which hold the model, predict them.

    However many parts there are, a bounded number of rows is under way. What dies is done again; the rows of a part
    over which readers die are read one by one, so that the one that kills is found and reported.

    Parameters
    ----------
    execution : its `workers` are actors that run the network, 0: from the cluster's CPUs; its `address` is that of a
        cluster, as ``ray.init`` takes it, None: one is started on this machine, and ended
    done : called in this thread with numbers of rows that were predicted

    Raises
    ------
    MissingRay
        If Ray is not installed.
    WorkerError
        If there is no such cluster, its nodes lack this package, or it fails again and again.
    """
    check()
    together = max(inference.batch_size or BATCH, TOGETHER)
    queue = ChunkQueue(groups, max(together, SLICE // together * together))
    with _cluster(execution.address) as ours:
        if not ours:
            _check_nodes()
        failures = 0
        while queue.more():
            why = "the stages ended before their work"
            try:
                with closing(_epoch(model, queue, inference, execution.workers)) as answers:
                    for number, index, told, failure in answers:
                        if failure:
                            raise WorkerError(f"part {queue.part(number)}: {failure}")
                        rows, whole = queue.settle(number, index, told)
                        failures = 0 if rows else failures
                        done(rows)
                        if whole:
                            yield chunk_result(whole.chunk, concatenated(model.tree, whole.predictions()), layout)
            except _Broken as error:
                why = str(error)
                # A node that is lost is missed a little later.
                time.sleep(LOOK)
            failures += 1
            if failures > MAX_FAILURES:
                raise WorkerError(f"Ray failed {MAX_FAILURES} times over: {why}")


class _Broken(Exception):
    """Ray ended before its work; the message is its own."""


def _epoch(
    model: Model, queue: ChunkQueue, inference: InferenceOptions, workers: int
) -> Iterator[tuple[int, int, Any, str | None]]:
    """Answers to slices, with as many actors as suit the cluster now, until it has changed or all is done.

    What is under way in `queue` is begun again. When the cluster has grown, no more is begun, and the next epoch has
    more actors; when it is too small now for its actors, nothing is waited for.

    Raises
    ------
    _Broken
        If Ray gave up, or the cluster is too small.
    """
    import ray

    from . import stages

    cpus, gpus = _size(model)
    actor_pool = ActorPool.of(cpus, gpus, workers)
    running = {**model.running, "threads": 1}
    if not actor_pool.gpus and running["device"] == "auto":
        # A node may have a GPU that Ray was not told of; it is not ours then.
        running["device"] = "cpu"
    tracker = stages.open_tracker()
    try:
        again = [WorkItem(number, dict(slices)) for number, slices in queue.pending.items()]
        book = _Book(tracker, queue, again)
        book.fill(cpus)
        # A short run has no use for more.
        actors = min(actor_pool.actors, len(queue.pending))
        data = stages.dataset(
            model,
            tracker,
            replace(actor_pool, actors=actors),
            running=running,
            inference=inference,
        )
        watch = _Watch(model, actor_pool, cpus, gpus)
        with stages.watched_by(watch), closing(_tables(data)) as tables:
            for table in tables:
                for answer in stages.answers(table):
                    yield answer
                    if answer[0] not in queue.pending:
                        tracker.forget.remote(answer[0])
                if ActorPool.of(watch.cpus, watch.gpus, workers).actors >= WORTH_A_BREAK * actor_pool.actors:
                    book.close()
                book.fill(watch.cpus)
    finally:
        ray.kill(tracker)


class _Watch:
    """Looks at how large the cluster is; called all the time, by Ray Data's own thread."""

    def __init__(self, model: Model, actor_pool: ActorPool, cpus: float, gpus: float) -> None:
        self._model, self._crew, self.cpus, self.gpus, self._at = model, actor_pool, cpus, gpus, time.monotonic()

    def __call__(self) -> None:
        """Raise _Shrunk if readers might have no room, since all would wait for ever then."""
        if time.monotonic() - self._at < LOOK:
            return
        self._at, (self.cpus, self.gpus) = time.monotonic(), _size(self._model)
        if not self._crew.fits(self.cpus, self.gpus):
            raise _Shrunk(f"nodes were lost, {self.cpus:g} CPUs are left")


class _Shrunk(Exception):
    """The cluster is too small now for what was begun on it."""


class _Book:
    """Puts work_items in the tracker of one epoch, and says when there will be no more."""

    def __init__(self, tracker: Any, queue: ChunkQueue, work_items: Sequence[WorkItem]) -> None:
        self._tracker, self._queue, self._total, self._open = tracker, queue, len(work_items), True
        tracker.add.remote(work_items)

    def fill(self, cpus: float) -> None:
        """Put in as many work_items as may be under way."""
        if not self._open:
            return
        work_items = list(self._queue.work_items(cpus))
        self._total += len(work_items)
        if work_items:
            self._tracker.add.remote(work_items)
        if not self._queue.unbegun():
            self.close()

    def close(self) -> None:
        """There will be no more."""
        if self._open:
            self._tracker.end.remote(self._total)
        self._open = False


def _tables(data: Any) -> Iterator[Any]:
    """The last stage's blocks, as they come."""
    try:
        yield from data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except Exception as error:  # of Ray's many kinds, and each may be of a node that is gone
        raise _Broken(_reason(error)) from error


def _reason(error: Exception) -> str:
    # Ray's messages are long, and end with what matters.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no reason given'}"


@contextmanager
def _cluster(address: str | None) -> Iterator[bool]:
    """Ray, connected; True if it was started here, on this machine, and will be ended."""
    import ray

    # What goes wrong is told by our own errors.
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    began = not ray.is_initialized()
    try:
        if began:
            _connect(address)
        # Ray prints to stdout what died and is done again; this is how its debugger has it be quiet.
        if began and (printing := sys.modules.get("ray._private.worker")):
            printing._worker_logs_enabled = False
        yield began and address is None
    finally:
        logger.setLevel(level)
        if began:
            ray.shutdown()
            if printing := sys.modules.get("ray._private.worker"):
                printing._worker_logs_enabled = True


def _connect(address: str | None) -> None:
    import ray

    options: dict[str, Any] = {"address": address or "local", "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": available_cores(), "include_dashboard": False}
    for left in reversed(range(STARTS)):
        try:
            with _hushed():
                ray.init(**options)
            return
        except Exception as error:  # ConnectionError, ValueError, RuntimeError, Exception
            ray.shutdown()
            if address is None and left:
                continue
            wrong = f"there is no Ray cluster at {address}" if address else "Ray does not start on this machine"
            raise WorkerError(f"{wrong}: {_reason(error)}") from None


@contextmanager
def _hushed() -> Iterator[None]:
    """Send what is written to stderr nowhere: Ray's compiled part says there how little it is going to say."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _size(model: Model) -> tuple[float, float]:
    """How many CPUs and GPUs the cluster has now; GPUs only if the model may use them."""
    import ray

    found = ray.cluster_resources()
    return found.get("CPU", 0.0), found.get("GPU", 0.0) if model.running["device"] != "cpu" else 0.0


def _check_nodes() -> None:
    """Raise WorkerError if a node of the cluster lacks this version of the package."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Inside of this function, it goes there by value: nodes without the package could not import it.
    def version() -> str | None:
        try:
            import tuningfork
        except ImportError:
            return None
        return tuningfork.__version__

    task = ray.remote(version)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = [
        task.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote()
        for node in nodes
    ]  # fmt: skip
    try:
        told = ray.get(asked)
    except ray.exceptions.RayError as error:
        raise WorkerError(f"Ray's cluster runs nothing: {_reason(error)}") from None
    for node, found in zip(nodes, told, strict=True):
        if found != __version__:
            there = f"has tuningfork {found}, not {__version__} as here" if found else "lacks tuningfork"
            raise WorkerError(
                f"node {node['NodeManagerAddress']} {there}: pip install 'tuningfork[ray]=={__version__}'"
            )
