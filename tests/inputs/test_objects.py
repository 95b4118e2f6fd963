"""Stores: what is read there is what was put there, whatever fails on the way; what stays bad is named."""

import http.server
import io
import json
import logging
import os
import random
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from faulty import FaultyProxy
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tuningfork._utils import urls
from tuningfork.images import image
from tuningfork.images.image import ImageError
from tuningfork.inputs import Digest, InputError, ItemReader, find_items, stores, write_listing
from tuningfork.inputs import objects as remote
from tuningfork.inputs import store_errors as retrying
from tuningfork.model.model import load
from tuningfork.pipeline.options import ExecutionOptions
from tuningfork.pipeline.predict import predict_files
from tuningfork.simulation import draw, render

pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Every test has its own connections and does not wait long."""
    monkeypatch.setattr(stores, "_open_stores", {})
    monkeypatch.setattr(retrying, "PAUSE", 0.01)
    monkeypatch.setenv(retrying.TIMEOUT_VARIABLE, "10")


def read(items, threads=remote.REMOTE_THREADS):
    """What each item gives, read by many threads: bytes, or the reason why not."""

    def get(call):
        try:
            return call()
        except ImageError as error:
            return str(error)

    with ItemReader() as opening, ThreadPoolExecutor(threads) as pool:
        return list(pool.map(get, [opening.prepare(item) for item in items]))


def differing(got, expected):
    """Where two lists differ; pytest would compare thousands of random bytes letter by letter."""
    assert len(got) == len(expected)
    return [number for number, (one, other) in enumerate(zip(got, expected, strict=True)) if one != other]


def put(files):
    """Files in fsspec's memory."""
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for name, data in files.items():
        memory.pipe(f"/{name}", data)


def packed(pictures, kind):
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in pictures.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, data in pictures.items():
                stat = tarfile.TarInfo(name)
                stat.size = len(data)
                archive.addfile(stat, io.BytesIO(data))
    return out.getvalue()


def table(columns, kind):
    out = io.BytesIO()
    if kind == "csv":
        pa.csv.write_csv(pa.table(columns), out)
    else:
        pq.write_table(pa.table(columns), out, row_group_size=10)
    return out.getvalue()


PICTURES = {f"{number:03d}.jpg": random.Random(number).randbytes(1000 + number) for number in range(60)}


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("s3://b/a?b#c.jpg", "s3://b/a?b#c.jpg"),
        ("https://h/a.jpg?ra=1&dec=2", "https://h/a.jpg?ra=1&dec=2"),
        ("https://h/a.jpg?X-Amz-Credential=me&X-Amz-Signature=xyzzy&X-Amz-Date=1", "https://h/a.jpg"),
        ("https://h/a.jpg?ra=1&AWSAccessKeyId=me&Signature=xyzzy&Expires=1", "https://h/a.jpg?ra=1"),
        ("https://h/a.jpg?sv=2024&se=2026&sr=b&sp=r&sig=xyzzy", "https://h/a.jpg"),
        ("https://h/a.jpg?id=3&access_token=xyzzy#part", "https://h/a.jpg?id=3"),
        ("https://me:xyzzy@h/a.jpg", "https://h/a.jpg"),
        ("s3://me:xyzzy@b/a.jpg", "s3://b/a.jpg"),
        ("https://h/?X-Goog-Signature=xyzzy", "https://h/"),
        ("plain/a.jpg?token=1", "plain/a.jpg?token=1"),
    ],
)
def test_what_lets_others_in_is_not_shown(address, shown):
    assert urls.public_url(address) == shown
    assert urls.public_url(shown) == shown


@given(st.text() | st.builds("{}://{}".format, st.sampled_from(["s3", "https", "http", "x"]), st.text()))
def test_any_text_can_stand_for_an_address(text):
    urls.public_url(text), urls.split_url(text), urls.name_of(text), urls.join_url(text, text)
    if urls.is_url(text):
        try:
            stores.check_url(text)
        except InputError:
            return
        assert urls.split_url(text)[0] in stores.schemes()


