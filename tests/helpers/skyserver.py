"""Survey services on loopback: a synthetic sky of simulated galaxies, drawn as the real services do, with faults."""

from __future__ import annotations

import io
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import skytiles
from numpy.typing import NDArray
from PIL import Image

from tuningfork.simulation.galaxy import draw
from tuningfork.simulation.render import render

#: Arcseconds a side of a simulated galaxy's picture on this sky, whose petroR90 is therefore 5 arcsec.
FRAME, RADIUS = 42.4, 5.0
PIXELS = 424
#: Where the survey ends: south of it pictures are blank.
SOUTHERN_END = -30.0
#: Colour of the sky between the galaxies.
SKY = 8


@dataclass
class Source:
    """A galaxy on the sky: its number in the simulation and where it is, degrees."""

    number: int
    ra: float
    dec: float


@cache
def picture(number: int) -> NDArray[np.uint8]:
    """A simulated galaxy, (424, 424, 3), north up and east left, with a red spot in the north and a blue one east."""
    image = render(draw(11, number)).copy()
    image[20:36, 204:220] = (250, 30, 30)
    image[204:220, 20:36] = (30, 30, 250)
    return image


def drawn(sources: list[Source], ra: float, dec: float, size: float, pixels: int) -> NDArray[np.uint8]:
    """What the sky looks like in a square of `size` arcsec around a place: gnomonic, north up, east left."""
    scale = math.radians(size / pixels / 3600)
    step = (np.arange(pixels) + 0.5 - pixels / 2) * scale
    x, y = np.meshgrid(-step, -step)  # east is left, north is up
    ra0, dec0 = math.radians(ra), math.radians(dec)
    rho = np.hypot(x, y)
    c = np.arctan(rho)
    sinc = np.where(rho > 0, np.sin(c) / np.where(rho > 0, rho, 1), 1)
    decs = np.arcsin(np.cos(c) * math.sin(dec0) + y * sinc * math.cos(dec0))
    ras = ra0 + np.arctan2(x * sinc, math.cos(dec0) * np.cos(c) - y * sinc * math.sin(dec0))
    return seen(sources, ras, decs)


