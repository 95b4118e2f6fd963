"""What the machine could do: decoding alone and the network alone, on all cores, one process each."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from ..images.read import read_image
from ..model.model import OUTPUT, Model, load
from ..model.runtime import open_network
from .fresh import BenchError, begin, end, own_group

__all__ = ["BATCHES", "Limits"]

#: Batches of the network that are tried.
BATCHES = (1, 2, 4, 8, 16, 32, 64)
#: Distinct pictures whose bytes are held in memory, and decoded in turn.
_HELD = 256
#: Pictures decoded between two looks at the clock.
_PIECE = 16


@dataclass(frozen=True)
class _Failure:
    reason: str


class Limits:
    """One process a core, each with the pictures' bytes and one network of one thread, warmed; use with ``with``.

    Parameters
    ----------
    model : str
        A shipped model's name, or a bundle's folder.
    pictures : paths
        At most the first 256 are used.
    views : int
        Passes of the network for each picture.
    precision : "f32" or "bf16"
    processes : int
    """

    def __init__(self, model: str, pictures: Sequence[Path], views: int, precision: str, processes: int) -> None:
        self.batch = BATCHES[0]
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        try:
            for _ in range(processes):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_work, args=(theirs, model, pictures[:_HELD], views, precision), daemon=True
                )  # fmt: skip
                self._processes.append(process)
                begin(process)
                theirs.close()
                self._pipes.append(ours)
            #: What the networks run on, as `Model.runtime` says.
            self.runtime: str = self._answers()[0]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Limits:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            end(process)

    def decode(self, seconds: float) -> float:
        """Pictures a second from JPEG bytes to model input: decoded, cropped, resized and scaled."""
        return self._rate("decode", _PIECE, seconds)

    def network(self, seconds: float) -> float:
        """Pictures a second from ready input to logits, all views and networks of the model, in batches of `batch`."""
        return self._rate("network", self.batch, seconds)

    def choose_batch(self, seconds: float) -> dict[int, float]:
        """Try all `BATCHES`, each twice for so long, and keep the fastest; returns each one's pictures a second."""
        rounds = [{batch: self._rate("network", batch, seconds) for batch in BATCHES} for _ in range(2)]
        # Another program slows one round down; nothing makes one faster than it is.
        rates = {batch: max(one[batch] for one in rounds) for batch in BATCHES}
        self.batch = max(rates, key=rates.__getitem__)
        return rates

    def _rate(self, what: str, batch: int, seconds: float) -> float:
        for pipe in self._pipes:
            pipe.send((what, batch, seconds))
        # Each counts its own time: none waits for the slowest.
        return sum(count / taken for count, taken in self._answers())

    def _answers(self) -> list[Any]:
        try:
            answers = [pipe.recv() for pipe in self._pipes]
        except EOFError:
            raise BenchError("a process that measures was ended from outside; is there enough memory?") from None
        failed = [answer for answer in answers if isinstance(answer, _Failure)]
        if failed:
            raise BenchError(failed[0].reason)
        return answers


def _work(pipe: Connection, model: str, pictures: Sequence[Path], views: int, precision: str) -> None:
    own_group()
    try:
        opened = load(model, threads=1, precision=precision)
        jobs = {"decode": _decoding(opened, pictures), "network": _predicting(opened, pictures, views)}
        for job in jobs.values():
            job(1)
    except Exception as error:
        pipe.send(_Failure(f"{type(error).__name__}: {error}"))
        return
    pipe.send(opened.runtime)
    while True:
        try:
            what, batch, seconds = pipe.recv()
        except EOFError:  # whoever asked has ended
            return
        job = jobs[what]
        job(batch)
        done, started, taken = 0, time.perf_counter(), 0.0
        while taken < seconds:
            job(batch)
            done += batch
            taken = time.perf_counter() - started
        pipe.send((done, taken))


def _decoding(model: Model, pictures: Sequence[Path]) -> Callable[[int], None]:
    # Without the alarm for strangers: that is no part of the way to the network.
    reading = replace(model.reading, domain=None)
    files = cycle([path.read_bytes() for path in pictures])

    def decode(count: int) -> None:
        reads = [reading.read(next(files)) for _ in range(count)]
        for kind, preprocess in enumerate(reading.preprocesses):
            preprocess.scaled(np.stack([read.inputs[kind] for read in reads if read.inputs]))

    return decode


def _predicting(model: Model, pictures: Sequence[Path], views: int) -> Callable[[int], None]:
    picture = read_image(pictures[0]).rgb
    networks = model.bundle.networks
    ready = [(open_network(each.onnx, **model.running), each.preprocess(picture)) for each in networks]
    inputs: dict[int, list[Any]] = {}

    def predict(count: int) -> None:
        if count not in inputs:
            inputs.clear()
            inputs[count] = [np.repeat(one[None], count, 0) for _, one in ready]
        for (network, _), batch in zip(ready, inputs[count], strict=True):
            for _ in range(views):
                network.run([OUTPUT], batch)

    return predict