@pytest.mark.parametrize(
    "address", ["ftp://h/a.jpg", "file://x", "s3://", "s3:///a", "https://me:xyzzy@h/a.jpg", "s3://a\nb/c"]
)
def test_addresses_that_are_not_read_are_reported_without_secrets(address):
    with pytest.raises(InputError) as told:
        list(find_items([address]))
    assert "xyzzy" not in str(told.value)


def test_an_address_signed_anew_is_the_same_input_and_its_listing_is_private(tmp_path, monkeypatch):
    def digest(signature):
        item = remote.object_item(f"https://h/a.jpg?X-Amz-Date={signature}&X-Amz-Signature={signature}")
        digest = Digest()
        assert "Amz" not in item.path
        list(digest.count([item]))
        return item, digest.hexdigest()

    (one, first), (_, second) = digest("1"), digest("2")
    assert first == second
    old = os.umask(0o022)
    try:
        write_listing([one], tmp_path / "secret.parquet")
        write_listing([remote.object_item("https://h/a.jpg")], tmp_path / "open.parquet")
    finally:
        os.umask(old)
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "secret.parquet").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "open.parquet").stat().st_mode) == 0o644


# ---------------------------------------------------------------- every kind of input, in memory


@pytest.mark.parametrize("kind", ["folder", "tar", "zip", "parquet of bytes", "parquet", "csv"])
def test_every_kind_of_input_is_read_from_a_store(kind, monkeypatch):
    monkeypatch.setattr(remote.RemoteObject, "block", 3000)
    names, cells = list(PICTURES), list(PICTURES.values())
    files = {f"set/cutouts/{name}": data for name, data in PICTURES.items()}
    files |= {
        "set/t.tar": packed(PICTURES, "tar"),
        "set/t.zip": packed(PICTURES, "zip"),
        "set/bytes.parquet": table({"id": names, "bytes": cells}, "parquet"),
        "set/t.parquet": table({"id": names, "path": [f"cutouts/{name}" for name in names]}, "parquet"),
        "set/t.csv": table({"path": [f"memory://set/cutouts/{name}" for name in names]}, "csv"),
        "set/cutouts/.hidden.jpg": b"",
        "set/cutouts/readme.txt": b"",
    }
    put(files)
    named = {"folder": "cutouts/", "tar": "t.tar", "zip": "t.zip", "parquet of bytes": "bytes.parquet"}
    found = list(find_items([f"memory://set/{named.get(kind, f't.{kind}')}"]))
    assert not differing(read(found), cells)
    stems = [name.partition(".")[0] for name in names]
    assert [item.id.partition(".")[0] for item in found] == stems


@pytest.mark.parametrize("kind", ["t.csv", "t.tar", "t.zip", "t.parquet"])
def test_what_is_far_away_is_read_in_blocks(kind, monkeypatch):
    many = {f"{number:05d}.jpg": b"x" * 300 for number in range(2000)}
    made = {"csv": partial(table, {"path": list(many)}), "parquet": partial(table, {"path": list(many)})}
    data = made.get(kind[2:], partial(packed, many))(kind[2:])
    put({"set/" + kind: data})
    asked = []
    real = remote.RemoteObject._read
    monkeypatch.setattr(remote.RemoteObject, "_read", lambda *args: asked.append(args) or real(*args))
    monkeypatch.setattr(remote.RemoteObject, "block", 100_000)
    assert len(list(find_items([f"memory://set/{kind}"]))) == 2000
    assert len(asked) <= 5 + len(data) / 100_000 + (200 if kind == "t.parquet" else 0)