def seen(sources: list[Source], ras: NDArray[np.float64], decs: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The sky's colours at places (H, W), radians → (H, W, 3)."""
    out = np.full((*ras.shape, 3), SKY, np.uint8)
    rng = np.random.default_rng(7)
    out += rng.integers(0, 6, out.shape, dtype=np.uint8)
    for source in sources:
        east = (ras - math.radians(source.ra) + math.pi) % (2 * math.pi) - math.pi
        east = np.degrees(east) * 3600 * math.cos(math.radians(source.dec))
        north = (np.degrees(decs) - source.dec) * 3600
        column = np.floor(PIXELS / 2 - east / FRAME * PIXELS).astype(int)
        row = np.floor(PIXELS / 2 - north / FRAME * PIXELS).astype(int)
        inside = (column >= 0) & (column < PIXELS) & (row >= 0) & (row < PIXELS)
        out[inside] = picture(source.number)[row[inside], column[inside]]
    return out


@dataclass
class Fault:
    """What goes wrong at a place, for so many requests."""

    kind: str
    times: int = 10**9


@dataclass
class SkyServer:
    """The server's address, its sky, its faults by right ascension (rounded to 4 digits), and what was asked."""

    address: str
    sources: list[Source]
    faults: dict[float, Fault] = field(default_factory=dict)
    asked: list[tuple[float, str]] = field(default_factory=list)
    asked_of: Counter[float] = field(default_factory=Counter)
    agents: set[str] = field(default_factory=set)
    #: Called before each answer; a test may hold answers back here.
    before: Callable[[], None] = lambda: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def viewer(self) -> str:
        return f"{self.address}/viewer"

    @property
    def hips2fits(self) -> str:
        return f"{self.address}/hips2fits"

    @property
    def template(self) -> str:
        return self.address + "/own?ra={ra}&dec={dec}&pixels={pixels}&fov={size}"

    def fault_at(self, ra: float) -> str:
        with self.lock:
            self.asked_of[ra] += 1
            fault = self.faults.get(ra)
            if fault is None or fault.times < 1:
                return ""
            fault.times -= 1
            return fault.kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    @property
    def sky(self) -> SkyServer:
        return self.server.sky  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer()

    def _answer(self) -> None:
        sky, parts = self.sky, urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with sky.lock:
            sky.asked.append((time.monotonic(), self.path))
            sky.agents.add(self.headers["User-Agent"])
        sky.before()
        if parts.path == "/circle":
            return self._redirect(self.path)
        if parts.path.startswith("/vo/"):
            told = skytiles.answer(sky.address, sky.sources, parts.path.removeprefix("/vo/"), parts.query)
            return self._send(*told)
        try:
            place = self._place(parts.path, asked)
        except KeyError as missing:
            return self._send(400, f"Need {missing}".encode(), "text/plain")
        if place is None:
            return self._send(404, b"<html><title>Not Found</title></html>", "text/html")
        ra, dec, size, pixels, kind = place
        fault = sky.fault_at(round(ra, 4))
        if fault:
            return self._fail(fault, ra, dec, size, pixels)
        if kind == "no such layer":
            return self._send(200, b"no such layer", "text/html; charset=utf-8")
        if kind == "no such hips":
            told = b'{"title": "Bad request", "description": "no HiPS matches nothing/here"}'
            return self._send(400, told, "application/json")
        self._send(200, _encoded(self._sky_at(ra, dec, size, pixels), kind), f"image/{kind}")

    def _place(self, path: str, asked: dict[str, str]) -> tuple[float, float, float, int, str] | None:
        if path not in ("/viewer/jpeg-cutout", "/hips2fits", "/own") and not path.endswith("/ImgCutout/getjpeg"):
            return None
        ra, dec = float(asked["ra"]), float(asked["dec"])
        if path == "/viewer/jpeg-cutout":
            pixels = min(int(asked["size"]), 3000)
            kind = "jpeg" if asked["layer"].startswith("ls-dr") else "no such layer"
            return ra, dec, pixels * float(asked["pixscale"]), pixels, kind
        if path == "/hips2fits":
            kind = "jpeg" if asked["hips"].startswith("CDS/P/") else "no such hips"
            return ra, dec, 3600 * float(asked["fov"]), int(asked["width"]), kind
        if path == "/own":
            return ra, dec, float(asked["fov"]), int(asked["pixels"]), "png"
        pixels = int(np.clip(int(asked["width"]), 64, 2048))
        return ra, dec, pixels * float(asked["scale"]), pixels, "jpeg"

    def _sky_at(self, ra: float, dec: float, size: float, pixels: int) -> NDArray[np.uint8]:
        if dec < SOUTHERN_END:
            return np.zeros((pixels, pixels, 3), np.uint8)
        return drawn(self.sky.sources, ra, dec, size, pixels)

    def _fail(self, fault: str, ra: float, dec: float, size: float, pixels: int) -> None:
        good = _encoded(self._sky_at(ra, dec, size, pixels), "jpeg")
        if fault == "429":
            self._send(429, b"slow down", "text/plain", {"Retry-After": "1"})
        elif fault == "429 for an hour":
            self._send(429, b"slow down", "text/plain", {"Retry-After": "3600"})
        elif fault == "503 until a date":
            self._send(503, b"", "text/plain", {"Retry-After": formatdate(time.time() + 3600, usegmt=True)})
        elif fault in ("500", "503"):
            self._send(int(fault), b"<html><title>Busy</title></html>", "text/html")
        elif fault in ("400", "403", "404"):
            self._send(int(fault), b"<html><title>No</title></html>", "text/html")
        elif fault == "page":
            self._send(200, b"<!DOCTYPE html><title>Down for maintenance</title>", "text/html")
        elif fault == "cut":
            self._send(200, good[: len(good) // 2], "image/jpeg", {"Content-Length": str(len(good))}, close=True)
        elif fault == "cut picture":
            self._send(200, good[: len(good) // 2], "image/jpeg")
        elif fault == "empty":
            self._send(200, b"", "image/jpeg")
        elif fault == "not a picture":
            self._send(200, b"\0\1\2\3" * 100, "application/octet-stream")
        elif fault == "blank":
            self._send(200, _encoded(np.full((pixels, pixels, 3), 32, np.uint8), "jpeg"), "image/jpeg")
        elif fault == "other size":
            self._send(200, _encoded(self._sky_at(ra, dec, size, 100), "jpeg"), "image/jpeg")
        elif fault == "oversize":
            self._send(200, b"", "image/jpeg", {"Content-Length": str(10**12)}, close=True)
        elif fault == "oversize untold":
            self._endless(b"\xff\xd8\xff" + bytes(2**16))
        elif fault == "redirects":
            self._redirect("/circle")
        elif fault == "closed":
            self.close_connection = True
        elif fault == "stall":
            self._stall(good)
        elif fault == "trickle":
            self._trickle(good)
        else:
            raise AssertionError(fault)

    def _send(
        self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None, close: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or close

    def _redirect(self, to: str) -> None:
        self._send(302, b"", "text/plain", {"Location": to})

    def _endless(self, chunk: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.end_headers()
        self.close_connection = True
        while not self.server.ends.is_set():  # type: ignore[attr-defined]
            self.wfile.write(chunk)

    def _stall(self, good: bytes) -> None:
        self._send(200, good[:100], "image/jpeg", {"Content-Length": str(len(good))}, close=True)
        self.wfile.flush()
        self.server.ends.wait(60)  # type: ignore[attr-defined]

    def _trickle(self, good: bytes) -> None:
        self._send(200, good[:100], "image/jpeg", {"Content-Length": str(len(good))}, close=True)
        for at in range(100, len(good)):
            if self.server.ends.wait(0.02):  # type: ignore[attr-defined]
                return
            self.wfile.write(good[at : at + 1])


def _encoded(image: NDArray[np.uint8], kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind.upper(), **({"quality": 95} if kind == "jpeg" else {}))
    return file.getvalue()


@contextmanager
def sky_server(sources: list[Source]) -> Iterator[SkyServer]:
    """A running server, on a port that was free."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.ends = threading.Event()  # type: ignore[attr-defined]
    server.sky = SkyServer(f"http://127.0.0.1:{server.server_port}", sources)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.sky  # type: ignore[attr-defined]
    finally:
        server.ends.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join()
