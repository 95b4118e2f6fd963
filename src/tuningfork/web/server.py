"""HTTP server (uvicorn) on a socket, with timeouts for slow clients, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEAD_SECONDS", "MAX_CONNECTIONS", "WRITE_SECONDS", "serve"]

#: A request's line and headers must arrive within this time, or the connection is closed.
HEAD_SECONDS = 10.0
#: A client must read on within this time (64 KiB are buffered), or the connection is aborted.
WRITE_SECONDS = 20.0
#: Open connections; beyond it, a new request is answered with 503.
MAX_CONNECTIONS = 1_000
#: How long requests that are processed may continue when the server is stopped.
GRACE_SECONDS = 5

logger = logging.getLogger(__name__)


class _TimeoutProtocol(H11Protocol):
    """HTTP/1.1 with a timeout for the head of a request, and a write timeout; uvicorn itself has neither."""

    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def, override]
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_write_timer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self._abort)

    def resume_writing(self) -> None:
        self._cancel_write_timer()
        super().resume_writing()

    def _expect_request(self) -> None:
        previous = self.cycle

        def close() -> None:
            if self.cycle is previous:
                self.transport.close()
                # Closing waits until the client has read what was sent.
                self.loop.call_later(WRITE_SECONDS, self.transport.abort)

        self.loop.call_later(HEAD_SECONDS, close)

    def _abort(self) -> None:
        logger.warning("a client read nothing for %g s: its connection is aborted", WRITE_SECONDS)
        # What waits in the buffer is dropped; `close` would keep it for ever.
        self.transport.abort()

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def serve(app: ASGIApp, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; requests that are processed are finished first, within `GRACE_SECONDS`.

    Parameters
    ----------
    port : int
        0: any free port.
    ready : callable
        Called with the address, such as ``http://127.0.0.1:8000/``, once requests are answered.

    Raises
    ------
    OSError
        If host and port are not available; the message names them.
    KeyboardInterrupt
        After Ctrl-C, when all requests have ended.
    """
    try:
        bound = _bind(host, port)
    except OSError as error:
        raise OSError(f"cannot listen at {host} port {port}: {error.strerror or error}; take another --port") from None
    config = uvicorn.Config(
        app,
        http=_TimeoutProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        # The client is who is connected; no header may claim another.
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{bound.getsockname()[1]}/"
    with bound:
        _Server(config, lambda: ready(address)).run([bound])


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        # A server that was stopped a moment ago leaves its port in a state that only this overcomes.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
