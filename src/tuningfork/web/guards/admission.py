"""Turns: so many requests at work, so many waiting, and no more; and a limit on the time of each."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import answer_error
from ..limits import RequestLimits
from .origin import SAFE_METHODS

__all__ = ["Admission"]

RETRY_SECONDS = 5

_log = logging.getLogger(__name__)


class Admission:
    """Lets requests that send something to the app in turns; reading is never kept waiting."""

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self.app = app
        self.limits = limits
        self.waiting = 0
        self._places = asyncio.Semaphore(limits.at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self.limits.seconds) as clock:
                if scope["method"] in SAFE_METHODS:
                    await self.app(scope, receive, watched)
                else:
                    await self._in_turn(scope, receive, watched)
        except TimeoutError:
            if not clock.expired():
                raise
            _log.warning("%s %s took longer than %g s", scope["method"], scope["path"], self.limits.seconds)
            if not begun:
                reason = f"no answer within {self.limits.seconds:g} s; try again later, or send less"
                await answer_error(send, 504, reason, {"retry-after": str(RETRY_SECONDS)})

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._places.locked() and self.waiting >= self.limits.waiting:
            reason = f"{self.waiting} requests wait already; try again in a moment"
            await answer_error(send, 503, reason, {"retry-after": str(RETRY_SECONDS)})
            return
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._places.release()
