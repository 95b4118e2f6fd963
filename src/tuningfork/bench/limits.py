"""What the machine could do: decoding alone and the network alone, on all cores, one process each."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ..bundle import Bundle, open_bundle
from ..images import load_picture
from ..model import Model
from .fresh import BenchError, end_group, own_group

__all__ = ["BATCHES", "Limits"]

#: Batches of the network that are tried.
BATCHES = (1, 2, 4, 8, 16, 32, 64)
#: Seconds that each of them gets in each of two rounds.
_TRIAL = 0.4
#: Distinct pictures whose bytes are held in memory, and decoded in turn.
_HELD = 256
#: Pictures decoded between two looks at the clock.
_PIECE = 16


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
    processes : int
    """

    def __init__(self, model: str, pictures: Sequence[Path], views: int, processes: int) -> None:
        self.batch = BATCHES[0]
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        try:
            for _ in range(processes):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_work, args=(theirs, model, pictures[:_HELD], views), daemon=True
                )  # fmt: skip
                self._processes.append(process)
                process.start()
                theirs.close()
                self._pipes.append(ours)
            self._answers()
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
            if process.pid is not None:
                end_group(process.pid)
                process.join()

    def decode(self, seconds: float) -> float:
        """Pictures a second from JPEG bytes to model input: decoded, cropped, resized and scaled."""
        return self._rate("decode", _PIECE, seconds)

    def network(self, seconds: float) -> float:
        """Pictures a second from ready input to logits, all views and networks of the model, in batches of `batch`."""
        return self._rate("network", self.batch, seconds)

    def choose_batch(self) -> dict[int, float]:
        """Try all `BATCHES` and keep the fastest; returns each one's pictures a second."""
        rounds = [{batch: self._rate("network", batch, _TRIAL) for batch in BATCHES} for _ in range(2)]
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
        failed = [answer for answer in answers if isinstance(answer, str)]
        if failed:
            raise BenchError(failed[0])
        return answers


def _work(pipe: Connection, model: str, pictures: Sequence[Path], views: int) -> None:
    own_group()
    try:
        bundle = open_bundle(model)
        jobs = {"decode": _decoding(bundle, pictures), "network": _predicting(bundle, pictures, views)}
        for job in jobs.values():
            job(1)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
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


def _decoding(bundle: Bundle, pictures: Sequence[Path]) -> Callable[[int], None]:
    # Without the alarm for strangers: that is no part of the way to the network.
    reading = replace(Model(bundle, threads=1).reading, domain=None)
    files = cycle([path.read_bytes() for path in pictures])

    def decode(count: int) -> None:
        reads = [reading.read(next(files)) for _ in range(count)]
        for kind, preprocess in enumerate(reading.preprocesses):
            preprocess.scaled(np.stack([read.inputs[kind] for read in reads if read.inputs]))

    return decode


def _predicting(bundle: Bundle, pictures: Sequence[Path], views: int) -> Callable[[int], None]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    picture = load_picture(pictures[0])
    ready = []
    for network in bundle.networks:
        session = onnxruntime.InferenceSession(network.onnx, options, providers=["CPUExecutionProvider"])
        ready.append((session, session.get_inputs()[0].name, network.preprocess(picture)))
    inputs: dict[int, list[Any]] = {}

    def predict(count: int) -> None:
        if count not in inputs:
            inputs.clear()
            inputs[count] = [np.repeat(one[None], count, 0) for *_, one in ready]
        for (session, name, _), batch in zip(ready, inputs[count], strict=True):
            for _ in range(views):
                session.run(None, {name: batch})

    return predict
