"""The cores of this process, and the command line and the environment of those that it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["available_cores", "child_environment", "limit_blas", "python_command"]

#: Libraries that would each start a thread for every core, in every process.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def available_cores() -> int:
    """How many cores this process may use."""
    # A batch system may lend fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def python_command(*arguments: str) -> list[str]:
    """The command of a child process of this Python that never imports from the current folder (``-P``)."""
    return [sys.executable, "-P", *arguments]


def child_environment(*, one_thread: bool = False) -> dict[str, str]:
    """The environment of a child process, in which the very package that runs here is imported.

    An empty part of PYTHONPATH would stand for the current folder, whose files may be a stranger's.
    """
    paths = [str(Path(__file__).parents[2]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    return environment | (dict.fromkeys(_ONE_THREAD, "1") if one_thread else {})


def limit_blas() -> None:
    """Let NumPy, if it is not imported yet, start no threads for linear algebra, unless the user has set their number.

    They would wait for work in a busy loop: a fifth of a short command's processor time, for matrices of 37 columns.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
