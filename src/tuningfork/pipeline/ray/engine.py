"""Ray engine: predict chunks on a cluster, or on one that is started on this machine and ended after the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from ..._utils.processes import WorkerError
from ...model.model import Model
from ...model.options import InferenceOptions
from ...model.predictions import concatenated
from ..chunks import BATCH, BLOCK, Chunk
from ..options import ExecutionOptions
from ..part_table import ChunkResult, TableLayout, chunk_result
from .cluster import check_nodes, check_ray, cluster_size, ray_cluster, ray_reason
from .queue import ChunkQueue, WorkItem
from .resources import ActorPool

__all__ = ["predict_chunks"]

#: Rows that are read and predicted together: what goes through the object store as one.
SLICE = 256
#: Seconds between checks of the cluster's size.
CHECK_INTERVAL = 2.0
#: Growth of the number of actors for which the stages are restarted.
MIN_GROWTH = 1.1
#: Failures of Ray itself, without a single row in between, after which the run is given up.
MAX_FAILURES = 3


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
    check_ray()
    block = max(inference.batch_size or BATCH, BLOCK)
    # Where galaxies are measured, a slice takes as many seconds as it has rows.
    queue = ChunkQueue(groups, block if inference.structure else max(block, SLICE // block * block))
    with ray_cluster(execution.address) as ours:
        if not ours:
            check_nodes()
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
                            chunk = completed.chunk
                            yield chunk_result(chunk.number, chunk.items, predictions, layout)
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

    cpus, gpus = cluster_size(model)
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
        self._model, self._actor_pool = model, actor_pool
        self.cpus, self.gpus = cpus, gpus
        self._checked_at = time.monotonic()

    def __call__(self) -> None:
        """Raise _ClusterTooSmall if no CPU is left for readers, since everything would wait for ever then."""
        if time.monotonic() - self._checked_at < CHECK_INTERVAL:
            return
        self._checked_at, (self.cpus, self.gpus) = time.monotonic(), cluster_size(self._model)
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
        raise _RayFailure(ray_reason(error)) from error
