"""Pictures of many requests through the network together: one thread runs it, and whoever comes soon joins."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ...model.image_reader import Read
from ...model.model import Model
from ...model.options import InferenceOptions
from ...model.predictions import Predictions, concatenated

__all__ = ["Batcher"]

#: How long the first picture waits for others to join, seconds.
GATHER_SECONDS = 0.004

_Job = tuple[list[Read], "asyncio.Future[Predictions]"]


class Batcher:
    """A model for many requests at once; use it as a context, within a running event loop.

    Parameters
    ----------
    batch : int
        Pictures that the network gets at a time, at most. A larger request takes its turns among others.
    """

    def __init__(self, model: Model, batch: int = 32) -> None:
        self.model = model
        self.batch = batch
        #: Pictures that wait.
        self.waiting = 0
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "network")

    async def __aenter__(self) -> Batcher:
        self._work = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def predict(self, reads: list[Read]) -> Predictions:
        """Predictions of pictures that were read, or not; in their order."""
        parts = []
        for first in range(0, len(reads), self.batch):
            part = reads[first : first + self.batch]
            future = asyncio.get_running_loop().create_future()
            self.waiting += len(part)
            try:
                self._jobs.put_nowait((part, future))
                parts.append(await future)
            finally:
                self.waiting -= len(part)
        return concatenated(self.model.tree, parts)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        later: _Job | None = None
        while True:
            jobs, later = [later or await self._jobs.get()], None
            await asyncio.sleep(GATHER_SECONDS)
            count = len(jobs[0][0])
            while not self._jobs.empty():
                job = self._jobs.get_nowait()
                count += len(job[0])
                if count > self.batch:
                    later = job
                    break
                jobs.append(job)
            # Whose client went away, or whose time is up, is not worked for.
            jobs = [job for job in jobs if not job[1].done()]
            reads = [read for job in jobs for read in job[0]]
            try:
                told = await loop.run_in_executor(
                    self._thread, partial(self.model.predict_loaded, reads, InferenceOptions(batch_size=self.batch))
                )
            except Exception as error:
                for _, future in jobs:
                    if not future.done():
                        future.set_exception(error)
                continue
            first = 0
            for part, future in jobs:
                if not future.done():
                    future.set_result(told.select(slice(first, first + len(part))))
                first += len(part)
