"""Ray Data's stages: hand out work items, read their images, run the network. Needs Ray; see `engine`."""

from __future__ import annotations

import asyncio
import os
import pickle
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
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
from ...model.image_reader import Read, Reading
from ...model.model import Model
from ...model.options import InferenceOptions
from ..chunks import BATCH, TOGETHER, read_item
from .queue import WorkItem
from .resources import ACTOR_CPUS, READ_CPUS, ActorPool

__all__ = ["AttemptTracker", "Network", "Watch", "answers", "dataset", "open_tracker", "read", "watched_by"]

#: Processes that one work_item may cost before the run is given up.
MAX_CRASHES = 20
#: Threads of a reader: they wait for the disk, and for stores much longer.
FETCHING = 4
#: Pictures that are one errand for one of its threads.
LOT = 8
#: Seconds without any progress after which Ray Data gives up.
STALLED = 600

_ROW = pa.schema(
    [("work_item", pa.int64()), ("slice", pa.int64()), ("data", pa.large_binary()), ("failure", pa.string())]
)


@dataclass
class _Attempts:
    work_item: WorkItem
    begun: int = 0
    at: tuple[int, int] | None = None
    known_failures: dict[tuple[int, int], str] = field(default_factory=dict)
    predicted: dict[int, int] = field(default_factory=dict)


class AttemptTracker:
    """Tickets under way and what became of them; an actor beside the driver, asked by all stages.

    It holds a work_item's items until the driver has its rows, so that a reader that is begun again, whatever for,
    finds them; and it counts how often that happens, so that no work_item is begun for ever.
    """

    def __init__(self) -> None:
        self._held: dict[int, _Attempts] = {}
        self._order = array("q")
        self._total: int | None = None
        self._news = asyncio.Condition()

    async def add(self, work_items: Sequence[WorkItem]) -> None:
        """Tickets to hand out after those that are there."""
        async with self._news:
            for work_item in work_items:
                self._held[work_item.number] = _Attempts(work_item)
                self._order.append(work_item.number)
            self._news.notify_all()

    async def end(self, total: int) -> None:
        """There will be so many work_items in all; some may still be on their way, since calls overtake each other."""
        async with self._news:
            self._total = total
            self._news.notify_all()

    async def forget(self, number: int) -> None:
        """The driver has all rows of this work_item."""
        self._held.pop(number, None)

    async def number(self, place: int) -> int | None:
        """Which work_item is at this place of the order, as soon as it is known; None: the order ends before it."""

        def known() -> bool:
            return len(self._order) > place or (self._total is not None and place >= self._total)

        async with self._news:
            await self._news.wait_for(known)
            return self._order[place] if len(self._order) > place else None

    async def begin(self, number: int) -> tuple[WorkItem, Mapping[tuple[int, int], str], int] | None:
        """A work_item that is about to be read, rows of it not to be tried and why, how often it was begun before."""
        held = self._held.get(number)
        if held is None:
            return None
        if held.at is not None:
            held.known_failures[held.at] = "the process that read it ended without a word; out of memory?"
            held.at = None
        held.begun += 1
        return held.work_item, held.known_failures, held.begun - 1

    async def at(self, number: int, row: tuple[int, int] | None) -> None:
        """Which row of which slice is read next, where they are read one by one; None: none."""
        if number in self._held:
            self._held[number].at = row

    async def predict(self, number: int, index: int) -> int:
        """A slice is about to be predicted; gives how often it was before."""
        if number not in self._held:
            return 0
        predicted = self._held[number].predicted
        predicted[index] = predicted.get(index, 0) + 1
        return predicted[index] - 1


class _WorkItems(Datasource):
    """The tracker's work_items, a row each, as they are added."""

    def __init__(self, tracker: Any) -> None:
        super().__init__()
        self._tracker = tracker

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known."""
        return None

    def get_read_tasks(self, parallelism: int, *args: Any, **options: Any) -> list[ReadTask]:
        """One: it waits for work_items to come."""
        tracker = self._tracker

        def numbers() -> Iterator[pa.Table]:
            place = 0
            while (number := ray.get(tracker.number.remote(place))) is not None:
                yield pa.table({"work_item": [number]})
                place += 1

        return [ReadTask(numbers, BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None))]


def read(batch: pa.Table, tracker: Any, reading: Any, folder: str, version: str) -> Iterator[pa.Table]:
    """The reading stage: a work_item's slices, each with its pictures decoded and resized.

    A work_item that was begun twice before is read one by one, so that the row that kills is found and reported.

    Parameters
    ----------
    folder : where the driver works, from which relative paths go
    """
    with suppress(OSError):
        os.chdir(folder)
    number = batch["work_item"][0].as_py()
    told = ray.get(tracker.begin.remote(number))
    if told is None:
        return
    work_item, known_failures, before = told
    if version != __version__:
        yield _failed(work_item, f"tuningfork {__version__} is installed on a node of the cluster, {version} here")
        return
    if before >= MAX_CRASHES:
        yield _failed(work_item, f"{before} processes ended while they read it; is there enough memory?")
        return

    for index, part in work_item.slices.items():
        items = [
            replace(item, error=known_failures[index, row]) if (index, row) in known_failures else item
            for row, item in enumerate(part.items)
        ]
        if before < 2:
            reads = _read_together(ray.get(reading), items)
        else:
            reads = _read_row_by_row(ray.get(reading), items, partial(_tell, tracker, number, index))
        yield _row(number, index, pickle.dumps(reads, protocol=5))


def _tell(tracker: Any, number: int, index: int, row: int | None) -> None:
    # The answer is waited for: the process may be gone a moment later.
    ray.get(tracker.at.remote(number, None if row is None else (index, row)))


class Network:
    """The network's stage, one for each actor: slices that were read → their predictions."""

    def __init__(
        self,
        bundle: Any,
        running: Mapping[str, Any],
        tracker: Any,
        inference: InferenceOptions,
        version: str,
    ) -> None:
        if version != __version__:
            raise RuntimeError(f"tuningfork {__version__} is installed on a node of the cluster, {version} here")
        self._model = Model(ray.get(bundle), **running)
        self._tracker, self._inference = tracker, inference

    def __call__(self, table: pa.Table) -> pa.Table:
        """One slice, batch by batch."""
        number, index, data, failure = (table[name][0] for name in _ROW.names)
        number, index = number.as_py(), index.as_py()
        if failure.is_valid:
            return table
        before = ray.get(self._tracker.predict.remote(number, index))
        if before >= MAX_CRASHES:
            failed = f"{before} processes ended while they predicted it; is there enough memory? Try fewer --workers"
            return _row(number, index, None, failed)
        # Written by our own readers of this very run.
        reads, inference = pickle.loads(data.as_buffer()), self._inference
        batch = inference.batch_size or BATCH
        together = max(batch, TOGETHER)
        # The very batches of the local engine, so that the rows are the same to the last bit.
        options = replace(inference, batch_size=batch)
        told = [self._model.predict_loaded(reads[at : at + together], options) for at in range(0, len(reads), together)]
        return _row(number, index, pickle.dumps(told, protocol=5))


