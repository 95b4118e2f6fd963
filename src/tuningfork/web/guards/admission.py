"""Admission control: a limit of concurrent requests, a bounded queue, and a timeout for each of them."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import send_error
from ..limits import RequestLimits
from .origin import SAFE_METHODS

__all__ = ["AdmissionControl"]

RETRY_SECONDS = 5

logger = logging.getLogger(__name__)


class AdmissionControl:
    """Lets requests that send something to the app in turns, until they are answered; reading never waits."""

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self.app = app
        self.limits = limits
        self.waiting = 0
        self._slots = asyncio.Semaphore(limits.at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_safe, started = scope["method"] in SAFE_METHODS, False

        async def watched_send(message: Message) -> None:
            nonlocal started
            if is_safe and not started:
                # From here on the server's write timeout ends it, and at last this.
                timeout.reschedule(asyncio.get_running_loop().time() + self.limits.download_seconds)
            started = True
            await send(message)

        try:
            async with asyncio.timeout(self.limits.seconds) as timeout:
                if is_safe:
                    await self.app(scope, receive, watched_send)
                else:
                    await self._in_turn(scope, receive, watched_send)
        except TimeoutError:
            if not timeout.expired():
                raise
            logger.warning("%s %r took too long and was ended", scope["method"], scope["path"])
            if not started:
                reason = f"no response within {self.limits.seconds:g} s; try again later, or send less"
                await send_error(send, 504, reason, {"retry-after": str(RETRY_SECONDS)})

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._slots.locked() and self.waiting >= self.limits.waiting:
            reason = f"{self.waiting} requests are waiting already; try again in a moment"
            await send_error(send, 503, reason, {"retry-after": str(RETRY_SECONDS)})
            return
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._slots.release()
