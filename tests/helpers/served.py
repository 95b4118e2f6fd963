"""An app on a free port of loopback, in a thread, for tests that need a real socket or a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from starlette.types import ASGIApp

from tuningfork.web import server


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve the app until the block ends; gives its address."""
    servers, told, ready = [], [], threading.Event()

    class Noted(server._Server):
        def __init__(self, *given):
            super().__init__(*given)
            servers.append(self)

    def work():
        try:
            server.serve(app, "127.0.0.1", 0, lambda address: (told.append(address), ready.set()))
        finally:
            ready.set()

    with mock.patch.object(server, "_Server", Noted):
        thread = threading.Thread(target=work)
        thread.start()
        try:
            assert ready.wait(30)
            assert told, "the server did not start"
            yield told[0]
        finally:
            if servers:
                servers[0].should_exit = True
            thread.join(30)
    assert not thread.is_alive()
