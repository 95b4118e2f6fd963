"""Ray engine: predict chunks on a cluster, or on one that is started on this machine and ended after the run."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any

from ... import __version__
from ..._utils.errors import TuningforkError
from ..._utils.extras import install_hint
from ..._utils.processes import WorkerError, available_cores
from ...model.model import Model
from ...model.options import InferenceOptions
from ...model.predictions import concatenated
from ..chunks import BATCH, BLOCK, Chunk, ChunkResult, TableLayout, chunk_result
from ..options import ExecutionOptions
from .queue import ChunkQueue, WorkItem
from .resources import ActorPool

__all__ = ["MissingRay", "check", "predict_chunks"]

#: Rows that are read and predicted together: what goes through the object store as one.
SLICE = 256
#: Seconds between checks of the cluster's size.
CHECK_INTERVAL = 2.0
#: How often starting a cluster on this machine is tried: Ray gives its own processes 30 seconds, too few on a busy one.
STARTS = 3
#: Growth of the number of actors for which the stages are restarted.
MIN_GROWTH = 1.1
#: Failures of Ray itself, without a single row in between, after which the run is given up.
MAX_FAILURES = 3
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # sends no statistics
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # warns of nothing that is not used here
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what goes wrong is predictions by our own errors
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
        raise MissingRay(f"--engine ray needs Ray ({error}): {install_hint('ray')}") from None


def predict_chunks(
    model: Model,
    groups: Iterator[list[Chunk]],
    layout: TableLayout,
    inference: InferenceOptions,
    execution: ExecutionOptions,
    *,
    on_rows: Callable[[int], None],
) -> Iterator[ChunkResult]:
    """Predict the chunks of `groups` as they come: Ray's tasks read them, its actors, which hold the model, predict.

    However many chunks there are, a bounded number of rows is in flight. What a crashed process had is retried; rows
    of a chunk over which readers crash repeatedly are read one by one, so that the row at fault is found and reported.

    Parameters
    ----------
    execution : its `workers` are actors that run the network, 0: from the cluster's CPUs; its `address` is that of a
        cluster, as ``ray.init`` takes it, None: one is started on this machine, and ended
    on_rows : called in this thread with the number of rows that were predicted since

    Raises
    ------
    MissingRay
        If Ray is not installed.
    WorkerError
        If there is no such cluster, its nodes lack this package, or it fails again and again.
    """
    check()
    block = max(inference.batch_size or BATCH, BLOCK)
    # Where galaxies are measured, a slice takes as many seconds as it has rows.
    queue = ChunkQueue(groups, block if inference.structure else max(block, SLICE // block * block))
    with _cluster(execution.address) as ours:
        if not ours:
            _check_nodes()
        failures = 0
        while queue.more():
            reason = "the stages ended before their work"
            try:
                with closing(_run_stages(model, queue, inference, execution.workers)) as results:
                    for number, index, predictions, failure in results:
                        if failure:
                            raise WorkerError(f"part {queue.chunk_of(number)}: {failure}")
                        rows, completed = queue.settle(number, index, predictions)
                        failures = 0 if rows else failures
                        on_rows(rows)
                        if completed:
                            predictions = concatenated(model.tree, completed.predictions())
                            yield chunk_result(completed.chunk, predictions, layout)
            except _RayFailure as error:
                reason = str(error)
                # A node that is lost is missed a little later.
                time.sleep(CHECK_INTERVAL)
            failures += 1
            if failures > MAX_FAILURES:
                raise WorkerError(f"Ray failed {failures} times: {reason}")


class _RayFailure(Exception):
    """Ray ended before the work was complete; the message is Ray's own."""


def _run_stages(
    model: Model, queue: ChunkQueue, inference: InferenceOptions, workers: int
) -> Generator[tuple[int, int, Any, str | None], None, None]:
    """Results of slices, with as many actors as fit the cluster now, until it has changed or nothing is left.

    What is in flight in `queue` is started again. When the cluster has grown, no more is started, and the next call
    has more actors; when it is too small for its actors, this ends at once.

    Raises
    ------
    _RayFailure
        If Ray gave up, or the cluster is too small.
    """
    import ray

    from . import stages

    cpus, gpus = _size(model)
    actor_pool = ActorPool.of(cpus, gpus, workers)
    running = {**model.running, "threads": 1}
    if not actor_pool.gpus and running["device"] == "auto":
        # A node may have a GPU that Ray does not account for; it is not ours then.
        running["device"] = "cpu"
    tracker = stages.open_tracker()
    try:
        restarted = [WorkItem(number, dict(slices)) for number, slices in queue.pending.items()]
        tracker_feed = _TrackerFeed(tracker, queue, restarted)
        tracker_feed.fill(cpus)
        # A short run has no use for more.
        actors = min(actor_pool.actors, len(queue.pending))
        data = stages.dataset(
            model,
            tracker,
            replace(actor_pool, actors=actors),
            running=running,
            inference=inference,
        )
        monitor = _ClusterMonitor(model, actor_pool, cpus, gpus)
        with stages.monitored_by(monitor), closing(_tables(data)) as tables:
            for table in tables:
                for result in stages.results(table):
                    yield result
                    if result[0] not in queue.pending:
                        tracker.forget.remote(result[0])
                if ActorPool.of(monitor.cpus, monitor.gpus, workers).actors >= MIN_GROWTH * actor_pool.actors:
                    tracker_feed.close()
                tracker_feed.fill(monitor.cpus)
    finally:
        ray.kill(tracker)


