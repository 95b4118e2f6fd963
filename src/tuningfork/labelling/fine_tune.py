"""Fine-tuning on the labels of a campaign, as a child process: one at a time, with a log, ended with the server."""

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

from .._utils.environment import child_environment, python_command
from .campaign import Campaign
from .database import LabellingError
from .export import export
from .tally import tally, votes_table

try:
    import fcntl
except ImportError:  # Windows has none: there only this process's own training is known
    fcntl = None  # type: ignore[assignment]

__all__ = ["MIN_LABELLED", "FineTuning", "train_command"]

#: With fewer labelled galaxies nothing is left to validate on.
MIN_LABELLED = 10
#: Seconds that a training has to end after an interrupt, before it is killed.
GRACE_SECONDS = 10
#: Length of the end of the log that is shown.
TAIL_BYTES = 4_000
LABELS, LOG, BUNDLE, LOCK = "labels.csv", "log.txt", "bundle", "training.lock"


def train_command(folder: Path, labels: Path, run: Path, *, init: str, tree: str) -> list[str]:
    """The command ``tuningfork train …`` that fine-tunes on exported votes; `tree` is "" for a user's own classes."""
    words = ["tuningfork", "train", "--init", init, "--images", str(folder), "--labels", str(labels), "-o", str(run)]
    return [*words, *(["--tree", tree] if tree else [])]


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    run: Path
    stopped: bool = False


class FineTuning:
    """Starts, watches and stops trainings on the answers of a campaign; each in a new folder ``run-1``, ``run-2``, ….

    A training ends with the server: it is interrupted (as by Ctrl-C, so that ``--resume`` continues it), then killed.
    If the server is killed instead, the training continues to its end, and no other starts meanwhile: it holds the
    lock on ``training.lock``, which it inherited.

    Parameters
    ----------
    runs : path
        Folder of all runs, created when needed.
    init : str
        Name or folder of the model that is fine-tuned.
    options : tuple of str
        Further words of the command.
    """

    def __init__(
        self, campaign: Campaign, folder: Path, runs: Path, *, init: str, options: tuple[str, ...] = ()
    ) -> None:
        self.campaign = campaign
        self.folder = folder
        self.runs = runs
        self._init, self._options = init, options
        self._guard = threading.Lock()
        self._running: _Running | None = None

    def start(self) -> dict[str, Any]:
        """Export the votes and start a training; returns `status`.

        Raises
        ------
        LabellingError
            If one is running, or too few galaxies have labels.
        OSError
            If the folder cannot be written.
        """
        with self._guard:
            self.runs.mkdir(parents=True, exist_ok=True)
            with open(self.runs / LOCK, "w") as lock:
                self._acquire(lock.fileno())
                rows = votes_table(tally(self.campaign.answers(), self.campaign.tree), self.campaign.tree)[0].num_rows
                if rows < MIN_LABELLED:
                    raise LabellingError(
                        f"{rows} galaxies have labels; label at least {MIN_LABELLED} before a training"
                    )
                run = self._new_run()
                export(self.campaign, self.folder, run / LABELS, "kaggle")
                command = self._command(run)
                with open(run / LOG, "wb") as log:
                    log.write(f"$ {shlex.join(command)}\n".encode())
                    log.flush()
                    process = subprocess.Popen(
                        python_command("-m", *command),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=child_environment(),
                        # Held as long as the training lives, however this process ends.
                        pass_fds=[lock.fileno()] if fcntl else [],
                        # A terminal's Ctrl-C is for this process, which passes it on.
                        start_new_session=True,
                    )
            self._running = _Running(process, run)
        return self.status()

    def status(self) -> dict[str, Any]:
        """`state`: none, running, done, stopped, failed or elsewhere; and `run`, `command`, the end of `log`, `model`.

        `elsewhere`: a training of an earlier server is still running.
        """
        running = self._running
        if running is None:
            return {"state": "elsewhere" if self._is_locked() else "none"}
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
        """End the running training, if any; `tuningfork train … --resume` continues it."""
        running = self._running
        if running is None or running.process.poll() is not None:
            return
        running.stopped = True
        for number in (signal.SIGINT, signal.SIGKILL) if os.name == "posix" else (signal.SIGTERM,):
            # The process group: processes that read images too.
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, number) if os.name == "posix" else running.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(GRACE_SECONDS)
                return

    def _command(self, run: Path) -> list[str]:
        tree = self.campaign.tree_name
        return [*train_command(self.folder, run / LABELS, run, init=self._init, tree=tree), *self._options]

    def _new_run(self) -> Path:
        number = 1
        while True:
            with suppress(FileExistsError):
                run = self.runs / f"run-{number}"
                run.mkdir()
                return run
            number += 1

    def _acquire(self, descriptor: int) -> None:
        busy = LabellingError("a training is running; stop it, or wait for its end")
        if self._running is not None and self._running.process.poll() is None:
            raise busy
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy from None

    def _is_locked(self) -> bool:
        if fcntl is None or not (self.runs / LOCK).exists():
            return False
        with open(self.runs / LOCK) as lock:
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