def dataset(
    model: Model,
    tracker: Any,
    actor_pool: ActorPool,
    *,
    running: Mapping[str, Any],
    inference: InferenceOptions,
) -> Dataset:
    """The three stages: work_items, readers (chunks), networks (actors).

    Parameters
    ----------
    tracker : handle of a `AttemptTracker`
    running : how the actors open the model, see `Model.running`
    """
    # The source must live as long as the driver, or all its work_items would be handed out again.
    beside = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    with DataContext.current(_settings()):
        return (
            read_datasource(_WorkItems(tracker), override_num_blocks=1, num_cpus=0, label_selector=beside)
            .map_batches(
                read,
                batch_size=1,
                batch_format="pyarrow",
                fn_kwargs={
                    "tracker": tracker,
                    "reading": ray.put(model.reading),
                    "folder": os.getcwd(),
                    "version": __version__,
                },
                num_cpus=READ_CPUS,
            )
            .map_batches(
                Network,
                batch_size=1,
                batch_format="pyarrow",
                fn_constructor_args=(ray.put(model.bundle), running, tracker, inference, __version__),
                compute=ActorPoolStrategy(size=actor_pool.actors, max_tasks_in_flight_per_actor=2),
                num_cpus=ACTOR_CPUS,
                num_gpus=actor_pool.gpus,
            )
        )


class Watch:
    """What Ray Data calls while it works; see its ``ExecutionCallback``."""

    #: Called at every step of the scheduling; what it raises ends the work.
    look: ClassVar[Callable[[], None] | None] = None

    def before_execution_starts(self, executor: Any) -> None:
        """Nothing to do."""

    def on_execution_step(self, executor: Any) -> None:
        """Look."""
        if Watch.look:
            Watch.look()

    def after_execution_succeeds(self, executor: Any) -> None:
        """Nothing to do."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Nothing to do."""


@contextmanager
def watched_by(look: Callable[[], None]) -> Iterator[None]:
    """Have Ray Data call `look` all the while, from its own thread."""
    Watch.look = look
    try:
        yield
    finally:
        Watch.look = None


def open_tracker() -> Any:
    """A `AttemptTracker` on this process's own node: it need not outlive it."""
    beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(AttemptTracker).options(num_cpus=0, scheduling_strategy=beside).remote()


def answers(table: pa.Table) -> Iterator[tuple[int, int, Any, str | None]]:
    """What the last stage gave: work_item, slice, list of Predictions, or why there is none."""
    for number, index, data, failure in zip(*(table[name] for name in _ROW.names), strict=True):
        told = pickle.loads(data.as_buffer()) if data.is_valid else None
        yield number.as_py(), index.as_py(), told, failure.as_py()


def _settings() -> DataContext:
    """Ray Data's settings: it says nothing, a block is a row, and it never waits for ever."""
    settings = DataContext.get_current().copy()
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    # Blocks are handed on when they reach this size: each row at once.
    settings.target_max_block_size = 1
    settings.execution_no_progress_timeout_s = STALLED
    settings.custom_execution_callback_classes = [*settings.custom_execution_callback_classes, Watch]
    return settings


def _row(number: int, index: int, data: bytes | None, failure: str | None = None) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(_ROW.names, (number, index, data, failure), strict=True))], schema=_ROW)


def _failed(work_item: WorkItem, why: str) -> pa.Table:
    return _row(work_item.number, next(iter(work_item.slices)), None, why)


@cache
def _reader() -> ItemReader:
    # A worker process of Ray reads many work_items; what it holds open goes with it.
    return ItemReader()


def _read_together(reading: Reading, items: Sequence[InputItem]) -> list[Read]:
    lots = [[(item, _reader().prepare(item)) for item in items[at : at + LOT]] for at in range(0, len(items), LOT)]
    remote = is_url(items[0].location)
    with ThreadPoolExecutor(REMOTE_THREADS if remote else FETCHING) as pool:
        told = pool.map(lambda lot: [read_item(reading, *row) for row in lot], lots)
        return [one for lot in told for one in lot]


def _read_row_by_row(reading: Reading, items: Sequence[InputItem], at: Callable[[int | None], None]) -> list[Read]:
    reads = []
    for row, item in enumerate(items):
        if not item.error:
            at(row)
        reads.append(read_item(reading, item, _reader().prepare(item)))
    at(None)
    return reads
