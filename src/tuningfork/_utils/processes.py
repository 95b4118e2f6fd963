"""Process pool that survives crashes: a process dies, another takes its task; when the parent dies, they end."""

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
from typing import IO, Any, Protocol

from .environment import child_environment, python_command
from .errors import TuningforkError

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

__all__ = [
    "Job",
    "Worker",
    "WorkerCrash",
    "WorkerError",
    "WorkerTimeout",
    "run_tasks",
]

_LENGTH = struct.Struct("<Q")


class WorkerError(TuningforkError, RuntimeError):
    """A task raised something in its worker; the message is that error's."""


class WorkerCrash(TuningforkError):
    """A worker's process ended without an answer.

    Parameters
    ----------
    exit_code : int or None
        Negative for a signal.
    last_message : object
        What the task reported last; None if nothing.
    """

    def __init__(self, exit_code: int | None, last_message: Any) -> None:
        super().__init__(f"process ended with {exit_code}")
        self.exit_code, self.last_message = exit_code, last_message


class WorkerTimeout(TuningforkError):
    """A task took longer than it may, or reported nothing for too long; its worker's process was killed.

    Parameters
    ----------
    last_message : object
        What the task reported last; None if nothing.
    """

    def __init__(self, message: str, last_message: Any = None) -> None:
        super().__init__(message)
        self.last_message = last_message


class Job(Protocol):
    """What workers do; it is pickled once for each of them."""

    def open(self) -> Callable[[Any, Callable[[Any], None]], Any]:
        """Called in the worker; returns a function of (task, send_message) that returns the task's answer."""


class Worker:
    """One process. It runs this package's code only, not the user's script, so that no script needs a guard.

    Parameters
    ----------
    memory_limit : int or None
        Bytes that the process may allocate; beyond it, allocations fail there. Not on Windows.
    """

    def __init__(self, job: Job, memory_limit: int | None = None) -> None:
        # Pickles go through private pipes between our own processes only.
        self._job = pickle.dumps(job)
        self._memory_limit = memory_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        # A process that is starting while another thread closes the worker must not outlive it.
        self._starting = threading.Lock()

    def run(
        self,
        task: Any,
        on_message: Callable[[Any], None] = lambda _: None,
        *,
        timeout: float | None = None,
        idle: float | None = None,
    ) -> Any:
        """Run a task and return its answer; what it reports meanwhile goes to `on_message`.

        Parameters
        ----------
        timeout : float or None
            Seconds after which the process is killed.
        idle : float or None
            Seconds without a report or an answer after which it is killed; `timeout` goes first.

        Raises
        ------
        WorkerCrash
            If the process ended; the next task gets a new one.
        WorkerTimeout
            If the process was killed for the time it took, or for its silence.
        WorkerError
            If the task raised something.
        OSError
            If no process can be started.
        """
        last_message = None
        # Not within `try`: that no process can be started says nothing of the task.
        process, is_new = self._process, False
        if process is None:
            process, is_new = self._start(), True
        assert process.stdin
        assert process.stdout
        limit = idle if timeout is None else timeout
        watchdog = _Watchdog(process, limit)
        try:
            if is_new:
                _send(process.stdin, pickle.dumps(self._memory_limit))
                _send(process.stdin, self._job)
                # Its start, on a busy machine some seconds, is not the task's time.
                _receive(process.stdout)
            watchdog.restart()
            _send(process.stdin, pickle.dumps(task))
            while True:
                kind, value = pickle.loads(_receive(process.stdout))
                if kind == "answer":
                    return value
                if kind == "error":
                    raise WorkerError(value)
                last_message = value
                if timeout is None:
                    watchdog.restart()
                on_message(value)
        except (EOFError, OSError):  # OSError: the pipe is broken, or closed by another thread
            exit_code = self._end(grace=5)
            if watchdog.expired.is_set():
                raise WorkerTimeout(f"took longer than {limit:g} s", last_message) from None
            raise WorkerCrash(exit_code, last_message) from None
        finally:
            watchdog.stop()

    def close(self) -> None:
        """End the process now, whatever it does; from any thread."""
        with self._starting:
            self._closed = True
        self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        # In a group of its own: an interrupt at the terminal is the parent's to handle.
        options: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
        with self._starting:
            if self._closed:
                raise WorkerError("closed")
            self._process = subprocess.Popen(
                python_command("-c", "from tuningfork._utils.processes import _serve; _serve()"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=child_environment(one_thread=True),
                **options,
            )
            return self._process

    def _end(self, grace: float = 0) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            # A process that ended by itself has closed its pipe a moment before.
            code = process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        return code


class _Watchdog:
    """Kills a process that is not heard of for so many seconds; None: never."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float | None) -> None:
        self._process, self._seconds = process, seconds
        self._timer: threading.Timer | None = None
        self.expired = threading.Event()

    def restart(self) -> None:
        """Count the seconds from now on."""
        self.stop()
        if self._seconds is not None:
            self._timer = threading.Timer(self._seconds, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self.expired.set()
        self._process.kill()


def run_tasks(
    tasks: Iterable[Any],
    workers: Sequence[Worker],
    run: Callable[[Worker, Any, Callable[[Any], None]], Iterator[Any]],
) -> Iterator[Any]:
    """Yield the answers to `tasks` as they come, one task under way for each worker.

    A task is taken from its source when a worker is free, and no more answers wait than there are workers. However
    this ends, the workers are closed.

    Parameters
    ----------
    run : callable
        Called as ``run(worker, task, report)`` in a thread for each worker; what it yields or reports is yielded
        here, in the caller's thread.

    Raises
    ------
    Exception
        Whatever `run` or the source of tasks raised.
    """
    answers: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=len(workers))
    stopped = threading.Event()
    source, turn = iter(tasks), threading.Lock()

    def put(kind: str, value: Any) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                answers.put((kind, value), timeout=0.2)
                return

    def work(worker: Worker) -> None:
        try:
            while not stopped.is_set():
                with turn:
                    task = next(source, None)
                if task is None:
                    break
                for answer in run(worker, task, lambda value: put("answer", value)):
                    put("answer", answer)
        except BaseException as error:
            put("error", error)
        finally:
            put("end", None)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        ended = 0
        while ended < len(workers):
            kind, value = answers.get()
            if kind == "error":
                raise value
            if kind == "end":
                ended += 1
            else:
                yield value
    finally:
        stopped.set()
        for worker in workers:
            worker.close()
        for thread in threads:
            thread.join()


def _serve() -> None:
    """Run in the worker: the job, then task after task, until the parent closes the pipe or is gone."""
    source = sys.stdin.buffer
    # Whatever a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        _limit_memory(pickle.loads(_receive(source)))
        answer = pickle.loads(_receive(source)).open()
        _send(answers, b"ready")
        while True:
            task = pickle.loads(_receive(source))
            try:
                result = ("answer", answer(task, lambda value: _send(answers, pickle.dumps(("message", value)))))
            except Exception as error:
                result = ("error", f"{type(error).__name__}: {error}")
            _send(answers, pickle.dumps(result))
    except (EOFError, BrokenPipeError):
        # Nobody is there to answer to; buffered bytes have nowhere to go.
        os._exit(0)


def _limit_memory(limit: int | None) -> None:
    if limit is None or resource is None:
        return
    # Linux counts all private memory as data; address space would count libraries and thread stacks too.
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    with suppress(ValueError, OSError):  # macOS refuses
        resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
