"""Limits of a request's body: what is too large, too slow or ambiguous is refused before the app sees it."""

from __future__ import annotations

import asyncio
import os
from tempfile import SpooledTemporaryFile

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import send_error
from ..limits import MIB, RequestLimits
from .origin import SAFE_METHODS

__all__ = ["BodyLimits"]

#: Smaller bodies stay in memory.
IN_MEMORY = MIB
#: A client that is cut off while it sends sees a broken connection, not our answer; so it may send on for this long.
LINGER_SECONDS = 2.0
RETRY_SECONDS = 5
_PIECE = 2**16


class _Refusal(Exception):
    """Why a body is refused: status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _ClientDisconnected(Exception):
    """The client closed the connection."""


class BodyLimits:
    """Receives the complete body within the limits, then lets the app read it; slow clients so hold no slot."""

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self.app = app
        self.limits = limits
        self.bytes_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and {"content-length", "transfer-encoding"} <= set(Headers(scope=scope)):
            # Request smuggling: a proxy may take the one, we the other (RFC 9112, section 6.1).
            await send_error(send, 400, "Content-Length together with Transfer-Encoding; send one of them")
            return
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
            return
        with SpooledTemporaryFile(IN_MEMORY) as body:
            try:
                if await self._receive_all(body, scope, receive, send):
                    body.seek(0)
                    await self.app(scope, _replay(body, receive), send)
            finally:
                self.bytes_held -= body.seek(0, os.SEEK_END)

    async def _receive_all(self, body: SpooledTemporaryFile[bytes], scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether the body is complete; if it is not, the client gets the reason, unless it disconnected."""
        try:
            await self._fill(body, scope, receive)
        except _ClientDisconnected:
            return False
        except _Refusal as refusal:
            # A client that is too slow would not send the rest faster.
            if refusal.status != 408:
                await _linger(receive)
            headers = {"retry-after": str(RETRY_SECONDS)} if refusal.status == 503 else {}
            await send_error(send, refusal.status, refusal.reason, headers)
            return False
        return True

    async def _fill(self, body: SpooledTemporaryFile[bytes], scope: Scope, receive: Receive) -> None:
        headers, limits = Headers(scope=scope), self.limits
        most = limits.body_bytes
        if "json" in headers.get("content-type", ""):
            most = min(most, limits.json_bytes)
        announced = headers.get("content-length", "0")
        if announced.isdecimal():
            self._check(int(announced), most, self.bytes_held + int(announced))
        loop = asyncio.get_running_loop()
        end, received, more = loop.time() + limits.body_seconds, 0, True
        while more:
            left = end - loop.time()
            try:
                message = await asyncio.wait_for(receive(), min(limits.idle_seconds, left))
            except TimeoutError:
                reason = f"nothing came for {limits.idle_seconds:g} s"
                if left <= limits.idle_seconds:
                    reason = f"the request was not complete within {limits.body_seconds:g} s"
                raise _Refusal(408, reason) from None
            if message["type"] == "http.disconnect":
                raise _ClientDisconnected
            piece, more = message.get("body", b""), message.get("more_body", False)
            body.write(piece)
            received += len(piece)
            self.bytes_held += len(piece)
            self._check(received, most, self.bytes_held)

    def _check(self, received: int, most: int, bytes_held: int) -> None:
        if received > most:
            raise _Refusal(413, f"more than {most / MIB:g} MiB in one request; send fewer or smaller ones")
        if bytes_held > self.limits.held_bytes:
            raise _Refusal(503, "too much is being sent at once; try again in a moment")


async def _linger(receive: Receive) -> None:
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
