"""Ray Data's stages: hand out work items, read their images, run the networks. Needs Ray; see `engine`."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from typing import Any, ClassVar

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, Datasource, read_datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ... import __version__
from ..._utils.urls import is_url
from ...inputs import InputItem, ItemReader
from ...inputs.stores import REMOTE_THREADS
from ...model.image_reader import ImageReader, LoadedImage
from ...model.model import Model
from ...model.options import InferenceOptions
from ..chunks import predict_batches_of, read_item, read_items
from .queue import WorkItem
from .resources import ACTOR_CPUS, READ_CPUS, ActorPool
from .tracker import MAX_CRASHES, AttemptTracker

__all__ = ["ExecutionMonitor", "NetworkActor", "dataset", "monitored_by", "open_tracker", "read", "results"]

#: Threads of a reader: they wait for the disk, and for stores much longer.
READER_THREADS = 4
#: Images that one of its threads reads at a time.
ITEMS_AT_ONCE = 8
#: Seconds without any progress after which Ray Data gives up.
STALL_TIMEOUT = 600

_ROW = pa.schema(
    [("work_item", pa.int64()), ("slice", pa.int64()), ("data", pa.large_binary()), ("failure", pa.string())]
)


class _WorkItems(Datasource):
    """The tracker's work items, a row each, as they are added."""

    def __init__(self, tracker: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tracker = tracker

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known."""
        return None

    def get_read_tasks(self, parallelism: int, *args: Any, **options: Any) -> list[ReadTask]:
        """One task, which waits for work items."""
        tracker = self._tracker

        def numbers() -> Iterator[pa.Table]:
            place = 0
            while (number := ray.get(tracker.number.remote(place))) is not None:
                yield pa.table({"work_item": [number]})
                place += 1

        return [ReadTask(numbers, BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None))]


def read(batch: pa.Table, tracker: Any, reading: Any, folder: str, version: str) -> Iterator[pa.Table]:
    """The reading stage: decode and resize the images of a work item, slice by slice.

    A work item that was started twice before is read one by one, so that the row that ends the process is found.

    Parameters
    ----------
    folder : the driver's working folder, from which relative paths go
    """
    with suppress(OSError):
        os.chdir(folder)
    number = batch["work_item"][0].as_py()
    started = ray.get(tracker.start.remote(number))
    if started is None:
        return
    work, known_failures, starts_before = started
    if version != __version__:
        yield _failed(work, f"tuningfork {__version__} is installed on a node of the cluster, {version} here")
        return
    if starts_before >= MAX_CRASHES:
        yield _failed(work, f"{starts_before} processes ended while they read it; is there enough memory?")
        return

    for index, part in work.slices.items():
        items = [
            replace(item, error=known_failures[index, row]) if (index, row) in known_failures else item
            for row, item in enumerate(part.items)
        ]
        if starts_before < 2:
            images = _read_together(ray.get(reading), items)
        else:
            images = _read_row_by_row(ray.get(reading), items, partial(_set_row, tracker, number, index))
        yield _row(number, index, pickle.dumps(images, protocol=5))


def _set_row(tracker: Any, number: int, index: int, row: int | None) -> None:
    # Wait for the answer: the process may be gone a moment later.
    ray.get(tracker.set_row.remote(number, None if row is None else (index, row)))


class NetworkActor:
    """The networks' stage: slices that were read → their predictions."""

    def __init__(
        self, bundle: Any, running: Mapping[str, Any], tracker: Any, inference: InferenceOptions, version: str
    ) -> None:
        if version != __version__:
            raise RuntimeError(f"tuningfork {__version__} is installed on a node of the cluster, {version} here")
        self._model = Model(ray.get(bundle), **running)
        self._tracker, self._inference = tracker, inference

    def __call__(self, table: pa.Table) -> pa.Table:
        """Predict one slice, batch by batch."""
        number, index, data, failure = (table[name][0] for name in _ROW.names)
        number, index = number.as_py(), index.as_py()
        if failure.is_valid:
            return table
        starts_before = ray.get(self._tracker.start_prediction.remote(number, index))
        if starts_before >= MAX_CRASHES:
            failed = f"{starts_before} processes ended while they predicted it; is there enough memory?"
            return _row(number, index, None, f"{failed} Try fewer --workers")
        # Written by our own readers of this very run.
        images = pickle.loads(data.as_buffer())
        predictions = list(predict_batches_of(self._model, images, self._inference))
        return _row(number, index, pickle.dumps(predictions, protocol=5))


def dataset(
    model: Model, tracker: Any, pool: ActorPool, *, running: Mapping[str, Any], inference: InferenceOptions
) -> Dataset:
    """The three stages: work items, readers (tasks), networks (actors).

    Parameters
    ----------
    tracker : handle of an `AttemptTracker`
    running : how the actors open the model, see `Model.running`
    """
    # The source must live as long as the driver, or all its work items would be handed out again.
    this_node = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    reading = {"reading": ray.put(model.reader_of(inference)), "folder": os.getcwd(), "version": __version__}
    with DataContext.current(_settings()):
        return (
            read_datasource(_WorkItems(tracker), override_num_blocks=1, num_cpus=0, label_selector=this_node)
            .map_batches(
                read,
                batch_size=1,
                batch_format="pyarrow",
                fn_kwargs={"tracker": tracker, **reading},
                num_cpus=READ_CPUS,
            )
            .map_batches(
                NetworkActor,
                batch_size=1,
                batch_format="pyarrow",
                fn_constructor_args=(ray.put(model.bundle), running, tracker, inference, __version__),
                compute=ActorPoolStrategy(size=pool.actors, max_tasks_in_flight_per_actor=2),
                num_cpus=ACTOR_CPUS,
                num_gpus=pool.gpus,
            )
        )


class ExecutionMonitor:
    """What Ray Data calls while it works; see its ``ExecutionCallback``."""

    #: Called at every step of the scheduling; what it raises ends the work.
    callback: ClassVar[Callable[[], None] | None] = None

    def before_execution_starts(self, executor: Any) -> None:
        """Nothing to do."""

    def on_execution_step(self, executor: Any) -> None:
        """Call the callback."""
        if ExecutionMonitor.callback:
            ExecutionMonitor.callback()

    def after_execution_succeeds(self, executor: Any) -> None:
        """Nothing to do."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Nothing to do."""


@contextmanager
def monitored_by(callback: Callable[[], None]) -> Iterator[None]:
    """Have Ray Data call `callback` at each of its steps, from its own thread."""
    ExecutionMonitor.callback = callback
    try:
        yield
    finally:
        ExecutionMonitor.callback = None


def open_tracker() -> Any:
    """An `AttemptTracker` on this process's own node: it need not outlive it."""
    this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(AttemptTracker).options(num_cpus=0, scheduling_strategy=this_node).remote()


def results(table: pa.Table) -> Iterator[tuple[int, int, Any, str | None]]:
    """What the last stage returned: work item, slice, list of Predictions, or why there is none."""
    for number, index, data, failure in zip(*(table[name] for name in _ROW.names), strict=True):
        predictions = pickle.loads(data.as_buffer()) if data.is_valid else None
        yield number.as_py(), index.as_py(), predictions, failure.as_py()


def _settings() -> DataContext:
    """Ray Data's settings: no output, a row a block, and no endless wait."""
    settings = DataContext.get_current().copy()
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    # Blocks are handed on when they reach this size: each row at once.
    settings.target_max_block_size = 1
    settings.execution_no_progress_timeout_s = STALL_TIMEOUT
    callbacks = [*settings.custom_execution_callback_classes, ExecutionMonitor]
    settings.custom_execution_callback_classes = callbacks  # type: ignore[assignment]
    return settings


def _row(number: int, index: int, data: bytes | None, failure: str | None = None) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(_ROW.names, (number, index, data, failure), strict=True))], schema=_ROW)


def _failed(work: WorkItem, reason: str) -> pa.Table:
    return _row(work.number, next(iter(work.slices)), None, reason)


@cache
def _reader() -> ItemReader:
    # A worker process of Ray reads many work items; what it holds open goes with it.
    return ItemReader()


def _read_together(reading: ImageReader, items: Sequence[InputItem]) -> list[LoadedImage]:
    prepared = [(item, _reader().prepare(item)) for item in items]
    groups = [prepared[first : first + ITEMS_AT_ONCE] for first in range(0, len(prepared), ITEMS_AT_ONCE)]
    with ThreadPoolExecutor(REMOTE_THREADS if is_url(items[0].location) else READER_THREADS) as pool:
        groups_read = pool.map(lambda group: read_items(reading, group), groups)
        return [image for group in groups_read for image in group]


def _read_row_by_row(
    reading: ImageReader, items: Sequence[InputItem], set_row: Callable[[int | None], None]
) -> list[LoadedImage]:
    images = []
    for row, item in enumerate(items):
        if not item.error:
            set_row(row)
        images.append(read_item(reading, item, _reader().prepare(item)))
    set_row(None)
    return images
