"""Dynamic batching: images of concurrent requests go through the network together, in one thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ...model.image_reader import LoadedImage
from ...model.model import Model
from ...model.options import InferenceOptions
from ...model.predictions import Predictions, concatenated

__all__ = ["DynamicBatcher"]

#: How long the first image waits for others to join its batch, seconds.
GATHER_SECONDS = 0.004

_Request = tuple[list[LoadedImage], "asyncio.Future[Predictions]"]


class DynamicBatcher:
    """A model for concurrent requests; an async context manager, within a running event loop.

    Parameters
    ----------
    batch_size : int
        Maximum number of images that the network gets at a time. A larger request is split, so that others are
        served in between.
    """

    def __init__(self, model: Model, batch_size: int = 32) -> None:
        self.model = model
        self.batch_size = batch_size
        #: Number of images that wait, or are in the network.
        self.waiting = 0
        self._queue: asyncio.Queue[_Request] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "network")

    async def __aenter__(self) -> DynamicBatcher:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def predict(self, images: list[LoadedImage]) -> Predictions:
        """Predict images, in their order; those that could not be read keep their errors."""
        parts = []
        for first in range(0, len(images), self.batch_size):
            part = images[first : first + self.batch_size]
            future = asyncio.get_running_loop().create_future()
            self.waiting += len(part)
            try:
                self._queue.put_nowait((part, future))
                parts.append(await future)
            finally:
                self.waiting -= len(part)
        return concatenated(self.model.tree, parts)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        deferred: _Request | None = None
        while True:
            requests, deferred = [deferred or await self._queue.get()], None
            await asyncio.sleep(GATHER_SECONDS)
            count = len(requests[0][0])
            while not self._queue.empty():
                request = self._queue.get_nowait()
                count += len(request[0])
                if count > self.batch_size:
                    deferred = request
                    break
                requests.append(request)
            # Requests whose client disconnected, or that timed out, are skipped.
            requests = [request for request in requests if not request[1].done()]
            images = [image for request in requests for image in request[0]]
            run = partial(self.model.predict_loaded, images, InferenceOptions(batch_size=self.batch_size))
            try:
                predictions = await loop.run_in_executor(self._thread, run)
            except Exception as error:
                for _, future in requests:
                    if not future.done():
                        future.set_exception(error)
                continue
            first = 0
            for part, future in requests:
                if not future.done():
                    future.set_result(predictions.select(slice(first, first + len(part))))
                first += len(part)
