"""Unordered map over a few daemon threads, abandoned on interruption."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, Queue
from typing import TypeVar

__all__ = ["imap_unordered"]

A = TypeVar("A")
B = TypeVar("B")


def imap_unordered(function: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    """Call `function` on each item in `threads` threads and yield the results as they come.

    At most ``2 * threads`` items are held. A caller that stops iterating abandons the calls under way: a server that
    does not answer keeps nobody from ending, as it would with `concurrent.futures`, whose threads the interpreter
    joins at its exit.

    Parameters
    ----------
    function : callable
        Called with an item, in one of the threads.
    items : iterable
        Taken in the caller's thread; none of them is None.
    threads : int

    Raises
    ------
    BaseException
        Whatever `function` raised.
    """
    todo: Queue[A | None] = Queue()
    results: Queue[tuple[B | None, BaseException | None]] = Queue()

    def work() -> None:
        while (item := todo.get()) is not None:
            try:
                results.put((function(item), None))
            except BaseException as error:
                results.put((None, error))

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for thread in workers:
        thread.start()
    pending = 0
    try:
        for item in items:
            todo.put(item)
            pending += 1
            if pending == 2 * threads:
                yield _result(results)
                pending -= 1
        for _ in range(pending):
            yield _result(results)
    finally:
        with suppress(Empty):
            while True:
                todo.get_nowait()
        for _ in workers:
            todo.put(None)


def _result(results: Queue[tuple[B | None, BaseException | None]]) -> B:
    value, error = results.get()
    if error is not None:
        raise error
    return value  # type: ignore[return-value]
