"""Load and hostile uploads against `tuningfork serve` on loopback: times, errors, memory, and what each upload gave.

    python benchmarks/load.py [--clients 200] [--requests 5] [--model default]

Server and clients share this machine's cores, so times are upper bounds, and noise of other work is in them.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from tuningfork.simulation import draw, render

MIB = 2**20
PICTURES = 16
#: Of the server, so that a slow client need not be waited for long.
UPLOAD_SECONDS = 6


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=5, help="of each client, one after the other")
    parser.add_argument("--model", default="default")
    parser.add_argument("--at-once", default="8", help="requests that the server works for")
    given = parser.parse_args()
    pictures = [_jpeg(render(draw(23, index))) for index in range(PICTURES)]
    with server("--model", given.model, "--upload-seconds", str(UPLOAD_SECONDS), "--at-once", given.at_once) as (
        address,
        pid,
    ):
        at_rest = _peak_memory(pid)
        asyncio.run(load(address, pictures, given.clients, given.requests))
        print(f"server's memory: {at_rest:.0f} MiB at rest, at most {_peak_memory(pid):.0f} MiB under this load\n")
        asyncio.run(hostile(address, pid, pictures[0]))


@contextmanager
def server(*options: str):
    """A server process on a free port; gives address and process id."""
    command = [sys.executable, "-m", "tuningfork", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process.stdout.readline().split()[0], process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


async def load(address: str, pictures: list[bytes], clients: int, requests: int) -> None:
    """`clients` at once, each with `requests` pictures one after the other."""
    times: list[float] = []
    outcomes: Counter[str] = Counter()
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:

        async def one(number: int) -> None:
            for turn in range(requests):
                files = {"files": ("galaxy.jpg", pictures[(number + turn) % len(pictures)])}
                begun = time.perf_counter()
                try:
                    answer = await client.post("api/predict", files=files)
                    outcome = "200" if answer.status_code == 200 and not answer.json()["failed"] else "other"
                except httpx.HTTPError as error:
                    outcome = type(error).__name__
                times.append(time.perf_counter() - begun)
                outcomes[outcome] += 1

        await client.post("api/predict", files={"files": ("first.jpg", pictures[0])})
        begun = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(clients)))
        took = time.perf_counter() - begun
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    errors = outcomes.total() - outcomes["200"]
    print(f"{clients} clients at once, {requests} pictures each, in {took:.1f} s: {len(times) / took:.0f} pictures/s")
    print(f"p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s, largest {max(times):.2f} s; {errors} errors")


async def hostile(address: str, pid: int, picture: bytes) -> None:
    """Each hostile upload, and what it gave."""
    print(f"{'upload':58} {'gave':66} {'seconds':>7} {'MiB':>6}")
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:

        def post(name: str, content: bytes) -> Callable:
            return lambda: client.post("api/predict", files={"files": (name, content)})

        def stream(size: int, **headers: str) -> Callable:
            return lambda: client.post("api/predict", content=_zeros(size), headers=headers)

        around = _around(picture, bytes(40 * MIB))
        many = [("files", (f"{number}.jpg", picture[:100])) for number in range(10_000)]
        cases: list[tuple[str, Callable]] = [
            ("1 GiB, length not told", stream(1024 * MIB)),
            ("1 GiB, length told", stream(1024 * MIB, **{"content-length": str(1024 * MIB)})),
            ("40 MiB between good ones", lambda: client.post("api/predict", files=around)),
            ("10,000 files in one form", lambda: client.post("api/predict", files=many)),
            ("SVG named .jpg", post("a.jpg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")),
            ("HTML named .jpg", post("a.jpg", b"<!doctype html><script>alert(1)</script>")),
            ("name ../../../etc/passwd", post("../../../etc/passwd", picture)),
            ("PNG of 60,000 × 60,000 px in 1 kB", post("bomb.png", _bomb())),
            ("JPEG cut in half", post("half.jpg", picture[: len(picture) // 2])),
            ("empty file", post("empty.jpg", b"")),
            ("form without end", lambda: client.post("api/predict", content=b"--x\r\n", headers=_form("x"))),
            ("a byte a second", lambda: client.post("api/predict", content=_dribble(), headers=_form("x"))),
            ("another site's page", lambda: client.post("api/predict", headers={"origin": "https://evil.example"})),
            ("another name of this machine (DNS rebinding)", lambda: client.get("", headers={"host": "evil.example"})),
        ]
        for name, ask in cases:
            begun = time.perf_counter()
            try:
                gave = _in_words(await ask())
            except httpx.HTTPError as error:
                gave = f"connection cut: {type(error).__name__}"
            print(f"{name:58} {gave[:66]:66} {time.perf_counter() - begun:7.2f} {_peak_memory(pid):6.0f}", flush=True)

        await _crowd(address, client, picture, pid)
        for name, words in (
            ("no HTTP", b"\x16\x03\x01 hello\r\n\r\n"),
            ("headers of 1 MiB", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * MIB + b"\r\n\r\n"),
        ):
            begun = time.perf_counter()
            gave = await asyncio.to_thread(_raw, address, words)
            print(f"{name:58} {gave[:66]:66} {time.perf_counter() - begun:7.2f} {_peak_memory(pid):6.0f}", flush=True)
        health = await client.get("health")
        print(f"{'afterwards, /health':58} {health.status_code}")


async def _crowd(address: str, client: httpx.AsyncClient, picture: bytes, pid: int) -> None:
    """Two hundred uploads that never end, and one client that means well."""
    host, port = _place(address)
    head = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc"
    lines = [await asyncio.open_connection(host, port) for _ in range(200)]
    for _, writer in lines:
        writer.write(head)
        await writer.drain()
    begun = time.perf_counter()
    answer = await client.post("api/predict", files={"files": ("good.jpg", picture)})
    took = time.perf_counter() - begun
    name = "a good picture beside 200 uploads that never end"
    print(f"{name:58} {_in_words(answer)[:66]:66} {took:7.2f} {_peak_memory(pid):6.0f}", flush=True)
    told = Counter([(await reader.readline()).split()[1].decode() for reader, _ in lines])
    took = time.perf_counter() - begun
    gave = ", ".join(f"{count} × {status}" for status, count in told.items())
    print(f"{'… those 200':58} {gave:66} {took:7.2f} {_peak_memory(pid):6.0f}", flush=True)
    for _, writer in lines:
        writer.close()


def _in_words(answer: httpx.Response) -> str:
    if answer.headers.get("content-type") != "application/json":
        return f"{answer.status_code}"
    told = answer.json()
    if "error" in told:
        return f"{answer.status_code}: {told['error']}"
    rows = [f"{row['name']}: {row['error'] or row['class_name']}" for row in told["rows"]]
    return f"{answer.status_code}, {'; '.join(rows)}"


def _raw(address: str, words: bytes) -> str:
    with socket.create_connection(_place(address), timeout=30) as line:
        try:
            line.sendall(words)
            return line.recv(100).split(b"\r\n")[0].decode() or "connection closed"
        except OSError as error:
            return f"connection cut: {error.strerror}"


def _place(address: str) -> tuple[str, int]:
    url = httpx.URL(address)
    return url.host, url.port or 80


def _around(picture: bytes, large: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", named) for named in (("a.jpg", picture), ("large.fits", large), ("b.jpg", picture))]


def _form(boundary: str) -> dict[str, str]:
    return {"content-type": f"multipart/form-data; boundary={boundary}"}


async def _zeros(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // MIB):
        yield bytes(MIB)


async def _dribble() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b"-"
        await asyncio.sleep(1)


def _jpeg(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _bomb() -> bytes:
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(MIB))),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _peak_memory(pid: int) -> float:
    """MiB that the process held at most, so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    words = status.split()
    return next(int(kilobytes) for key, kilobytes in pairwise(words) if key == "VmHWM:") / 1024


if __name__ == "__main__":
    main()
