"""Batch size: the fastest one for a model on this machine, measured once in a few seconds, and cached."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .._utils.environment import available_cores
from .._utils.files import default_cache, write_text
from .._utils.processes import Worker
from .bundle import Bundle
from .model import Model
from .options import InferenceOptions

__all__ = ["BATCHES", "Tuning", "tune_batch_size"]

#: Batch sizes that are tried.
BATCHES = (1, 4, 8, 16, 32, 64)
#: Of two batch sizes the smaller is taken unless it is slower by more than this share: it holds less in memory.
_ALIKE = 0.03
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was measured.

    Parameters
    ----------
    batch : int, at least 1
        Images at a time.
    threads : int, at least 1
        Those of the network when this was measured.
    milliseconds : float, above 0
        What the networks take for an image, with all its views, at this batch size.
    runtime : str
        What they ran on.
    """

    batch: int
    threads: int
    milliseconds: float
    runtime: str

    def __post_init__(self) -> None:
        if not all(type(n) is int and n >= 1 for n in (self.batch, self.threads)):
            raise ValueError(f"tuning: batch {self.batch!r} or threads {self.threads!r} is no count")
        if type(self.milliseconds) is not float or not 0 < self.milliseconds < math.inf:
            raise ValueError(f"tuning: {self.milliseconds!r} is no time in milliseconds")
        if type(self.runtime) is not str:
            raise ValueError(f"tuning: runtime {self.runtime!r} is no text")

    def to_dict(self) -> dict[str, Any]:
        """Plain types; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Tuning:
        """From the plain form. Raises ValueError or TypeError if it is none."""
        return cls(**data)


def tune_batch_size(
    model: Model,
    *,
    n_views: int | None = None,
    threads: int | None = None,
    folder: Path | None = None,
    again: bool = False,
    seconds: float = 3.0,
) -> Tuning:
    """The batch size that is fastest with the precision and device that `model` was opened with.

    It is measured in a process of its own: what large batches take of memory, a network never gives back. It is
    remembered in a file of its own for each kind of machine, runtime, network and number of views; a file that
    cannot be read, or is of something else, counts as none. Batch sizes change no prediction but for rounding.

    Parameters
    ----------
    n_views : 1, 2, 4, 8 or None
        Rotated and reflected views to average; None: as the model asks.
    threads : int, optional
        Of the networks; 0: all cores, None: as `model` was opened.
    folder : Path, optional
        Where it is remembered; None: the user's cache, ``$XDG_CACHE_HOME/tuningfork`` or ``~/.cache/tuningfork``.
    again : bool
        Measure even if it is remembered.
    seconds : float
        How long to measure, about; every batch size that can be tried in that time is.

    Raises
    ------
    WorkerError, WorkerCrash
        If the measuring process fails.
    """
    running = model.running if threads is None else {**model.running, "threads": threads}
    key = _key(model, n_views, running)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    file = (folder or default_cache()) / f"tuning-{digest[:16]}.json"
    tuning = None if again else _read_tuning(file, key)
    if tuning is None:
        with closing(Worker(_Measuring(model.bundle, running))) as worker:
            tuning = worker.run((key["views"], key["threads"], seconds), lambda _: None)
        # What cannot be remembered is measured again next time.
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps({"of": key, "tuning": tuning.to_dict()}, indent=1) + "\n")
    return tuning


@dataclass(frozen=True)
class _Measuring:
    """What the measuring process does; see `processes.Job`."""

    bundle: Bundle
    running: Mapping[str, Any]

    def open(self) -> Callable[[tuple[int, int, float], Callable[[Any], None]], Tuning]:
        """Open the model; called in that process."""
        model = Model(self.bundle, **self.running)
        return lambda task, _: _measure(model, *task)


def _key(model: Model, n_views: int | None, running: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what is fast."""
    cores = available_cores()
    return {
        "version": _VERSION,
        "cpu": _cpu(),
        "cores": cores,
        "threads": min(running["threads"] or cores, cores),
        "runtime": model.runtime,
        "networks": [network.sha256 for network in model.bundle.networks],
        "views": model.n_views if n_views is None else n_views,
    }


@cache
def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read_tuning(file: Path, key: Mapping[str, Any]) -> Tuning | None:
    try:
        entry = json.loads(file.read_text("utf-8"))
        return Tuning.from_dict(entry["tuning"]) if entry["of"] == key else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _measure(model: Model, n_views: int, threads: int, seconds: float) -> Tuning:
    rng = np.random.default_rng(0)
    inputs = [
        tuple(rng.integers(0, 256, (p.size, p.size, 3), np.uint8) for p in model.preprocesses)
        for _ in range(max(BATCHES))
    ]

    def seconds_per_image(batch: int) -> float:
        started = time.perf_counter()
        model.run(inputs[:batch], InferenceOptions(n_views))
        return (time.perf_counter() - started) / batch

    end = time.perf_counter() + seconds
    seconds_per_image(1)  # the first call sets up memory
    # Rounds over all sizes, so that other load on the machine affects them alike; the minimum is disturbed least.
    best = {1: seconds_per_image(1)}
    while True:
        for batch in BATCHES:
            if batch * min(best.values()) > end - time.perf_counter():
                fastest = min(best.values())
                chosen = min(size for size, least in best.items() if least <= (1 + _ALIKE) * fastest)
                return Tuning(chosen, threads, 1e3 * best[chosen], model.runtime)
            best[batch] = min(best.get(batch, math.inf), seconds_per_image(batch))
