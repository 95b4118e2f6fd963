"""A few threads that do one errand each at a time, and are left behind at an interruption."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, Queue
from typing import TypeVar

__all__ = ["at_once"]

A = TypeVar("A")
B = TypeVar("B")


def at_once(do: Callable[[A], B], errands: Iterable[A], threads: int) -> Iterator[B]:
    """What `do` gives for each errand, as it comes; no more than twice `threads` errands are held.

    Whoever stops listening leaves errands that are under way to themselves: a server that does not answer keeps
    nobody from ending, as it would in `concurrent.futures`, whose threads the interpreter waits for.
    """
    todo: Queue[A | None] = Queue()
    done: Queue[B | BaseException] = Queue()

    def work() -> None:
        while (errand := todo.get()) is not None:
            try:
                done.put(do(errand))
            except BaseException as error:  # told to who listens
                done.put(error)

    crew = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()
    under_way = 0
    try:
        for errand in errands:
            todo.put(errand)
            under_way += 1
            if under_way == 2 * threads:
                yield _next(done)
                under_way -= 1
        for _ in range(under_way):
            yield _next(done)
    finally:
        with suppress(Empty):
            while True:
                todo.get_nowait()
        for _ in crew:
            todo.put(None)


def _next(done: Queue[B | BaseException]) -> B:
    told = done.get()
    if isinstance(told, BaseException):
        raise told
    return told
