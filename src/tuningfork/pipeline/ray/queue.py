"""Parts cut into work_items for readers far away, a bounded number of them under way, and joined again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...inputs import InputItem
from ...model.predictions import Predictions
from ..chunks import Chunk

__all__ = ["ChunkQueue", "Slice", "WorkItem", "InFlight"]

#: Rows under way for each CPU, whatever the run has; and work_items at least, where parts are small.
ROWS_PER_CPU, ITEMS_PER_CPU = 2048, 4


@dataclass(frozen=True, slots=True)
class Slice:
    """Entries of one part that are read and predicted together, from row `start` of the part."""

    part: int
    start: int
    items: Sequence[InputItem]


@dataclass(frozen=True, slots=True)
class WorkItem:
    """What one reader does: slices by their index, one after the other."""

    number: int
    slices: Mapping[int, Slice]


@dataclass
class InFlight:
    """A part some slices of which are not predicted yet."""

    chunk: Chunk
    slices: int
    told: dict[int, list[Predictions]] = field(default_factory=dict)

    def predictions(self) -> list[Predictions]:
        """What has come, in the part's order."""
        return [batch for start in sorted(self.told) for batch in self.told[start]]


class ChunkQueue:
    """Groups of parts as work_items; holds those under way, since whoever has them may die.

    Parameters
    ----------
    groups : parts that one reader should do one after the other, if they are rows of one table
    size : rows of a slice
    """

    def __init__(self, groups: Iterator[list[Chunk]], size: int) -> None:
        self._groups, self._size = groups, size
        self._drawn: deque[dict[int, Slice]] = deque()
        self._parts: dict[int, InFlight] = {}
        self._numbers = 0
        self._rows = 0
        self.pending: dict[int, dict[int, Slice]] = {}

    def unbegun(self) -> bool:
        """Whether there are work_items that `work_items` has not given yet."""
        if not self._drawn and (group := next(self._groups, None)):
            self._draw(group)
        return bool(self._drawn)

    def more(self) -> bool:
        """Whether there is anything left to do."""
        return bool(self.pending) or self.unbegun()

    def work_items(self, cpus: float) -> Iterator[WorkItem]:
        """New work_items, until as much is under way as so many CPUs need in order never to wait."""
        while self._rows < ROWS_PER_CPU * cpus or len(self.pending) < ITEMS_PER_CPU * cpus:
            if not self.unbegun():
                return
            slices = self._drawn.popleft()
            self.pending[self._numbers] = slices
            self._rows += sum(len(part.items) for part in slices.values())
            yield WorkItem(self._numbers, dict(slices))
            self._numbers += 1

    def part(self, number: int) -> int | None:
        """A part that a work_item is of; None: all its predictions have come."""
        return next((part.part for part in self.pending.get(number, {}).values()), None)

    def settle(self, number: int, index: int, told: list[Predictions]) -> tuple[int, InFlight | None]:
        """Take in a slice's predictions; gives how many rows they are, 0 if they came before, and the part if whole."""
        slices = self.pending.get(number, {})
        if index not in slices:
            return 0, None
        part = slices.pop(index)
        if not slices:
            del self.pending[number]
        self._rows -= len(part.items)
        under_way = self._parts[part.part]
        under_way.told[part.start] = told
        if len(under_way.told) < under_way.slices:
            return len(part.items), None
        return len(part.items), self._parts.pop(part.part)

    def _draw(self, group: list[Chunk]) -> None:
        slices = []
        for chunk in group:
            starts = range(0, len(chunk.items), self._size)
            self._parts[chunk.number] = InFlight(chunk, len(starts))
            slices += [Slice(chunk.number, start, chunk.items[start : start + self._size]) for start in starts]
        if group[0].items[0].kind == "row":
            # A reader goes on in a table from where it stands.
            self._drawn.append(dict(enumerate(slices)))
        else:
            self._drawn.extend({0: part} for part in slices)
