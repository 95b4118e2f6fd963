"""What pages and services share: guards, errors, static files, the server on a real socket."""

import asyncio
import os
import re
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")

from fastapi import FastAPI, Request
from served import served
from starlette.responses import PlainTextResponse

from tuningfork.web import server as server_module
from tuningfork.web.downloads import Downloads
from tuningfork.web.errors import install_errors
from tuningfork.web.guards.backpressure import PIECE, Backpressure
from tuningfork.web.guards.guard import guarded
from tuningfork.web.guards.headers import SECURITY_HEADERS
from tuningfork.web.limits import RequestLimits
from tuningfork.web.static import StaticFolder

SMALL = RequestLimits(
    body_bytes=1000, held_bytes=3000, idle_seconds=0.3, body_seconds=0.6, seconds=0.5, at_once=1, waiting=1
)


def app_of(limits=SMALL, **routes):
    app = FastAPI()
    install_errors(app)

    @app.post("/echo")
    async def echo(request: Request):
        return PlainTextResponse(await request.body())

    @app.get("/number/{value}")
    def number(value: int):
        return {"value": value}

    @app.get("/broken")
    def broken():
        raise ZeroDivisionError

    for name, route in routes.items():
        app.post(f"/{name}")(route)
    app.mount("/static", StaticFolder("tuningfork.display"))
    return guarded(app, limits, ["galaxies.example"])


def ask(app, *requests, base="http://127.0.0.1"):
    """Send requests (method, path, options) at once; gives the answers."""

    async def all_of():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await asyncio.gather(
                *(client.request(method, path, **options) for method, path, options in requests)
            )

    return asyncio.run(all_of())


def one(app, method, path, base="http://127.0.0.1", **options):
    return ask(app, (method, path, options), base=base)[0]


def pieces(*sizes, pause=0.0):
    async def stream():
        for size in sizes:
            await asyncio.sleep(pause)
            yield b"x" * size

    return stream()


def test_a_body_arrives_complete():
    answer = one(app_of(RequestLimits()), "POST", "/echo", content=bytes(range(256)) * 10_000)
    assert answer.content == bytes(range(256)) * 10_000


def test_bodies_up_to_the_limit():
    for size in (0, 1, 999, 1000):
        assert one(app_of(), "POST", "/echo", content=b"x" * size).text == "x" * size


def test_too_large_a_body_is_refused_announced_or_not():
    for content in (b"x" * 1001, pieces(*[100] * 50)):
        answer = one(app_of(), "POST", "/echo", content=content)
        assert answer.status_code == answer.json()["status"] == 413
        assert "MiB" in answer.json()["error"]


def test_json_is_kept_shorter_than_files():
    limits = RequestLimits(body_bytes=1000, json_bytes=100)
    for kind, status in (("application/json", 413), ("application/problem+json; a=b", 413), ("image/png", 200)):
        answer = one(app_of(limits), "POST", "/echo", content=b"x" * 101, headers={"content-type": kind})
        assert answer.status_code == status


def test_a_client_that_falls_silent_or_dribbles_is_refused():
    for sizes, pause in (((10, 10), 0.4), ((1,) * 20, 0.1)):
        answer = one(app_of(), "POST", "/echo", content=pieces(*sizes, pause=pause))
        assert answer.status_code == 408


def test_all_bodies_together_have_a_limit():
    answers = ask(app_of(), *[("POST", "/echo", {"content": pieces(450, 450, 0, pause=0.05)}) for _ in range(5)])
    told = sorted(answer.status_code for answer in answers)
    assert 503 in told
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert int(refused.headers["retry-after"]) > 0


def test_so_many_work_so_many_wait_the_rest_comes_again():
    at_work = []

    async def work():
        at_work.append(+1)
        await asyncio.sleep(0.1)
        at_work.append(-1)
        return {}

    answers = ask(app_of(work=work), *[("POST", "/work", {})] * 5)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503]
    assert at_work == [1, -1, 1, -1]


def test_reading_is_never_kept_waiting():
    async def work():
        await asyncio.sleep(0.2)
        return {}

    app = app_of(work=work)
    answers = ask(app, ("POST", "/work", {}), ("POST", "/work", {}), ("GET", "/number/3", {}))
    assert [answer.status_code for answer in answers] == [200, 200, 200]


