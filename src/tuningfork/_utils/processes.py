"""Processes that work through tasks: one dies, another takes its task; when the parent dies, they end."""

from __future__ import annotations

import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from .errors import TuningforkError

__all__ = ["Died", "Job", "WorkerError", "Worker", "available_cores", "work_through"]

#: Libraries that would each start a thread for every core, in every process.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LENGTH = struct.Struct("<Q")


class WorkerError(TuningforkError, RuntimeError):
    """A worker met what it could not handle; the message is its own account."""


class Died(TuningforkError):
    """A worker's process ended without an answer. `exit_code` is negative for a signal."""

    def __init__(self, exit_code: int | None, said: Any) -> None:
        super().__init__(f"process ended with {exit_code}")
        self.exit_code, self.said = exit_code, said


class Job(Protocol):
    """What workers do; it is pickled once for each of them."""

    def open(self) -> Callable[[Any, Callable[[Any], None]], Any]:
        """Called in the worker; gives a function of (task, say) that answers a task and may `say` things meanwhile."""


def available_cores() -> int:
    """How many cores this process may use."""
    # A batch system may lend fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """One process. It runs this package's code only, not the user's script, so that no script needs a guard."""

    def __init__(self, job: Job) -> None:
        # Pickles go through private pipes between our own processes only.
        self._job = pickle.dumps(job)
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def do(self, task: Any, hear: Callable[[Any], None]) -> Any:
        """The answer to a task; what the worker says meanwhile goes to `hear`.

        Raises
        ------
        Died
            If the process ended; the next task gets a new one.
        WorkerError
            If the worker raised something.
        """
        said = None
        try:
            process = self._process or self._start()
            assert process.stdin
            assert process.stdout
            _send(process.stdin, pickle.dumps(task))
            while True:
                kind, value = pickle.loads(_receive(process.stdout))
                if kind == "answer":
                    return value
                if kind == "error":
                    raise WorkerError(value)
                said = value
                hear(value)
        except (EOFError, OSError):  # OSError: the pipe is broken, or closed by another thread
            raise Died(self._end(patience=5), said) from None

    def close(self) -> None:
        """End the process now, whatever it does; from any thread."""
        self._closed = True
        self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise WorkerError("closed")
        # The very package that runs here, from wherever it was imported.
        home = str(Path(__file__).parents[2])
        path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONPATH": path}
        command = [sys.executable, "-c", "from tuningfork._utils.processes import _serve; _serve()"]
        # In a group of its own: an interrupt at the terminal is the parent's to handle.
        options: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, **options
        )
        assert self._process.stdin
        _send(self._process.stdin, self._job)
        return self._process

    def _end(self, patience: float = 0) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            # A process that ended by itself has closed its pipe a moment before.
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe and pipe.close()
        return code


def work_through(
    tasks: Iterable[Any],
    crew: Sequence[Worker],
    drive: Callable[[Worker, Any, Callable[[Any], None]], Iterator[Any]],
) -> Iterator[Any]:
    """Answers to `tasks` as they come, one task under way for each worker.

    A thread for each worker calls ``drive(worker, task, tell)`` for task after task; what that yields or tells is
    yielded here, in the caller's thread. A task is taken from its source when a worker is free, and no more answers
    wait than there are workers. However this ends, the workers are closed.

    Raises
    ------
    Exception
        Whatever `drive` or the source of tasks raised.
    """
    answers: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=len(crew))
    over = threading.Event()
    source, turn = iter(tasks), threading.Lock()

    def put(kind: str, value: Any) -> None:
        while not over.is_set():
            with suppress(queue.Full):
                answers.put((kind, value), timeout=0.2)
                return

    def work(worker: Worker) -> None:
        try:
            while not over.is_set():
                with turn:
                    task = next(source, None)
                if task is None:
                    break
                for answer in drive(worker, task, lambda value: put("answer", value)):
                    put("answer", answer)
        except BaseException as error:
            put("error", error)
        finally:
            put("end", None)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in crew]
    try:
        for thread in threads:
            thread.start()
        ended = 0
        while ended < len(crew):
            kind, value = answers.get()
            if kind == "error":
                raise value
            if kind == "end":
                ended += 1
            else:
                yield value
    finally:
        over.set()
        for worker in crew:
            worker.close()
        for thread in threads:
            thread.join()


def _serve() -> None:
    """A worker's whole life: the job, then task after task, until the parent closes the pipe or is gone."""
    source = sys.stdin.buffer
    # Whatever a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        answer = pickle.loads(_receive(source)).open()
        while True:
            task = pickle.loads(_receive(source))
            try:
                told = ("answer", answer(task, lambda value: _send(answers, pickle.dumps(("said", value)))))
            except Exception as error:
                told = ("error", f"{type(error).__name__}: {error}")
            _send(answers, pickle.dumps(told))
    except (EOFError, BrokenPipeError):
        # Nobody is there to answer to; buffered bytes have nowhere to go.
        os._exit(0)


def _send(stream: BinaryIO, data: bytes) -> None:
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _receive(stream: BinaryIO) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
