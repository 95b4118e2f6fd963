"""Queue of chunks for a cluster: cut into work items, a bounded number of them in flight, and joined again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...inputs import InputItem
from ...model.predictions import Predictions
from ..chunks import Chunk

__all__ = ["ChunkQueue", "Slice", "WorkItem", "InFlight"]

#: Rows in flight for each CPU, whatever the run has; and work items at least, where chunks are small.
ROWS_PER_CPU, ITEMS_PER_CPU = 2048, 4


@dataclass(frozen=True, slots=True)
class Slice:
    """Items of one chunk that are read and predicted together, from row `start` of the chunk."""

    chunk: int
    start: int
    items: Sequence[InputItem]


@dataclass(frozen=True, slots=True)
class WorkItem:
    """What one reader reads: slices by their index, one after the other."""

    number: int
    slices: Mapping[int, Slice]


@dataclass
class InFlight:
    """A chunk some slices of which are not predicted yet."""

    chunk: Chunk
    n_slices: int
    predicted: dict[int, list[Predictions]] = field(default_factory=dict)

    def predictions(self) -> list[Predictions]:
        """What has come, in the chunk's order."""
        return [batch for start in sorted(self.predicted) for batch in self.predicted[start]]


class ChunkQueue:
    """Groups of chunks as work items; holds those in flight, since whoever has them may crash.

    Parameters
    ----------
    groups : chunks that one reader should read one after the other, if they are rows of one table
    size : rows of a slice
    """

    def __init__(self, groups: Iterator[list[Chunk]], size: int) -> None:
        self._groups, self._size = groups, size
        self._waiting: deque[dict[int, Slice]] = deque()
        self._chunks: dict[int, InFlight] = {}
        self._count = 0
        self._rows = 0
        self.pending: dict[int, dict[int, Slice]] = {}

    def has_new(self) -> bool:
        """Whether there are work items that `work_items` has not given out yet."""
        if not self._waiting and (group := next(self._groups, None)):
            self._cut(group)
        return bool(self._waiting)

    def more(self) -> bool:
        """Whether anything is left to predict."""
        return bool(self.pending) or self.has_new()

    def work_items(self, cpus: float) -> Iterator[WorkItem]:
        """New work items, until as much is in flight as so many CPUs need in order never to wait."""
        while self._rows < ROWS_PER_CPU * cpus or len(self.pending) < ITEMS_PER_CPU * cpus:
            if not self.has_new():
                return
            slices = self._waiting.popleft()
            self.pending[self._count] = slices
            self._rows += sum(len(part.items) for part in slices.values())
            yield WorkItem(self._count, dict(slices))
            self._count += 1

    def chunk_of(self, number: int) -> int | None:
        """A chunk that a work item is of; None: all its predictions have come."""
        return next((part.chunk for part in self.pending.get(number, {}).values()), None)

    def settle(self, number: int, index: int, predictions: list[Predictions]) -> tuple[int, InFlight | None]:
        """Take in a slice's predictions.

        Returns
        -------
        int
            Their rows; 0 if they came before.
        InFlight or None
            The chunk, if it is complete.
        """
        slices = self.pending.get(number, {})
        if index not in slices:
            return 0, None
        part = slices.pop(index)
        if not slices:
            del self.pending[number]
        self._rows -= len(part.items)
        in_flight = self._chunks[part.chunk]
        in_flight.predicted[part.start] = predictions
        if len(in_flight.predicted) < in_flight.n_slices:
            return len(part.items), None
        return len(part.items), self._chunks.pop(part.chunk)

    def _cut(self, group: list[Chunk]) -> None:
        slices = []
        for chunk in group:
            starts = range(0, len(chunk.items), self._size)
            self._chunks[chunk.number] = InFlight(chunk, len(starts))
            slices += [Slice(chunk.number, start, chunk.items[start : start + self._size]) for start in starts]
        if group[0].items[0].kind == "row":
            # A reader continues in a table from where it stands.
            self._waiting.append(dict(enumerate(slices)))
        else:
            self._waiting.extend({0: part} for part in slices)
