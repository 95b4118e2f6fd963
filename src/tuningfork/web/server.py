"""An app as a server on a socket, until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEAD_SECONDS", "MAX_CONNECTIONS", "serve"]

#: A request's line and headers must be there by then, or the connection is closed.
HEAD_SECONDS = 10.0
#: Open connections; beyond it, a new request is answered with 503.
MAX_CONNECTIONS = 1_000
#: What is at work when the server is stopped may go on so long.
GRACE_SECONDS = 10


class _ImpatientProtocol(H11Protocol):
    """HTTP/1.1 for clients that say what they want; uvicorn itself waits for ever."""

    def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def, override]
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_request()

    def _expect_request(self) -> None:
        last = self.cycle

        def give_up() -> None:
            if self.cycle is last:
                self.transport.close()

        self.loop.call_later(HEAD_SECONDS, give_up)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def serve(app: ASGIApp, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or a signal to end; what is at work is finished first.

    Parameters
    ----------
    port : int
        0: any that is free.
    ready : callable
        Called with the address, such as ``http://127.0.0.1:8000/``, once requests are answered.

    Raises
    ------
    OSError
        If host and port cannot be had; the message names them.
    KeyboardInterrupt
        After Ctrl-C, when all is at rest.
    """
    try:
        bound = _bound(host, port)
    except OSError as error:
        raise OSError(f"cannot listen at {host} port {port}: {error.strerror or error}; take another --port") from None
    config = uvicorn.Config(
        app,
        http=_ImpatientProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        # Who speaks to us is who is connected; no header may claim another.
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{bound.getsockname()[1]}/"
    with bound:
        _Server(config, lambda: ready(address)).run([bound])


def _bound(host: str, port: int) -> socket.socket:
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
