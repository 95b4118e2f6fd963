"""Attempt tracker: work items in flight on a cluster, and how often each was started; an actor beside the driver."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .queue import WorkItem

__all__ = ["MAX_CRASHES", "AttemptTracker"]

#: Processes that one work item may cost before the run is given up.
MAX_CRASHES = 20


@dataclass
class _Attempts:
    item: WorkItem
    starts: int = 0
    row: tuple[int, int] | None = None
    known_failures: dict[tuple[int, int], str] = field(default_factory=dict)
    predicted: dict[int, int] = field(default_factory=dict)


class AttemptTracker:
    """Work items in flight; all stages call it.

    It holds a work item until the driver has its rows, so that a reader that is restarted finds it; and it counts how
    often that happens, so that no work item is retried for ever.
    """

    def __init__(self) -> None:
        self._attempts: dict[int, _Attempts] = {}
        self._order = array("q")
        self._total: int | None = None
        self._changed = asyncio.Condition()

    async def add(self, items: Sequence[WorkItem]) -> None:
        """Append work items."""
        async with self._changed:
            for item in items:
                self._attempts[item.number] = _Attempts(item)
                self._order.append(item.number)
            self._changed.notify_all()

    async def end(self, total: int) -> None:
        """Set how many work items there will be; some may still be on their way, since calls overtake each other."""
        async with self._changed:
            self._total = total
            self._changed.notify_all()

    async def forget(self, number: int) -> None:
        """Drop a work item: the driver has all its rows."""
        self._attempts.pop(number, None)

    async def number(self, place: int) -> int | None:
        """Wait for the work item at this place of the order; None if the order ends before it."""

        def known() -> bool:
            return len(self._order) > place or (self._total is not None and place >= self._total)

        async with self._changed:
            await self._changed.wait_for(known)
            return self._order[place] if len(self._order) > place else None

    async def start(self, number: int) -> tuple[WorkItem, Mapping[tuple[int, int], str], int] | None:
        """Count a start of reading; return the work item, its known failures, and how often it was started before."""
        attempts = self._attempts.get(number)
        if attempts is None:
            return None
        if attempts.row is not None:
            attempts.known_failures[attempts.row] = "the process that read it ended abruptly; out of memory?"
            attempts.row = None
        attempts.starts += 1
        return attempts.item, attempts.known_failures, attempts.starts - 1

    async def set_row(self, number: int, row: tuple[int, int] | None) -> None:
        """Set which row of which slice is read next, where rows are read one by one; None: none."""
        if number in self._attempts:
            self._attempts[number].row = row

    async def start_prediction(self, number: int, index: int) -> int:
        """Count a start of predicting a slice; return how often it was started before."""
        if number not in self._attempts:
            return 0
        predicted = self._attempts[number].predicted
        predicted[index] = predicted.get(index, 0) + 1
        return predicted[index] - 1