def test_what_takes_too_long_is_ended_and_its_place_is_free_again():
    async def work():
        await asyncio.sleep(9)

    app = app_of(work=work)
    assert one(app, "POST", "/work").status_code == 504
    assert one(app, "POST", "/echo", content=b"a").text == "a"


def test_a_route_that_gives_up_is_our_mistake_not_the_clients():
    async def work():
        raise TimeoutError

    app = app_of(work=work)
    assert one(app, "POST", "/work").status_code == 500
    assert one(app, "POST", "/echo", content=b"a").text == "a"


def test_what_was_received_is_let_go():
    limits = RequestLimits(body_bytes=1000, held_bytes=1500, idle_seconds=0.2)
    app = app_of(limits)
    for _ in range(5):
        assert one(app, "POST", "/echo", content=b"x" * 900).status_code == 200
        assert one(app, "POST", "/echo", content=b"x" * 1001).status_code == 413
    assert one(app, "POST", "/echo", content=pieces(900, 0, pause=0.25)).status_code == 408
    assert one(app, "POST", "/echo", content=b"x" * 1000).status_code == 200


def test_every_answer_has_the_security_headers_and_errors_one_form():
    app = app_of()
    for path, status in (
        ("/number/4", 200),
        ("/number/x", 422),
        ("/nowhere", 404),
        ("/broken", 500),
        ("/static/nothing.css", 404),
    ):
        answer = one(app, "GET", path)
        assert answer.status_code == status
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["cache-control"] == "no-store"
        if status != 200:
            assert answer.json()["status"] == status
            assert answer.json()["error"]
    assert "ZeroDivision" not in one(app, "GET", "/broken").text


def test_only_our_own_names_are_answered():
    app = app_of()
    for host, status in (
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("galaxies.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[::1", 421),
    ):
        assert one(app, "GET", "/number/1", headers={"host": host}).status_code == status, host


def test_pages_of_others_cannot_send():
    app = app_of()
    for headers, status in (
        ({}, 200),
        ({"origin": "http://127.0.0.1"}, 200),
        ({"origin": "https://127.0.0.1"}, 200),
        ({"origin": "http://127.0.0.1:99"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ):
        assert one(app, "POST", "/echo", headers=headers).status_code == status, headers


def test_static_files_have_their_types_and_are_not_sent_twice():
    app = app_of()
    answer = one(app, "GET", "/static/base.css")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    again = one(app, "GET", "/static/base.css", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in ("/static/", "/static/../limits.py", "/static/%2e%2e/limits.py", "/static/base.css/../../limits.py"):
        assert one(app, "GET", path).status_code == 404


def test_the_style_loads_nothing():
    style = one(app_of(), "GET", "/static/base.css").text
    assert "url(" not in style
    assert "@import" not in style


def contrast(one, other):
    """Contrast of two colours such as #fff, after WCAG 2.2."""

    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(scheme):
    style = one(app_of(), "GET", "/static/base.css").text
    blocks = re.findall(r":root \{(.+?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})\b", blocks[scheme == "dark"]))
    for text, ground in (
        ("ink", "paper"),
        ("ink", "card"),
        ("soft", "paper"),
        ("soft", "card"),
        ("accent", "card"),
        ("accent", "paper"),
        ("accent", "faint"),
        ("on-accent", "accent"),
        ("warn", "warn-paper"),
        ("bad", "bad-paper"),
        ("bad", "card"),
        ("warn", "card"),
        ("good", "card"),
    ):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["bar"], colours["faint"]) >= 3


def test_a_request_with_two_lengths_is_refused():
    """Request smuggling: a proxy may believe the one, we the other."""
    headers = {"content-length": "3", "transfer-encoding": "chunked"}
    for method in ("GET", "POST"):
        answer = one(app_of(), method, "/echo", content=pieces(3), headers=headers)
        assert (answer.status_code, answer.headers["connection"]) == (400, "close")


def test_a_large_response_waits_for_its_reader():
    """Sent in pieces, of which the next one is made when the last was taken."""
    taken = []

    async def large(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * (3 * PIECE + 1), "more_body": True})
        await send({"type": "http.response.body", "body": b"y"})

    async def send(message):
        if message["type"] == "http.response.body":
            taken.append((len(message["body"]), message.get("more_body", False)))

    asyncio.run(Backpressure(large)({"type": "http"}, None, send))
    assert taken == [(PIECE, True), (PIECE, True), (PIECE, True), (1, True), (1, False)]


