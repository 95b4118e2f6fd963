"""A request's body, whole or not at all: too much, too slow and too many are refused before the app sees them."""

from __future__ import annotations

import asyncio
from tempfile import SpooledTemporaryFile

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import answer_error
from .limits import MIB, RequestLimits
from .origin import SAFE_METHODS

__all__ = ["WholeBody"]

#: Smaller bodies stay in memory.
IN_MEMORY = MIB
#: A client that is cut off while it sends sees a broken connection, not our answer; so it is heard out this long.
LINGER_SECONDS = 2.0
RETRY_SECONDS = 5
_PIECE = 2**16


class _Refusal(Exception):
    """Why a body is not taken: status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Gone(Exception):
    """The client went away."""


class WholeBody:
    """Receives a body within the limits, then lets the app read it; slow clients so hold no place at work."""

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self.app = app
        self.limits = limits
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
            return
        received, most = 0, self._most(scope)
        with SpooledTemporaryFile(IN_MEMORY) as body:
            try:
                self._announced(scope, most)
                async with asyncio.timeout(self.limits.body_seconds):
                    while True:
                        message = await self._next(receive)
                        piece = message.get("body", b"")
                        received += len(piece)
                        self.held += len(piece)
                        self._check(received, most)
                        body.write(piece)
                        if not message.get("more_body", False):
                            break
                body.seek(0)
                await self.app(scope, _replay(body, receive), send)
            except TimeoutError:
                reason = f"the whole request did not come within {self.limits.body_seconds:g} s"
                await answer_error(send, 408, reason)
            except _Refusal as refusal:
                if refusal.status != 408:
                    await _hear_out(receive)
                headers = {"retry-after": str(RETRY_SECONDS)} if refusal.status == 503 else {}
                await answer_error(send, refusal.status, refusal.reason, headers)
            except _Gone:
                pass
            finally:
                self.held -= received

    def _most(self, scope: Scope) -> int:
        is_json = "json" in Headers(scope=scope).get("content-type", "")
        return min(self.limits.json_bytes, self.limits.body_bytes) if is_json else self.limits.body_bytes

    def _announced(self, scope: Scope, most: int) -> None:
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal():
            self._check(int(length), most, self.held)

    def _check(self, received: int, most: int, others: int = 0) -> None:
        if received > most:
            raise _Refusal(413, f"more than {most / MIB:g} MiB in one request; send fewer or smaller ones")
        if max(self.held, others + received) > self.limits.held_bytes:
            raise _Refusal(503, "too much is being sent at once; try again in a moment")

    async def _next(self, receive: Receive) -> Message:
        try:
            async with asyncio.timeout(self.limits.idle_seconds):
                message = await receive()
        except TimeoutError:
            raise _Refusal(408, f"nothing came for {self.limits.idle_seconds:g} s") from None
        if message["type"] == "http.disconnect":
            raise _Gone
        return message


async def _hear_out(receive: Receive) -> None:
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass
    except TimeoutError:
        pass


def _replay(body: SpooledTemporaryFile[bytes], receive: Receive) -> Receive:
    ended = False

    async def again() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        piece = body.read(_PIECE)
        ended = len(piece) < _PIECE
        return {"type": "http.request", "body": piece, "more_body": not ended}

    return again
