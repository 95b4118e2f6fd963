"""A fine-tune on the labels so far, as a program of its own: one at a time, with a log, ended with the server."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._utils.processes import child_environment, python_command
from .campaign import Store
from .database import TeachError
from .export import export
from .tally import tally, votes_table

try:
    import fcntl
except ImportError:  # Windows has none: there only this process's own training is known
    fcntl = None  # type: ignore[assignment]

__all__ = ["LEAST", "Training", "train_command"]

#: With fewer labelled galaxies nothing is left to validate on.
LEAST = 10
#: Seconds that a training has to end after it was asked to.
PATIENCE = 10
#: Of the log, so much is told.
TAIL_BYTES = 4_000
LABELS, LOG, BUNDLE = "labels.csv", "log.txt", "bundle"


def train_command(folder: Path, labels: Path, run: Path, *, start: str, tree: str) -> list[str]:
    """The words of the `tuningfork train` that learns from exported votes; `tree` "" for a user's own classes."""
    words = ["tuningfork", "train", "--init", start, "--images", str(folder), "--labels", str(labels), "-o", str(run)]
    return [*words, *(["--tree", tree] if tree else [])]


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    run: Path
    stopped: bool = False


class Training:
    """Starts, watches and stops trainings on the answers of a store; each in a new folder ``run-1``, ``run-2``, … .

    A training ends with the server: it is asked to (as by Ctrl-C, so that ``--resume`` goes on with it), then killed.
    If the server is killed instead, the training goes on to its end, and no other begins meanwhile: it holds the
    lock on ``training.lock``, which it inherited.

    Parameters
    ----------
    runs : path
        Folder of all runs, made when needed.
    start : str
        Name or folder of the model that is adapted.
    tree : str
        As `tuningfork train --tree` takes it; "" for a user's own classes.
    options : list of str
        More words for the command.
    """

    def __init__(
        self, store: Store, folder: Path, runs: Path, *, start: str, tree: str, options: tuple[str, ...] = ()
    ) -> None:
        self.store = store
        self.folder = folder
        self.runs = runs
        self._start, self._tree, self._options = start, tree, options
        self._guard = threading.Lock()
        self._running: _Running | None = None

    def start(self) -> dict[str, Any]:
        """Export the votes and begin a training; gives `status`.

        Raises
        ------
        TeachError
            If one is at work, or too few galaxies have labels.
        OSError
            If the folder cannot be written.
        """
        with self._guard:
            self.runs.mkdir(parents=True, exist_ok=True)
            with open(self.runs / "training.lock", "w") as lock:
                self._claim(lock.fileno())
                rows = votes_table(tally(self.store.given(), self.store.tree), self.store.tree)[0].num_rows
                if rows < LEAST:
                    raise TeachError(f"{rows} galaxies have labels; label at least {LEAST} before a training")
                run = self._new_run()
                export(self.store, self.folder, run / LABELS, "kaggle")
                words = python_command("-m", "tuningfork", *self._command(run)[1:])
                with open(run / LOG, "wb") as log:
                    log.write(f"$ {shlex.join(self._command(run))}\n".encode())
                    log.flush()
                    process = subprocess.Popen(
                        words,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=child_environment(),
                        # Held as long as the training lives, however we end.
                        pass_fds=[lock.fileno()] if fcntl else [],
                        # A terminal's Ctrl-C is for us; we tell the training.
                        start_new_session=True,
                    )
            self._running = _Running(process, run)
        return self.status()

    def status(self) -> dict[str, Any]:
        """`state`: none, running, done, stopped, failed or elsewhere; and `run`, `command`, the end of `log`, `model`.

        `elsewhere`: a training that an earlier server began is still at work.
        """
        running = self._running
        if running is None:
            return {"state": "elsewhere" if self._held() else "none"}
        code = running.process.poll()
        bundle = running.run / BUNDLE
        if code is None:
            state = "running"
        elif code in (0, 3) and bundle.exists():
            state = "done"
        else:
            state = "stopped" if running.stopped else "failed"
        return {
            "state": state,
            "run": str(running.run),
            "command": shlex.join(self._command(running.run)),
            "log": _tail(running.run / LOG),
            "model": str(bundle) if state == "done" else "",
        }

    def stop(self) -> None:
        """End the training that runs, if one does; it can be gone on with by `tuningfork train … --resume`."""
        running = self._running
        if running is None or running.process.poll() is not None:
            return
        running.stopped = True
        for ask in (signal.SIGINT, signal.SIGKILL):
            # The group: processes that read pictures too.
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, ask) if os.name == "posix" else running.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(PATIENCE)
                return

    def _command(self, run: Path) -> list[str]:
        return [
            *train_command(self.folder, run / LABELS, run, start=self._start, tree=self._tree),
            *self._options,
        ]

    def _new_run(self) -> Path:
        number = 1
        while True:
            with suppress(FileExistsError):
                run = self.runs / f"run-{number}"
                run.mkdir()
                return run
            number += 1

    def _claim(self, descriptor: int) -> None:
        busy = TeachError("a training is at work; stop it, or wait for its end")
        if self._running is not None and self._running.process.poll() is None:
            raise busy
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy from None

    def _held(self) -> bool:
        if fcntl is None or not (self.runs / "training.lock").exists():
            return False
        with open(self.runs / "training.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


def _tail(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - TAIL_BYTES))
        return file.read().decode("utf-8", "replace").replace("\r", "\n")
