"""What it takes to begin: the command line's help, its version, a first prediction, and the imports behind it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

from .fresh import BenchError
from .pictures import simulated, temporary_folder
from .report import Spread

__all__ = ["Start", "costly_imports", "start_up"]


@dataclass(frozen=True, slots=True)
class Start:
    """A command in fresh processes: seconds on the clock, and of processor time, its children's included."""

    command: str
    wall: Spread
    processor: Spread


def start_up(model: str = "fast", repeats: int = 5) -> tuple[list[Start], dict[str, float]]:
    """Measure ``--help``, ``--version`` and the prediction of one picture, in turn, each `repeats` times.

    Each is run once before, so that the system has read its files.

    Returns
    -------
    list of Start
    dict
        `costly_imports` of the prediction.

    Raises
    ------
    BenchError
        If a command fails, with what it said.
    """
    with temporary_folder() as folder:
        (picture,) = simulated(folder / "pictures", 1)
        commands = {
            "--help": ["--help"],
            "--version": ["--version"],
            "predict, one picture": ["predict", str(picture), "--model", model],
        }
        for words in commands.values():
            _timed(words)
        times = {name: [] for name in commands}
        for _ in range(repeats):
            for name, words in commands.items():
                times[name].append(_timed(words))
        imports = costly_imports(commands["predict, one picture"])
    starts = [Start(f"tuningfork {name}", *map(Spread.of, zip(*told, strict=True))) for name, told in times.items()]
    return starts, imports


def costly_imports(words: list[str], most: int = 8) -> dict[str, float]:
    """The packages whose own modules take longest to import when a command runs: seconds, longest first."""
    command = [sys.executable, "-X", "importtime", "-m", "tuningfork", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _check(words, done.returncode, done.stderr)
    seconds: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").rpartition("|")
        microseconds = own.split("|")[0].strip()
        if line.startswith("import time:") and microseconds.isdecimal():
            seconds[name.strip().partition(".")[0]] += int(microseconds) / 1e6
    return dict(seconds.most_common(most))


def _timed(words: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of processor time."""
    before, started = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "tuningfork", *words], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, os.times()
    _check(words, done.returncode, done.stderr)
    user = after.children_user - before.children_user
    return wall, user + after.children_system - before.children_system


def _check(words: list[str], code: int, said: str) -> None:
    if code:
        told = [line for line in said.splitlines() if not line.startswith("import time:")]
        raise BenchError(f"tuningfork {' '.join(words)} failed: {' '.join(told)[-300:]}")
