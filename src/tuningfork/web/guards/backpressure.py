"""Backpressure: a response is sent in small pieces, so that a client that does not read holds little memory."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PIECE", "Backpressure"]

#: Bytes of a body that are sent at a time; the server waits until the client has read those before.
PIECE = 2**16


class Backpressure:
    """Splits bodies of responses into pieces of at most `PIECE` bytes.

    A server buffers one message completely, however large, and waits for the client only before the next one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_in_pieces(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) <= PIECE:
                await send(message)
                return
            more = message.get("more_body", False)
            for start in range(0, len(body), PIECE):
                end = start + PIECE
                piece = {"body": bytes(body[start:end]), "more_body": more or end < len(body)}
                await send({"type": "http.response.body", **piece})

        await self.app(scope, receive, send_in_pieces)