class _ClusterMonitor:
    """Checks the size of the cluster; called at each scheduling step, by Ray Data's own thread."""

    def __init__(self, model: Model, actor_pool: ActorPool, cpus: float, gpus: float) -> None:
        self._model, self._actor_pool, self.cpus, self.gpus, self._checked_at = (
            model,
            actor_pool,
            cpus,
            gpus,
            time.monotonic(),
        )

    def __call__(self) -> None:
        """Raise _ClusterTooSmall if no CPU is left for readers, since everything would wait for ever then."""
        if time.monotonic() - self._checked_at < CHECK_INTERVAL:
            return
        self._checked_at, (self.cpus, self.gpus) = time.monotonic(), _size(self._model)
        if not self._actor_pool.fits(self.cpus, self.gpus):
            raise _ClusterTooSmall(f"nodes were lost, {self.cpus:g} CPUs are left")


class _ClusterTooSmall(Exception):
    """The cluster has become too small for its actors and one reader."""


class _TrackerFeed:
    """Adds work items to the tracker of one run of the stages, and ends its stream."""

    def __init__(self, tracker: Any, queue: ChunkQueue, work_items: Sequence[WorkItem]) -> None:
        self._tracker, self._queue, self._total, self._open = tracker, queue, len(work_items), True
        tracker.add.remote(work_items)

    def fill(self, cpus: float) -> None:
        """Add as many work items as may be in flight."""
        if not self._open:
            return
        work_items = list(self._queue.work_items(cpus))
        self._total += len(work_items)
        if work_items:
            self._tracker.add.remote(work_items)
        if not self._queue.has_new():
            self.close()

    def close(self) -> None:
        """End the stream: there will be no more."""
        if self._open:
            self._tracker.end.remote(self._total)
        self._open = False


def _tables(data: Any) -> Generator[Any, None, None]:
    """The last stage's blocks, as they come."""
    try:
        yield from data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except Exception as error:  # of Ray's many kinds, and each may be of a node that is gone
        raise _RayFailure(_reason(error)) from error


def _reason(error: Exception) -> str:
    # Ray's messages are long, and end with what matters.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no reason given'}"


@contextmanager
def _cluster(address: str | None) -> Iterator[bool]:
    """Ray, connected; True if it was started here, on this machine, and will be ended."""
    import ray

    # What goes wrong is predictions by our own errors.
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    started_here = not ray.is_initialized()
    try:
        if started_here:
            _connect(address)
        with redirect_stdout(_NoRayOutput(sys.stdout)):
            yield started_here and address is None
    finally:
        logger.setLevel(level)
        if started_here:
            ray.shutdown()


class _NoRayOutput:
    """stdout without what Ray's own thread prints of processes that died and are replaced."""

    def __init__(self, stdout: Any) -> None:
        self._stdout = stdout

    def write(self, text: str) -> int:
        """Write, unless it comes from Ray's thread."""
        is_ray = threading.current_thread().name.startswith("ray_")
        return len(text) if is_ray else self._stdout.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


def _connect(address: str | None) -> None:
    import ray

    options: dict[str, Any] = {"address": address or "local", "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": available_cores(), "include_dashboard": False}
    for left in reversed(range(STARTS)):
        try:
            with _stderr_suppressed():
                ray.init(**options)
            return
        except Exception as error:  # ConnectionError, ValueError, RuntimeError, Exception
            ray.shutdown()
            if address is None and left:
                continue
            wrong = f"there is no Ray cluster at {address}" if address else "Ray does not start on this machine"
            raise WorkerError(f"{wrong}: {_reason(error)}") from None


@contextmanager
def _stderr_suppressed() -> Iterator[None]:
    """Discard what is written to stderr: Ray's compiled part announces its log level there."""
    sys.stderr.flush()
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def _size(model: Model) -> tuple[float, float]:
    """How many CPUs and GPUs the cluster has now; GPUs only if the model may use them."""
    import ray

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("CPU", 0.0), resources.get("GPU", 0.0) if model.running["device"] != "cpu" else 0.0


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
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    versions_pending = [
        task.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote()
        for node in nodes
    ]  # fmt: skip
    try:
        versions = ray.get(versions_pending)
    except ray.exceptions.RayError as error:
        raise WorkerError(f"Ray's cluster runs nothing: {_reason(error)}") from None
    for node, installed in zip(nodes, versions, strict=True):
        if installed != __version__:
            there = f"has tuningfork {installed}, not {__version__} as here" if installed else "lacks tuningfork"
            raise WorkerError(f"node {node['NodeManagerAddress']} {there}; install it there: {install_hint('ray')}")
