"""The service as a process: many clients, floods, clients that go away, Ctrl-C."""

import asyncio
import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from skyserver import FRAME, SOUTHERN_END, Source, picture, sky_server

from tuningfork.simulation import draw, render

MIB = 2**20
CLIENTS = 200


@contextmanager
def server(*options):
    """`tuningfork serve` on a free port; gives address and process. It must end well at Ctrl-C."""
    command = [sys.executable, "-m", "tuningfork", "serve", "--port", "0", "--model", "fast", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[0], process
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
            assert process.returncode == 130
            assert said == "interrupted; give the same command to go on\n"
        finally:
            process.kill()


def jpeg(number):
    stream = io.BytesIO()
    Image.fromarray(render(draw(23, number))).save(stream, "JPEG")
    return stream.getvalue()


def peak_memory(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


async def zeros(size):
    for _ in range(size // MIB):
        yield bytes(MIB)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_it_tells_its_address_answers_and_ends_at_ctrl_c():
    with server() as (address, process):
        assert httpx.get(f"{address}health").json()["status"] == "ok"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            command = [sys.executable, "-m", "tuningfork", "serve", "--model", "fast", "--port", port]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 1
            assert done.stderr.startswith(f"error: cannot listen at 127.0.0.1 port {port}")
        assert process.poll() is None


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc"), reason="no /proc to find children in")
def test_sigterm_ends_it_within_seconds_although_a_decoder_hangs_and_a_client_does_not_read():
    """The decoder is stopped (SIGSTOP), which stands for one that hangs; it must not outlive the server."""

    def children(pid):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
            int(each)
            for task in Path(f"/proc/{pid}/task").iterdir()
            if task.name != str(pid)
            for each in (task / "children").read_text().split()
        ]

    command = [sys.executable, "-m", "tuningfork", "serve", "--port", "0", "--model", "fast", "--decode-seconds", "120"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().split()[0]
            host, _, port = address.removeprefix("http://").strip("/").partition(":")
            assert httpx.post(f"{address}api/predict", content=jpeg(0), timeout=60).status_code == 200
            (decoder,) = children(process.pid)
            os.kill(decoder, signal.SIGSTOP)
            body = jpeg(1)
            head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            with (
                socket.create_connection((host, int(port))) as hanging,
                socket.create_connection((host, int(port))) as deaf,
            ):
                hanging.sendall(head + body)
                deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
                time.sleep(1)
                begun = time.monotonic()
                process.terminate()
                process.communicate(timeout=30)
                assert time.monotonic() - begun < 15
            with pytest.raises(ProcessLookupError):
                os.kill(decoder, 0)
        finally:
            process.kill()


@pytest.mark.slow
def test_the_command_line_names_a_sky_and_an_index(tmp_path):
    pytest.importorskip("astropy")
    pytest.importorskip("faiss")
    for number in range(4):
        Image.fromarray(picture(number)).save(tmp_path / f"known {number}.png")
    make = ["index", *map(str, tmp_path.glob("*.png")), "-o", str(tmp_path / "known.index"), "--model", "fast"]
    subprocess.run([sys.executable, "-m", "tuningfork", *make], check=True, capture_output=True)
    with (
        sky_server([Source(2, 150.0, 2.0)]) as sky,
        server("--source", sky.template + "&token=hush", "--index", str(tmp_path / "known.index")) as (address, _),
    ):
        about = httpx.get(f"{address}api/about").json()
        assert about["sky"].startswith("http://")
        assert "hush" not in about["sky"]
        assert about["similar"]
        places = {"text": f"here 150 2\nthere 150 {SOUTHERN_END - 10}", "size": FRAME}
        answer = httpx.post(f"{address}api/predict/positions?images=true", json=places, timeout=60)
        assert "hush" not in answer.text
        here, there = answer.json()["rows"]
        assert there["error"]
        assert here["error"] == ""
        content = base64.b64decode(here["image"].partition(",")[2])
        shown = np.asarray(Image.open(io.BytesIO(content)))
        assert np.corrcoef(shown.ravel(), picture(2).ravel())[0, 1] > 0.99
        near = httpx.post(f"{address}api/similar", content=content, timeout=60).json()["neighbours"]
        assert near[0]["id"] == "known 2"


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc"), reason="no /proc to read memory from")
def test_two_hundred_clients_a_flood_and_clients_that_go_away():
    pictures = [jpeg(number) for number in range(4)]

    async def conversation(address, process):
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=address, timeout=100, limits=limits) as client:

            async def one(number):
                return await client.post("api/predict", files={"files": (f"{number}.jpg", pictures[number % 4])})

            answers = await asyncio.gather(*(one(number) for number in range(CLIENTS)))
            assert {answer.status_code for answer in answers} == {200}
            assert [answer.json()["rows"][0]["name"] for answer in answers] == [f"{n}.jpg" for n in range(CLIENTS)]
            before = peak_memory(process)
            for _ in range(5):
                # A server that answers before all is sent may be gone before its answer is read.
                with suppress(httpx.TransportError):
                    flood = await client.post("api/predict", content=zeros(300 * MIB))
                    break
            assert flood.status_code == 413
            large = await client.post("api/predict", files={"files": ("large.jpg", bytes(100 * MIB))})
            assert "at most 32 MiB" in large.json()["rows"][0]["error"]
            assert peak_memory(process) - before < 64
            gone = [asyncio.create_task(one(number)) for number in range(50)]
            await client.get("health")
            for task in gone:
                task.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
        async with httpx.AsyncClient(base_url=address, timeout=100) as client:
            assert (await client.post("api/predict", content=pictures[0])).json()["failed"] == 0
            async with asyncio.timeout(60):
                while "tuningfork_images_waiting 0.0\n" not in (await client.get("metrics")).text:
                    await asyncio.sleep(0.05)
            assert json.loads((await client.get("health")).text)["status"] == "ok"

    with server() as (address, process):
        asyncio.run(conversation(address, process))
