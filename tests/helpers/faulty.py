"""A proxy before an HTTP server on loopback that stalls, refuses, cuts and hangs up, at rates that a seed decides."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["FAULTS", "FaultyProxy"]

#: stall: headers, then nothing. 503: busy. cut: the connection ends in mid-body. half: half of the body, as if it were
#: whole. reset: the connection is torn down at once.
FAULTS = ("stall", "503", "cut", "half", "reset")
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"}


class FaultyProxy:
    """Hands requests on to 127.0.0.1:`target_port`; a context manager.

    Whether a request fails depends on the seed, what is asked for and how often it was asked for before, not on
    when it comes: runs with any number of threads meet the same faults.

    Parameters
    ----------
    rates : fault → share of requests, at most 1 in all
    always : part of a path → fault that every request for it meets
    most : int
        So many faults in a row for one request at the most; `always` has no such limit.
    """

    def __init__(
        self,
        target_port: int,
        seed: int = 0,
        rates: Mapping[str, float] | None = None,
        always: Mapping[str, str] | None = None,
        most: int = 3,
    ) -> None:
        self.target_port, self.seed, self.most = target_port, seed, most
        self.rates, self.always = dict(rates or {}), dict(always or {})
        #: How often each fault was met; "" counts requests that went well.
        self.met: Counter[str] = Counter()
        #: Requests that are on their way now, and the most that ever were.
        self.now = self.peak = 0
        self._asked: Counter[str] = Counter()
        self._row: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault(self, asked: str) -> str:
        """The fault that this request meets, or ""."""
        with self._lock:
            found = next((fault for part, fault in self.always.items() if part in asked), "")
            if not found and self._row[asked] < self.most:
                chance = random.Random(f"{self.seed} {asked} {self._asked[asked]}").random()
                for name, rate in self.rates.items():
                    if chance < rate:
                        found = name
                        break
                    chance -= rate
            self._asked[asked] += 1
            self._row[asked] = self._row[asked] + 1 if found else 0
            self.met[found] += 1
            return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        # Clients that are gone are what this is for.
        with suppress(OSError):
            super().handle()

    def _hand_on(self) -> None:
        owner = self.owner
        with owner._lock:
            owner.now += 1
            owner.peak = max(owner.peak, owner.now)
        try:
            self._answer()
        finally:
            with owner._lock:
                owner.now -= 1

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reads = self.command in ("GET", "HEAD")
        fault = self.owner.fault(f"{self.command} {self.path} {self.headers.get('Range', '')}") if reads else ""
        if fault == "reset":
            # Lingering for no time at all sends RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if fault == "503":
            self._send(503, {"Content-Type": "text/plain"}, b"busy", 4)
            return
        server = http.client.HTTPConnection("127.0.0.1", self.owner.target_port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            server.request(self.command, self.path, sent, headers)
            answer = server.getresponse()
            body = answer.read()
        finally:
            server.close()
        told = {name: value for name, value in answer.getheaders() if name.lower() not in {*HOP, "content-length"}}
        size = len(body) if self.command == "GET" else int(answer.headers.get("Content-Length") or 0)
        if fault == "half" and self.command == "GET":
            body = body[: len(body) // 2]
            size = len(body)
        cut = fault in ("cut", "stall")
        self._send(answer.status, told, body[: len(body) // 2] if cut else body, size)
        if cut:
            if fault == "stall":
                self.wfile.flush()
                self.owner._ended.wait(30)
            self.close_connection = True

    def _send(self, status: int, headers: dict[str, str], body: bytes, size: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _hand_on
