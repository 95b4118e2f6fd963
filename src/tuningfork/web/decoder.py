"""Decode strangers' images in child processes, each with a timeout and a memory limit.

A decoder may be made to work for minutes or to allocate gigabytes by a small file. In a process of its own it can be
ended, which a thread cannot.
"""

from __future__ import annotations

import asyncio
import logging
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .._utils.processes import Job, Worker, WorkerCrash, WorkerError, WorkerTimeout
from ..images.image import ImageError
from .limits import MIB

__all__ = ["DECODE_SECONDS", "MEMORY_BYTES", "PROCESSES", "DecodeError", "ImageDecoder"]

PROCESSES = 2
#: For one image.
DECODE_SECONDS = 15.0
#: Of one process.
MEMORY_BYTES = 3072 * MIB

logger = logging.getLogger(__name__)


class DecodeError(ImageError):
    """An image whose decoder was ended, or ended by itself."""


class ImageDecoder:
    """Runs a job that reads images in `PROCESSES` child processes, which start when they are first needed."""

    def __init__(self, job: Job, *, seconds: float = DECODE_SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self._seconds = seconds
        self._workers = [Worker(job, memory_bytes) for _ in range(PROCESSES)]
        # The worker that was used last is used first: a quiet service runs one process.
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(PROCESSES, "decoding")

    async def run(self, task: Any) -> Any:
        """The job's answer to a task.

        Raises
        ------
        DecodeError
            If it takes too long, too much memory, or its process ends.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, task)

    def close(self) -> None:
        """End the processes now, whatever they do."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def _run(self, task: Any) -> Any:
        worker = self._idle.get()
        try:
            return worker.run(task, timeout=self._seconds)
        except WorkerTimeout:
            raise DecodeError(f"cannot be decoded within {self._seconds:g} s") from None
        except WorkerCrash as error:
            raise DecodeError(f"cannot be decoded: the decoder ended with {error.exit_code}") from None
        except WorkerError as error:
            logger.error("a decoder failed: %s", error)
            raise DecodeError(f"cannot be decoded: {error}") from None
        finally:
            self._idle.put(worker)