def test_a_catalogue_in_a_store_opens_no_file_of_this_machine(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"secret")
    paths = [str(tmp_path / "a.jpg"), f"file://{tmp_path}/a.jpg", "../../../../../../etc/passwd", "b.jpg"]
    put({"set/t.csv": table({"path": paths}, "csv"), "set/b.jpg": b"b"})
    absolute, by_file, above, good = read(find_items(["memory://set/t.csv"]))
    assert "names files beside it" in absolute
    assert "file://" in by_file
    assert "not there" in above
    assert good == b"b"


def test_objects_that_change_or_go_are_row_errors():
    put({"set/a.jpg": b"a", "set/b.jpg": b"b", "set/t.tar": packed({"c.jpg": b"c"}, "tar")})
    found = list(find_items(["memory://set/", "memory://set/t.tar"]))
    assert read(found) == [b"a", b"b", b"c"]
    put({"set/a.jpg": b"a", "set/t.tar": packed({"c.jpg": b"d"}, "tar")})
    changed = "changed since it was listed; predict it again"
    assert read(found) == [changed, "cannot be read: HTTP 404 (not there)", changed]


def test_what_is_not_there_is_reported(monkeypatch):
    put({"set/t.tar": b"", "other/x.txt": b""})
    with pytest.raises(FileNotFoundError, match="memory://none/: no such object"):
        list(find_items(["memory://none/"]))
    with pytest.raises(FileNotFoundError, match="no such object"):
        list(find_items(["memory://set/a.jpg"]))
    with pytest.raises(InputError, match=r"holds no image, but t\.tar"):
        list(find_items(["memory://set/"]))
    with pytest.raises(InputError, match="only Parquet and CSV"):
        list(find_items(["memory://set/t.vot"]))
    with pytest.raises(InputError, match="unpack it"):
        list(find_items(["memory://set/t.tar.gz"]))
    assert not list(find_items(["memory://other/"]))
    monkeypatch.setenv(retrying.TIMEOUT_VARIABLE, "soon")
    with pytest.raises(ImageError, match="a number of seconds is expected"):
        retrying.timeout()


@pytest.mark.parametrize(
    ("limit", "value", "folders", "error"),
    [
        ("MAX_DEPTH", 20, 1, "more than 20 levels"),  # a folder that links to itself
        ("MAX_FOLDERS", 50, 30, "more than 50 folders"),  # and one that links to ever more
        ("MAX_SECONDS_WITHOUT_FILES", -1.0, 1, "no file in"),  # and one that never comes to a file
    ],
)
def test_a_listing_that_never_ends_is_ended(monkeypatch, limit, value, folders, error):
    class Endless:
        def page(self, folder, token):
            return [], [f"{folder}{number}/" for number in range(folders)], ""

    monkeypatch.setattr(remote, "store_of", lambda _: Endless())
    monkeypatch.setattr(remote, limit, value)
    with pytest.raises(InputError, match=error):
        list(find_items(["https://evil.example/images/"]))


def test_without_the_extra_its_name_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match=r"pip install '\.\[remote\]'"):
        list(find_items(["s3://bucket/"]))
    (tmp_path / "t.csv").write_text("path\nb.jpg\ns3://bucket/a.jpg\n")
    with pytest.raises(InputError, match=r"t\.csv, row 2: s3:// needs .*\.\[remote\]"):
        list(find_items([tmp_path / "t.csv"]))


# ---------------------------------------------------------------- tries


def test_a_failure_that_passes_is_tried_again_and_all_of_them_are_reported(monkeypatch):
    waits = []
    monkeypatch.setattr(retrying, "PAUSE", 1.0)
    monkeypatch.setattr("tuningfork._utils.retry.time.sleep", waits.append)
    ends = [ConnectionResetError(104, "Connection reset by peer"), retrying.HttpStatus(503), b"good"]

    def attempt():
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    assert retrying.with_retries(attempt) == b"good"
    assert len(waits) == 2
    ends[:] = [retrying.HttpStatus(503), TimeoutError()] * 3
    with pytest.raises(
        ImageError, match=r"after 6 tries: HTTP 503 \(the store is busy\) \(3 times\), no complete answer"
    ):
        retrying.with_retries(attempt)
    assert all(2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits[2:]))
    for end in (retrying.HttpStatus(403), FileNotFoundError("x"), PermissionError("x"), ValueError("https://x?sig=1")):
        ends[:] = [end]
        with pytest.raises(ImageError, match="cannot be read: ") as told:
            retrying.with_retries(attempt)
        assert "sig=" not in str(told.value)


