"""Work in a fresh process and its children: how long it takes from its start to its end, and what memory it needs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from .._utils.errors import TuningforkError
from .memory import PeakMemory, family

__all__ = ["BenchError", "Done", "begin", "end", "fresh_process", "own_group"]


class BenchError(TuningforkError, ValueError):
    """A measurement that cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Done:
    """What a fresh process gave.

    Parameters
    ----------
    result : whatever its function returned
    seconds : float
        From before it was made until the result was here: imports and opening of the model count.
    peak_mb : float or None
        Largest memory of it and its children together in MB (10⁶ bytes), pages that they share counted
        once; None where the system does not tell.
    """

    result: Any
    seconds: float
    peak_mb: float | None


def fresh_process(function: Callable[..., Any], *arguments: Any) -> Done:
    """Run ``function(*arguments)``, of a module's top level, in a new interpreter; no child outlives it.

    Raises
    ------
    BenchError
        If it raises, with its message, or is killed.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, multiprocessing.get_start_method(), function, arguments))
    started = time.perf_counter()
    try:
        begin(process)
        theirs.close()
        assert process.pid is not None
        with PeakMemory(process.pid) as memory:
            try:
                error, result = ours.recv()
            except EOFError:
                process.join()
                error, result = f"a process of it ended with code {process.exitcode}", None
            seconds = time.perf_counter() - started
            process.join()
    finally:
        end(process)
        ours.close()
    if error:
        raise BenchError(error)
    return Done(result, seconds, None if memory.bytes is None else memory.bytes / 1e6)


def begin(process: BaseProcess) -> None:
    """Start a process; an interrupt waits until it is whole, lest half of one tells of what it lacks."""
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        process.start()
        return
    came = []
    signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def own_group() -> None:
    """Leave the caller's process group, so that an interrupt goes to the caller, who ends all of this group."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def end(process: BaseProcess) -> None:
    """Kill a process, all of its group (see `own_group`) and all that descends from it, if it was started."""
    if process.pid is None:
        return
    for each in family(process.pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _end_with_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    caller.join()
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _run(connection: Connection, method: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    own_group()
    # Nobody waits for what a caller that was killed had asked for.
    threading.Thread(target=_end_with_caller, daemon=True).start()
    # A spawned process would spawn its own, too; these are to be as a program's that a person starts.
    multiprocessing.set_start_method(method, force=True)
    try:
        result = function(*arguments)
    except Exception as error:
        connection.send((f"{type(error).__name__}: {error}", None))
    else:
        connection.send(("", result))
