"""Downloads: temporary files that are streamed, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from .limits import RequestLimits

__all__ = ["Downloads"]

RETRY_SECONDS = 5


class Downloads:
    """Lets requests write and send files, `RequestLimits.downloads` at a time; the others wait for their turn."""

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.downloads)
        self._waiting = 0

    async def response(self, write: Callable[[Path], None], name: str, media_type: str) -> Response:
        """A response that streams the file `name` that `write` writes, and deletes it afterwards.

        Raises
        ------
        HTTPException
            503 if too many wait already.
        Exception
            Whatever `write` raises.
        """
        if self._waiting >= self._limits.waiting:
            raise HTTPException(503, "too many downloads at once; try again", {"retry-after": str(RETRY_SECONDS)})
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        folder = Path(tempfile.mkdtemp(prefix="tuningfork-"))

        def finish() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            self._turns.release()

        try:
            await run_in_threadpool(write, folder / name)
        except BaseException:
            finish()
            raise
        return _TemporaryFile(folder / name, media_type, finish)


class _TemporaryFile(FileResponse):
    def __init__(self, path: Path, media_type: str, finish: Callable[[], None]) -> None:
        super().__init__(path, media_type=media_type, filename=path.name)
        self._finish = finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # However it ends, the client's going away and a timeout included.
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._finish()