# ---------------------------------------------------------------- web servers


class Web(http.server.BaseHTTPRequestHandler):
    """A web server with pages of links, which serves parts of files if asked to."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict] = {}
    ranges = True

    def handle(self):
        with suppress(OSError):
            super().handle()

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = unquote(self.path.partition("?")[0])
        if path.endswith("/"):
            inside = sorted({path_[len(path) :].partition("/") for path_ in self.files if path_.startswith(path)})
            links = "".join(f'<a href="{quote(name)}{slash}">x</a>\n' for name, slash, _ in inside)
            return self.answer(200, f'<a href="../">up</a><a href="?C=N">sort</a>{links}'.encode())
        if path not in self.files:
            return self.answer(404, b"no")
        data = self.files[path]
        asked = self.headers.get("Range")
        if asked and self.ranges:
            first, _, last = asked[6:].partition("-")
            if int(first) >= len(data):
                return self.answer(416, b"")
            part = data[int(first) : int(last) + 1]
            return self.answer(206, part, f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        return self.answer(200, data)

    def answer(self, status, data, part=""):
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(data)))
        if part:
            self.send_header("Content-Range", part)
        self.send_header("ETag", f'"{self.files.get("etag", "1")}"')
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def web():
    """A web server's files, its class and its port."""
    kind = type("Kind", (Web,), {"files": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield kind, server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def test_web_servers_are_read(web):
    pytest.importorskip("aiohttp")
    kind, port = web
    kind.files |= {f"/set/deep {len(name)}/{name}": data for name, data in PICTURES.items()}
    kind.files |= {
        "/t.tar": packed(PICTURES, "tar"),
        "/empty.jpg": b"",
        "/t.csv": b"path\nset/deep 7/001.jpg\nno.jpg\n",
    }
    kind.files["/b.parquet"] = table({"bytes": list(PICTURES.values())}, "parquet")
    base = f"http://127.0.0.1:{port}"
    assert not differing(sorted(read(find_items([f"{base}/set/"]))), sorted(PICTURES.values()))
    (one,) = find_items([f"{base}/set/deep 7/001.jpg?X-Amz-Signature=xyzzy"])
    assert (one.id, one.path, one.size) == ("001", f"{base}/set/deep 7/001.jpg", 1001)
    assert read([one]) == [PICTURES["001.jpg"]]
    for name in ("t.tar", "b.parquet"):
        found = list(find_items([f"{base}/{name}"]))
        assert not differing(read(found), list(PICTURES.values()))
    assert read(find_items([f"{base}/t.csv"])) == [PICTURES["001.jpg"], "cannot be read: HTTP 404 (not there)"]
    assert read(find_items([f"{base}/empty.jpg"])) == [b""]
    kind.files["etag"] = "2"
    assert read([one, found[0]]) == ["changed since it was listed; predict it again"] * 2
    kind.ranges = False
    with pytest.raises(InputError, match="gives no parts of files"):
        list(find_items([f"{base}/b.parquet"]))


def test_what_is_too_large_is_not_taken(web, monkeypatch):
    pytest.importorskip("aiohttp")
    kind, port = web
    kind.files |= {"/large.jpg": bytes(2000), "/t.csv": b"path\nlarge.jpg\n"}
    for module in (stores.https, stores.store):
        monkeypatch.setattr(module, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr(image, "MAX_FILE_BYTES", 1000)
    (known,) = read(find_items([f"http://127.0.0.1:{port}/large.jpg"]))
    (unknown,) = read(find_items([f"http://127.0.0.1:{port}/t.csv"]))
    assert known == "file of 2000 bytes; at most 1000 are read"
    assert unknown == "file of more than 1000 bytes; at most these are read"


# ---------------------------------------------------------------- Google's store, as its own protocol


@pytest.mark.slow
def test_google_storage_is_read_page_by_page(web, monkeypatch):
    gcsfs = pytest.importorskip("gcsfs")
    kind, port = web
    objects = {f"set/{name}": data for name, data in PICTURES.items()}

    def do_GET(self):
        where = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(where.query).items()}
        bucket, _, name = where.path.rpartition("/b/")[2].partition("/o")
        name = unquote(name[1:])
        stat = {"name": name, "size": str(len(objects.get(name, b""))), "generation": "7"}
        if bucket != "bucket" or (name and name not in objects) or asked.get("generation", "7") != "7":
            return self.answer(404, b"{}")
        if asked.get("alt") == "media":
            data = objects[name]
            if told := self.headers.get("Range"):
                first, last = map(int, told[6:].split("-"))
                data = data[first : last + 1]
            return self.answer(206 if told else 200, data)
        if name:
            return self.answer(200, json.dumps(stat).encode())
        names = sorted(key for key in objects if key.startswith(asked.get("prefix", "")))
        start = int(asked.get("pageToken", 0))
        stop = start + min(7, int(asked["maxResults"]))
        items = [{"name": n, "size": str(len(objects[n])), "generation": "7"} for n in names[start:stop]]
        more = {"nextPageToken": str(stop)} if stop < len(names) else {}
        return self.answer(200, json.dumps({"items": items, **more}).encode())

    kind.do_GET = do_GET
    options = {"token": "anon", "endpoint_url": f"http://127.0.0.1:{port}"}
    monkeypatch.setitem(__import__("fsspec").config.conf, "gs", options)
    logging.getLogger(gcsfs.__name__).setLevel(logging.CRITICAL)
    objects["set/t.tar"] = packed(PICTURES, "tar")
    found = list(find_items(["gs://bucket/set"]))
    assert not differing(read(found), list(PICTURES.values()))
    (one,) = find_items(["gcs://bucket/set/001.jpg"])
    assert read([one, remote.object_item("gs://bucket/set/002.jpg")]) == [PICTURES["001.jpg"], PICTURES["002.jpg"]]
    assert not differing(read(find_items(["gs://bucket/set/t.tar"])), list(PICTURES.values()))
    assert "not there" in read([remote.object_item("gs://bucket/none.jpg")])[0]


# ---------------------------------------------------------------- S3, and what fails before it


@pytest.fixture(scope="module")
def s3():
    """The port of an S3-compatible server, and a function that puts objects into its bucket `survey`."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWS.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="survey")

        def put(files):
            for name, data in files.items():
                client.put_object(Bucket="survey", Key=name, Body=data)

        yield port, put
        client.close()
    server.stop()


AWS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "tester",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
RATES = {"stall": 0.02, "503": 0.1, "cut": 0.08, "half": 0.05, "reset": 0.08}


@pytest.fixture
def endpoint(monkeypatch):
    """Point fsspec's configuration at a port, as FSSPEC_S3_ENDPOINT_URL does when a program starts."""

    def point(port):
        import fsspec

        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://127.0.0.1:{port}"})
        monkeypatch.setattr(stores, "_open_stores", {})

    return point


@pytest.mark.slow
def test_a_survey_in_s3_is_read_whatever_fails_on_the_way(s3, endpoint, monkeypatch):
    port, put = s3
    pictures = {f"cutouts/{number:03d}.jpg": random.Random(number).randbytes(500 + number * 3) for number in range(300)}
    put(pictures)
    put({"cutouts/.hidden.jpg": b"", "cutouts/notes.txt": b"", "cutouts-other/x.jpg": b""})
    monkeypatch.setattr("tuningfork.inputs.stores.s3.PAGE", 90)
    # On a busy machine a whole answer takes a second, too.
    monkeypatch.setenv(retrying.TIMEOUT_VARIABLE, "3")
    bad = {"cutouts/007.jpg": "503", "cutouts/011.jpg": "half", "cutouts/013.jpg": "cut", "cutouts/017.jpg": "reset"}
    with FaultyProxy(port, 1, RATES, bad) as proxy:
        endpoint(proxy.port)
        found = list(find_items(["s3://survey/cutouts/"]))
        assert [item.location for item in found] == [f"s3://survey/{name}" for name in pictures]
        got = dict(zip(pictures, read(found), strict=True))
        assert proxy.peak > 8
        assert min(proxy.met[fault] for fault in RATES) > 0
    for name, data in pictures.items():
        if name not in bad:
            assert got[name] == data
    assert "after 6 tries: HTTP 503" in got["cutouts/007.jpg"]
    assert "after 6 tries: damaged or cut on the way" in got["cutouts/011.jpg"]
    for name in ("cutouts/013.jpg", "cutouts/017.jpg"):
        assert "after 6 tries" in got[name]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t.tar", "t.zip", "bytes.parquet", "t.csv"])
def test_archives_and_catalogues_in_s3_are_read_whatever_fails_on_the_way(s3, endpoint, monkeypatch, kind):
    port, put = s3
    put({f"set/{name}": data for name, data in PICTURES.items()})
    put(
        {
            "set/t.tar": packed(PICTURES, "tar"),
            "set/t.zip": packed(PICTURES, "zip"),
            "set/bytes.parquet": table({"bytes": list(PICTURES.values())}, "parquet"),
            "set/t.csv": table({"path": list(PICTURES)}, "csv"),
        }
    )
    monkeypatch.setattr(remote.RemoteObject, "block", 5000)
    monkeypatch.setenv(retrying.TIMEOUT_VARIABLE, "1")
    # A body of half the size is found out by the listing's size, which a row of a table does not tell.
    rates = {fault: rate for fault, rate in RATES.items() if fault != "half" or kind != "t.csv"}
    with FaultyProxy(port, 2, rates) as proxy:
        endpoint(proxy.port)
        assert not differing(read(find_items([f"s3://survey/set/{kind}"])), list(PICTURES.values()))
        assert sum(proxy.met.values()) > proxy.met[""]


def test_s3_says_what_is_not_there_not_allowed_or_changed(s3, endpoint):
    port, put = s3
    put({"change/a.jpg": b"first", "change/b.jpg": b"b"})
    endpoint(port)
    found = list(find_items(["s3://survey/change"]))
    put({"change/a.jpg": b"other"})
    assert read(found) == ["changed since it was listed; predict it again", b"b"]
    with pytest.raises(FileNotFoundError):
        list(find_items(["s3://survey/nothing/"]))
    with pytest.raises(FileNotFoundError):
        list(find_items(["s3://no-such-bucket/x/"]))
    assert read([remote.object_item("s3://survey/none.jpg")]) == ["cannot be read: HTTP 404 (not there)"]


def test_a_try_that_stalls_ends(s3, endpoint, monkeypatch):
    port, put = s3
    put({"stall/a.jpg": bytes(1000)})
    monkeypatch.setenv(retrying.TIMEOUT_VARIABLE, "0.3")
    monkeypatch.setattr(retrying, "TRIES", 2)
    with FaultyProxy(port, always={"/survey/stall/a.jpg": "stall"}) as proxy:
        endpoint(proxy.port)
        (reason,) = read(find_items(["s3://survey/stall/"]))
        assert reason == "cannot be read after 2 tries: no complete answer within 0.3 s (TUNINGFORK_REMOTE_TIMEOUT)"
        assert proxy.met["stall"] == 2


def test_a_store_that_is_down_stops_the_listing(endpoint, monkeypatch):
    pytest.importorskip("s3fs")
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    endpoint(1)
    with pytest.raises(InputError, match="s3://survey/x/: cannot be read after 6 tries"):
        list(find_items(["s3://survey/x/"]))


CHILD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from tuningfork.inputs import ItemReader, find_items

def total(items):
    with ItemReader() as opening, ThreadPoolExecutor(8) as pool:
        return sum(pool.map(lambda call: len(call()), [opening.prepare(item) for item in items]))

if __name__ == "__main__":
    import multiprocessing, warnings
    warnings.simplefilter("ignore")
    items = list(find_items(["s3://survey/fork/"]))
    for way in sys.argv[1:]:
        with multiprocessing.get_context(way).Pool(2) as pool:
            print(total(items), *pool.map(total, [items[:5], items[5:]], chunksize=1))
"""


@pytest.mark.slow
def test_the_environment_names_the_endpoint_and_processes_have_their_own_connections(s3, tmp_path):
    port, put = s3
    put({f"fork/{number}.jpg": bytes(100 + number) for number in range(10)})
    (tmp_path / "child.py").write_text(CHILD)
    environment = {**os.environ, **AWS, "FSSPEC_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(remote.__file__).parents[2]), *sys.path])
    ways = ["spawn"] if sys.platform in ("win32", "darwin") else ["spawn", "fork"]
    command = [sys.executable, str(tmp_path / "child.py"), *ways]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[: len(ways)] == ["1045 510 535"] * len(ways)


def test_retries_are_ours_alone(s3, endpoint, monkeypatch):
    """A library that tries again by itself would multiply both tries and time."""
    port, put = s3
    put({"once/a.jpg": b"a"})
    monkeypatch.setattr(retrying, "TRIES", 3)
    for fault in ("503", "reset", "cut"):
        with FaultyProxy(port, always={"/survey/once/a.jpg": fault}) as proxy:
            endpoint(proxy.port)
            (item,) = find_items(["s3://survey/once/"])
            read([item])
            # aiohttp itself asks once more, at once, where a connection was torn down.
            assert proxy.met[fault] == 3 * (2 if fault == "reset" else 1)


@pytest.mark.slow
def test_a_prediction_from_s3_has_the_rows_of_one_from_files(s3, endpoint, monkeypatch, tmp_path):
    port, put = s3
    folder = tmp_path / "sky"
    folder.mkdir()
    for index in range(24):
        Image.fromarray(render(draw(5, index))).save(folder / f"{index:02d}.jpg")
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    put({f"sky/{name}": data for name, data in files.items()})
    (folder / "bad.jpg").write_bytes(b"")
    put({"sky/bad.jpg": b"x"})
    model = load("fast")
    monkeypatch.setenv(retrying.TIMEOUT_VARIABLE, "1")
    predict_files(model, [folder], tmp_path / "local.parquet", execution=ExecutionOptions(workers=1))
    with FaultyProxy(port, 3, RATES, {"sky/bad.jpg": "503"}) as proxy:
        endpoint(proxy.port)
        summary = predict_files(
            model, ["s3://survey/sky/"], tmp_path / "remote.parquet", execution=ExecutionOptions(workers=1)
        )
        assert sum(proxy.met.values()) > proxy.met[""]
    local, remote_ = (pq.read_table(tmp_path / name) for name in ("local.parquet", "remote.parquet"))
    assert local.drop(["path", "error"]).equals(remote_.drop(["path", "error"]))
    assert (summary.rows, summary.failed) == (len(files) + 1, 1)
    (error,) = summary.errors
    assert "s3://survey/sky/bad.jpg" in str(error)
    assert "after 6 tries: HTTP 503" in str(error)