def downloading(limits, size, folders):
    """An app whose /download is a file of `size` bytes, of which the folder is noted."""
    app = FastAPI()
    install_errors(app)
    downloads = Downloads(limits)

    @app.get("/download")
    async def download():
        def write(path):
            folders.append(path.parent)
            path.touch()
            os.truncate(path, size)  # zeros, of which none is in this process's memory

        return await downloads.response(write, "table.csv", "text/csv")

    return guarded(app, limits)


def test_downloads_come_in_turns_and_leave_nothing():
    folders = []
    app = downloading(RequestLimits(downloads=2, waiting=3), 300_000, folders)
    answers = ask(app, *[("GET", "/download", {})] * 5)
    assert [answer.status_code for answer in answers] == [200] * 5
    assert {len(answer.content) for answer in answers} == {300_000}
    assert len({answer.headers["content-disposition"] for answer in answers}) == 1
    assert not any(folder.exists() for folder in folders)
    answers = ask(downloading(RequestLimits(downloads=1, waiting=1), 10, []), *[("GET", "/download", {})] * 5)
    assert {answer.status_code for answer in answers} == {200, 503}


@pytest.mark.skipif(not os.path.exists("/proc"), reason="no /proc to read memory from")
def test_readers_that_never_read_hold_no_memory_and_are_cut_off(monkeypatch):
    monkeypatch.setattr(server_module, "WRITE_SECONDS", 0.5)
    size, folders = 30_000_000, []

    def memory():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    with served(downloading(RequestLimits(downloads=4), size, folders)) as address:
        host, _, port = address.removeprefix("http://").strip("/").partition(":")
        # What the first download allocates for good is not what waiting readers hold.
        assert len(httpx.get(f"{address}download", timeout=20).content) == size
        folders.clear()
        before, lines = memory(), []
        for _ in range(8):
            lines.append(socket.create_connection((host, int(port)), timeout=20))
            lines[-1].sendall(b"GET /download HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until = time.monotonic() + 20
        while len(folders) < 8 and time.monotonic() < until:  # those that wait come when the first ones are cut off
            time.sleep(0.05)
            assert memory() - before < 2 * size / 2**20
        assert len(httpx.get(f"{address}download", timeout=20).content) == size
        for line in lines:
            with line, suppress(ConnectionResetError):
                told = 0
                while piece := line.recv(2**20):
                    told += len(piece)
                assert told < size
    assert not any(folder.exists() for folder in folders)


def test_a_slow_but_steady_reader_gets_all_of_it(monkeypatch):
    monkeypatch.setattr(server_module, "WRITE_SECONDS", 0.5)
    with served(downloading(RequestLimits(seconds=0.4), 400_000, [])) as address:
        host, _, port = address.removeprefix("http://").strip("/").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as line:
            line.sendall(b"GET /download HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            told = 0
            while piece := line.recv(40_000):
                told += len(piece)
                time.sleep(0.05)
        assert told > 400_000


def test_a_limit_must_be_above_zero():
    with pytest.raises(ValueError, match="waiting = 0"):
        RequestLimits(waiting=0)


@pytest.fixture
def address(monkeypatch):
    """The address of a server on a free port of loopback."""
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.3)
    with served(app_of()) as told:
        yield told


def test_the_server_answers_at_the_address_it_tells_and_hangs_up_on_the_silent(address):
    assert httpx.get(f"{address}number/7").json() == {"value": 7}
    host, _, port = address.removeprefix("http://").strip("/").partition(":")
    for words in (b"", b"GET / HTTP/1.1\r\nHost: local", b"GET /number/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(words)
            told = b""
            while piece := line.recv(1000):
                told += piece
        assert told.startswith(b"HTTP/1.1 200") == words.endswith(b"\r\n\r\n")


def test_too_large_a_body_is_told_on_a_socket_before_it_is_cut_off(address):
    answer = httpx.post(f"{address}echo", content=b"x" * 5_000_000)
    assert answer.status_code == 413


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="take another --port"):
        server_module.serve(app_of(), "127.0.0.1", taken.getsockname()[1], print)
