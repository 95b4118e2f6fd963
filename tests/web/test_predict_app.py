"""The service: predictions over HTTP like those of the library, bad input as rows, limits, downloads, figures."""

import asyncio
import base64
import csv
import io
import os
import re
import signal
import struct
import time
import zlib
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

import tuningfork
from tuningfork._utils.processes import Worker
from tuningfork.images.image import ImageError
from tuningfork.simulation import draw, render
from tuningfork.surveys.cutout import Cutout, Provenance
from tuningfork.web.predict.app import create_app
from tuningfork.web.predict.batcher import DynamicBatcher
from tuningfork.web.predict.limits import Limits
from tuningfork.web.predict.metrics import BUCKETS
from tuningfork.web.predict.positions import parse_positions, position_lines
from tuningfork.web.predict.results import ResultStore
from tuningfork.web.predict.uploads import MAX_NAME, label

BASE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast", threads=1)


@pytest.fixture(scope="module")
def pictures():
    return [render(draw(23, index)) for index in range(3)]


@pytest.fixture(scope="module")
def files(pictures):
    return [png(picture) for picture in pictures]


@pytest.fixture(scope="module")
def service(model):
    """A client of a service with the usual limits, without sky and index."""
    with TestClient(create_app(model), base_url=BASE) as client:
        yield client


def png(picture):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


@asynccontextmanager
async def client_of(app):
    inner = app
    while not hasattr(inner, "router"):
        inner = inner.app
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with inner.router.lifespan_context(inner), httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client


def talk(app, conversation):
    """Run a conversation with a client of the app; gives what it returns."""

    async def all_of_it():
        async with client_of(app) as client:
            return await conversation(client)

    return asyncio.run(all_of_it())


def parse(text):
    return parse_positions(position_lines(text))


def samples(text):
    """(name, *labels) → value, as Prometheus' own parser reads the page of figures."""
    return {
        (each.name, *sorted(each.labels.items())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def form(*named):
    return [("files", (name, content)) for name, content in named]


@dataclass
class Sky:
    """A sky of one galaxy in the north and nothing in the south."""

    picture: np.ndarray

    def cutout(self, ra, dec, size, pixels):
        if dec < 0:
            raise ImageError(f"no picture at RA {ra:g}, Dec {dec:g}")
        place = Provenance("mosaic", "north.fits", size / pixels, "2026-11-24T08:00:00Z")
        return Cutout(self.picture, place, "a tenth has no data" if ra > 5 else "")


# ------------------------------------------------------------------ predictions


def test_the_service_says_what_the_library_says(service, model, pictures, files):
    told = service.post("/api/predict", files=form(*((f"g{i}.png", f) for i, f in enumerate(files)))).json()
    ours = model.predict(pictures)
    assert told["failed"] == 0
    assert told["model"] == "fast"
    for number, row in enumerate(told["rows"]):
        mine = ours[number]
        assert row["name"] == f"g{number}.png"
        assert row["class_name"] == mine.class_name
        assert row["description"] == mine.description
        assert mine.headline() == f"{row['description']}; {row['class_summary']}"
        assert (row["nearest_class"], row["clean_class"]) == (mine.nearest_class, mine.clean)
        assert {each["name"]: each["probability"] for each in row["classes"]} == pytest.approx(mine.classes)
        shares = {a["name"]: a["fraction"] for q in row["questions"] for a in q["answers"]}
        for name, share in mine.fractions.items():
            assert np.isnan(share) if shares[name] is None else shares[name] == pytest.approx(share, abs=1e-6)
        way = [
            (q["key"], a["text"])
            for q in row["questions"]
            if q["step"] is not None
            for a in q["answers"]
            if a["chosen"]
        ]
        assert way == [(key, text) for key, text, _ in mine.steps()]
        assert [q["step"] for q in row["questions"]][: len(way)] == list(range(1, len(way) + 1))
        assert row["domain_score"] == pytest.approx(mine.domain_score)
        assert row["image"] is None


def test_one_image_may_be_the_body_and_comes_back_if_asked(service, files):
    headers = {"content-type": "image/png"}
    (row,) = service.post("/api/predict?images=true&name=ngc.png", content=files[0], headers=headers).json()["rows"]
    assert row["name"] == "ngc.png"
    assert row["image"].startswith("data:image/jpeg;base64,")


def test_fits_is_shown_with_north_up_and_told_of_if_it_does_not_say_where_that_is(service):
    fits = pytest.importorskip("astropy.io.fits")
    light = np.full((100, 100), 1.0, np.float32)
    light[60:80, 45:55] = 1000  # towards higher rows, which FITS shows above

    def file(**cards):
        stream = io.BytesIO()
        hdu = fits.PrimaryHDU(light)
        hdu.header.update(cards)
        hdu.writeto(stream)
        return stream.getvalue()

    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 50.5, "CRPIX2": 50.5}
    upright = file(**wcs, CDELT1=-1e-4, CDELT2=1e-4)
    south_up = file(**wcs, CDELT1=1e-4, CDELT2=-1e-4)

    named = form(("upright.fits", upright), ("south.fits", south_up), ("unknown.fits", file()))
    rows = service.post("/api/predict?images=true", files=named).json()["rows"]
    assert [row["error"] for row in rows] == ["", "", ""]
    assert "direction and pixel scale are not known" in rows[2]["warning"]
    assert "direction" not in rows[0]["warning"]
    above = []
    for row in rows:
        shown = Image.open(io.BytesIO(base64.b64decode(row["image"].partition(",")[2]))).convert("L")
        above.append(np.asarray(shown)[:50].mean() > np.asarray(shown)[50:].mean())
    assert above == [True, False, True]


def bomb():
    """A PNG of a kilobyte that claims 60,000 × 60,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


BAD = {
    "drawing.jpg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not an image"),
    "page.jpg": (b"<!doctype html><script>alert(1)</script>", "not an image"),
    "empty.png": (b"", "empty file"),
    "bomb.png": (bomb(), "pixels"),
    "half.png": (None, "damaged|truncated"),
    "pickle.npy": (b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}" + b" " * 60, "npy"),
    "zip.fits": (b"PK\x03\x04" + bytes(100), "not an image"),
    "header.fits": (b"SIMPLE  =                    T" + bytes(3000), "FITS"),
    "large.png": (bytes(200_000), "at most"),
}


def test_each_bad_picture_is_a_row_with_its_reason_and_the_rest_goes_on(model, files):
    named = [(name, content if content is not None else files[1][:900]) for name, (content, _) in BAD.items()]
    app = create_app(model, Limits(image_bytes=len(files[0]) + 1000))

    async def conversation(client):
        answer = await client.post("/api/predict", files=form(("first.png", files[0]), *named, ("last.png", files[0])))
        table = await client.get(f"/api/results/{answer.json()['result']}.csv")
        return answer.json(), table.text, (await client.get("/metrics")).text

    big = ("large.png", bytes(len(files[0]) + 2000))
    named = [big if name == "large.png" else (name, content) for name, content in named]
    told, table, metrics = talk(app, conversation)
    first, *rows, last = told["rows"]
    assert first["error"] == last["error"] == ""
    assert first["class_name"] == last["class_name"]
    assert told["failed"] == len(BAD)
    for row, (name, (_, reason)) in zip(rows, BAD.items(), strict=True):
        assert row["name"] == name
        assert re.search(reason, row["error"], re.IGNORECASE), row["error"]
        assert row["questions"] == []
    lines = list(csv.DictReader(io.StringIO(table)))
    assert [line["error"] for line in lines] == [row["error"] for row in told["rows"]]
    assert samples(metrics)["tuningfork_images_total", ("outcome", "failed")] == len(BAD)
    assert samples(metrics)["tuningfork_images_total", ("outcome", "predicted")] == 2


def test_a_body_that_is_too_large_for_a_picture_is_a_row(model):
    async def conversation(client):
        return await client.post("/api/predict?name=sky.fits", content=bytes(3_000_000))

    (row,) = talk(create_app(model, Limits(image_bytes=1_000_000)), conversation).json()["rows"]
    assert row["name"] == "sky.fits"
    assert "file of 2.86 MiB" in row["error"]


def endless_jpeg(scans=400, side=2048):
    """A progressive JPEG that repeats one scan, of which each costs a pass over all pixels."""
    stream = io.BytesIO()
    Image.new("RGB", (side, side)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def test_a_file_that_would_hang_a_decoder_is_a_row_in_time(model, files):
    begun = time.monotonic()

    async def conversation(client):
        named = form(("endless.jpg", endless_jpeg()), ("good.png", files[0]))
        return (await client.post("/api/predict", files=named)).json()["rows"]

    endless, good = talk(create_app(model, Limits(decode_seconds=2)), conversation)
    assert time.monotonic() - begun < 20
    assert re.search("scans|within|damaged", endless["error"])
    assert good["error"] == ""


@pytest.mark.slow
def test_what_takes_too_long_to_decode_is_a_row_and_the_next_one_gets_a_new_process(model, files, monkeypatch):
    """The decoder itself is stopped (SIGSTOP), which stands for one that hangs."""
    started = []
    start = Worker._start

    def noted(worker):
        started.append(start(worker))
        return started[-1]

    monkeypatch.setattr(Worker, "_start", noted)

    async def conversation(client):
        first = await client.post("/api/predict", files=form(("a.png", files[0])))
        os.kill(started[0].pid, signal.SIGSTOP)
        stopped = await client.post("/api/predict", files=form(("a.png", files[0])))
        look = await client.post("/api/occlusion", content=b"nothing")
        return first, stopped, look, await client.post("/api/predict", files=form(("a.png", files[0])))

    first, stopped, look, after = talk(create_app(model, Limits(decode_seconds=2)), conversation)
    assert "cannot be decoded within 2 s" in stopped.json()["rows"][0]["error"]
    assert look.status_code == 422
    assert after.json()["rows"] == first.json()["rows"]
    assert started[0].poll() == -signal.SIGKILL


def test_too_many_positions_are_refused_before_one_is_parsed(model, pictures, monkeypatch):
    parsed = []
    monkeypatch.setattr("tuningfork.web.predict.positions._position", lambda *given: parsed.append(given))
    texts = ["1 2\n" * 900_000, "a " * 1_900_000 + "\n1 2" * 300, "\n".join("#" for _ in range(100)) + "\n1 2" * 201]

    async def conversation(client):
        begun = time.monotonic()
        codes = [(await client.post("/api/predict/positions", json={"text": text})).status_code for text in texts]
        many = {"positions": [{"ra": 1, "dec": 2}] * 100_000}
        codes.append((await client.post("/api/predict/positions", json=many)).status_code)
        return codes, time.monotonic() - begun

    codes, seconds = talk(create_app(model, source=Sky(pictures[0])), conversation)
    assert codes == [413, 413, 413, 422]
    assert parsed == []
    assert seconds < 10
    monkeypatch.undo()
    (long,) = parse("1 " * 100_000 + "1 2")
    assert "characters" in long.error


def test_too_many_pixels_is_a_row(model, files):
    async def conversation(client):
        return await client.post("/api/predict", files=form(("a.png", files[0])))

    (row,) = talk(create_app(model, Limits(pixels=1000)), conversation).json()["rows"]
    assert "at most 1000 pixels" in row["error"]


REFUSED = [
    ({"files": [("files", (f"{i}.png", b"x")) for i in range(4)]}, 413, "more than 3 images"),
    ({"files": [("files", (f"{i}.png", b"x")) for i in range(10_000)]}, 413, "more than|MiB"),
    ({"content": b""}, 400, "no image"),
    ({"content": b"--nonsense", "headers": {"content-type": "multipart/form-data"}}, 400, "form"),
    ({"content": b"abc", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "form|image"),
    ({"content": bytes(2_000_000)}, 413, "MiB"),
]


def test_requests_that_are_refused_as_a_whole(model):
    with TestClient(create_app(model, Limits(images=3, body_bytes=1_000_000)), base_url=BASE) as client:
        for options, status, reason in REFUSED:
            answer = client.post("/api/predict", **options)
            assert answer.status_code == status, reason
            assert re.search(reason, answer.json()["error"])
        # A body that is no form is an image, though a bad one.
        assert client.post("/api/predict", data={"name": "value"}).json()["failed"] == 1


def test_many_clients_at_once_all_get_their_own(model, files):
    async def conversation(client):
        async def one(number):
            return await client.post("/api/predict", files=form((f"{number}.png", files[number % 3])))

        return await asyncio.gather(*(one(number) for number in range(24)))

    answers = talk(create_app(model), conversation)
    assert {answer.status_code for answer in answers} == {200}
    classes = [answer.json()["rows"][0]["summary"].partition(": ")[2] for answer in answers]
    assert [answer.json()["rows"][0]["name"] for answer in answers] == [f"{n}.png" for n in range(24)]
    assert all(told == classes[number % 3] for number, told in enumerate(classes))


def test_a_batch_holds_what_came_together_and_no_more_than_it_may(model, pictures):
    sizes = []

    class Noted:
        tree = model.tree

        def predict_loaded(self, reads, options):
            sizes.append(len(reads))
            return model.predict_loaded(reads, options)

    async def conversation():
        async with DynamicBatcher(Noted(), batch_size=4) as batcher:
            reads = [model.read(picture, number) for number, picture in enumerate(pictures)]
            told = await asyncio.gather(
                *(batcher.predict(reads[: 1 + n % 3]) for n in range(8)), batcher.predict(reads * 4)
            )
            assert batcher.waiting == 0
            return told

    told = asyncio.run(conversation())
    assert [len(each) for each in told] == [1 + n % 3 for n in range(8)] + [12]
    assert told[-1].ids == ("0", "1", "2") * 4
    assert max(sizes) <= 4
    assert len(sizes) < 12


def test_a_mistake_in_the_network_is_told_to_its_requests_and_ends_nothing(model, files, monkeypatch):
    async def conversation(client):
        with monkeypatch.context() as broken:
            broken.setattr(model, "predict_loaded", lambda *_, **__: 1 / 0)
            first = await client.post("/api/predict", files=form(("a.png", files[0])))
        return first, await client.post("/api/predict", files=form(("a.png", files[0])))

    first, second = talk(create_app(model), conversation)
    assert first.status_code == 500
    assert first.json()["status"] == 500
    assert second.status_code == 200


# ------------------------------------------------------------------ names


NAMES = [
    ("../../etc/passwd", "passwd"),
    ("C:\\Users\\me\\ngc 1300.jpg", "ngc 1300.jpg"),
    ("a\x00b\n.jpg", "ab.jpg"),
    ("\u202egpj.exe", "gpj.exe"),
    ("=HYPERLINK(1).jpg", "_HYPERLINK(1).jpg"),
    ("", "image 7"),
    ("..", "image 7"),
    ("folder/", "image 7"),
    ("<img src=x onerror=alert(1)>.jpg", "<img src=x onerror=alert(1)>.jpg"),
    ("x" * 500 + ".fits", None),
]


def test_names_are_only_labels():
    for name, shown in NAMES:
        told = label(name, 7)
        assert told == shown or (shown is None and len(told) == MAX_NAME and told.endswith(".fits"))


@given(st.text())
def test_any_name_gives_a_label_that_is_safe(name):
    told = label(name, 1)
    assert 0 < len(told) <= MAX_NAME
    assert not set(told) & set("/\\\n\r\t\0")
    assert told[0] not in "=+-@"
    assert told.strip(". ")


# ------------------------------------------------------------------ positions


POSITIONS = [
    ("185.7289 15.8223", 185.7289, 15.8223, "185.7289 15.8223"),
    ("M100, 185.7289, +15.8223", 185.7289, 15.8223, "M100"),
    ("NGC 4321\t185.7289\t15.8223", 185.7289, 15.8223, "NGC 4321"),
    ("12:22:54.9 +15:49:21", 185.72875, 15.8225, "12:22:54.9 +15:49:21"),
    ("12h22m54.9s −00d30m00s", 185.72875, -0.5, "12h22m54.9s −00d30m00s"),
    ("360 -90", 0, -90, "360 -90"),
    ("-149.198 2", 210.802, 2, "_149.198 2"),
]


def test_positions_as_people_write_them():
    for line, ra, dec, name in POSITIONS:
        (told,) = parse(line)
        assert (told.name, told.error) == (name, "")
        assert (told.ra, told.dec) == (pytest.approx(ra), pytest.approx(dec))


def test_lines_that_are_no_position_say_so():
    for line in ("hello", "M31", "1 91", "nan 1", "inf 0", "a b", "12:99:00 1", "1e999 0", "1 " * 200):
        assert parse(line)[0].error, line


def test_headings_comments_and_empty_lines_are_left_out():
    assert [p.name for p in parse("ra,dec\n\n# mine\na,1,2\nb,3,4\n")] == ["a", "b"]


@given(st.floats(0, 359.999), st.floats(-90, 90))
def test_sexagesimal_agrees_with_astropy(ra, dec):
    coordinates = pytest.importorskip("astropy.coordinates")
    units = pytest.importorskip("astropy.units")
    place = coordinates.SkyCoord(ra, dec, unit="deg")
    told = parse(
        f"{place.ra.to_string(unit=units.hour, sep=':', precision=6)} {place.dec.to_string(sep=':', precision=6)}"
    )[0]
    # Six places of a second, of time for RA.
    assert told.ra % 360 == pytest.approx(ra, abs=1e-8) or told.ra % 360 == pytest.approx(ra - 360, abs=1e-8)
    assert told.dec == pytest.approx(dec, abs=1e-8)


def test_positions_are_predicted_and_those_without_picture_say_so(model, pictures):
    app = create_app(model, source=Sky(pictures[1]), source_name="mosaics")

    async def conversation(client):
        body = {
            "text": "north 10 20\nsouth 10 -20\nnonsense",
            "positions": [{"ra": 1, "dec": 2, "name": "../n"}],
            "size": 60,
        }
        answer = await client.post("/api/predict/positions?images=true", json=body)
        table = await client.get(f"/api/results/{answer.json()['result']}.csv")
        looked = await client.get("/api/about")
        return answer.json(), table.text, looked.json()

    told, table, about = talk(app, conversation)
    first, north, south, nonsense = told["rows"]
    assert about["sky"] == "mosaics"
    assert first["class_name"] == north["class_name"] == model.predict(pictures[1]).class_name
    assert (first["name"], north["ra"], north["dec"]) == ("n", 10, 20)
    assert "mosaic north.fits" in north["origin"]
    assert (first["warning"], north["warning"]) == ("", "a tenth has no data")
    assert north["image"].startswith("data:image/png")
    assert south["error"] == "no picture at RA 10, Dec -20"
    assert "RA and Dec" in nonsense["error"]
    lines = list(csv.DictReader(io.StringIO(table)))
    assert [(line["ra"], line["dec"]) for line in lines] == [("1", "2"), ("10", "20"), ("10", "-20"), ("", "")]


def test_positions_that_are_refused_as_a_whole(model, pictures):
    with TestClient(create_app(model, source=Sky(pictures[0])), base_url=BASE) as client:
        for body, status in (
            ({"text": ""}, 400),
            ({"text": "1 2\n" * 201}, 413),
            ({"positions": [{"ra": 361, "dec": 0}]}, 422),
            ({"positions": [{"ra": 1, "dec": 0}], "size": 0}, 422),
            ([], 422),
        ):
            answer = client.post("/api/predict/positions", json=body)
            assert answer.status_code == answer.json()["status"] == status


# ------------------------------------------------------------------ look, similar, downloads, figures


def test_where_the_network_looked(service, model, files):
    whole = service.post("/api/occlusion", content=files[2]).json()
    bar = service.post("/api/occlusion?about=bar_yes_fraction", content=files[2]).json()
    unknown = service.post("/api/occlusion?about=colour", content=files[2])
    broken = service.post("/api/occlusion", content=b"nothing")
    two = service.post("/api/occlusion", files=form(("a", files[0]), ("b", files[1])))
    assert whole["about"] == model.predict(files[2]).nearest_class
    assert "bar" in bar["about"]
    assert np.shape(whole["fall"]) == (12, 12)
    assert (whole["left"], whole["width"]) == (0.25, 0.5)  # the central half, as the model's preprocessing says
    assert 0.25 < whole["x"] < 0.75
    assert [unknown.status_code, broken.status_code, two.status_code] == [422, 422, 400]


def test_without_sky_and_index_the_service_says_so(service, files):
    sky = service.post("/api/predict/positions", json={"text": "1 2"})
    similar = service.post("/api/similar", content=files[0])
    for answer, word in ((sky, "--source"), (similar, "--index")):
        assert answer.status_code == 501
        assert word in answer.json()["error"]


@pytest.fixture(scope="module")
def index(model, tmp_path_factory):
    """An index of eight galaxies; the last one's file is gone."""
    pytest.importorskip("faiss")
    from tuningfork.similarity import Index, blocks_of_predictions, build_index

    tmp_path, paths = tmp_path_factory.mktemp("known"), []
    for number in range(8):
        paths.append(tmp_path / f"known {number}.png")
        Image.fromarray(render(draw(23, number))).save(paths[-1])
    blocks = blocks_of_predictions([model.predict(paths, embeddings=True)])
    build_index(blocks, model.embedder(), tmp_path / "known.index")
    paths[-1].unlink()
    return Index.open(tmp_path / "known.index")


def test_the_galaxy_that_is_most_alike_is_itself(model, files, index):
    async def conversation(client):
        about = (await client.get("/api/about")).json()
        return (
            about,
            await client.post("/api/similar?k=8", content=files[2]),
            await client.post("/api/similar", content=b"nothing"),
        )

    about, answer, broken = talk(create_app(model, index=index), conversation)
    assert about["similar"]
    near = answer.json()["neighbours"]
    assert near[0]["id"] == "known 2"
    assert near[0]["distance"] < 0.01
    assert [each["distance"] for each in near] == sorted(each["distance"] for each in near)
    assert {each["id"] for each in near if not each["image"]} == {"known 7"}
    assert broken.status_code == 422


def test_an_index_of_another_model_is_refused(index):
    from tuningfork.model.embeddings import EmbeddingError

    with pytest.raises(EmbeddingError, match="another model"):
        create_app(tuningfork.load("default"), index=index)


def test_rows_of_several_requests_download_as_one_table(service, files, tmp_path):
    pytest.importorskip("astropy")
    from tuningfork.tables import read_table

    name = service.post("/api/predict", files=form(("a.png", files[0]), ("b.png", b"x"))).json()["result"]
    second = service.post(f"/api/predict?result={name}", files=form(("c.png", files[2])))
    assert second.json()["result"] == name
    for extension in ("csv", "vot", "parquet", "fits", "ecsv"):
        answer = service.get(f"/api/results/{name}.{extension}")
        assert answer.headers["content-disposition"] == f'attachment; filename="tuningfork.{extension}"'
        (tmp_path / f"t.{extension}").write_bytes(answer.content)
        table = read_table(tmp_path / f"t.{extension}")
        assert table["id"].to_pylist() == ["a", "b", "c"]
        assert [bool(error) for error in table["error"].to_pylist()] == [False, True, False]


def test_results_that_nobody_stores_and_formats_that_nobody_knows(service):
    for name in ("nothing.csv", "nothing.exe", "../../x.csv"):
        assert service.get(f"/api/results/{name}").status_code == 404


def test_the_oldest_rows_go_first(model, pictures):
    table = model.predict(pictures[:2]).to_table()
    kept = ResultStore(5)
    names = [kept.add(table)[0] for _ in range(3)]
    assert len(set(names)) == 3
    with pytest.raises(KeyError):
        kept.table(names[0])
    kept.add(table, names[1])
    with pytest.raises(KeyError):
        kept.table(names[2])
    assert kept.table(names[1]).num_rows == 4
    firsts = [kept.add(table, names[1])[1] for _ in range(5)]
    assert firsts == [4, 6, 8, 10, 12]
    assert kept.table(names[1]).num_rows == 4
    # Rows keep their numbers; of those that were dropped none is given for another.
    assert kept.table(names[1], [13, 10])["id"].to_pylist() == [table["id"][1].as_py(), table["id"][0].as_py()]
    with pytest.raises(KeyError):
        kept.table(names[1], [9, 10])


def test_some_of_the_rows_are_a_table(service, files):
    told = service.post("/api/predict", files=form(*((f"{name}.png", files[0]) for name in "abc"))).json()
    assert told["first"] == 0
    again = service.post(f"/api/predict?result={told['result']}", files=form(("d.png", files[1]))).json()
    assert (again["result"], again["first"]) == (told["result"], 3)
    text = service.get(f"/api/results/{told['result']}.csv?rows=3,1").text
    assert [line.split(",")[0].strip('"') for line in text.splitlines()] == ["id", "d", "b"]
    assert service.get(f"/api/results/{told['result']}.csv?rows=9").status_code == 404
    assert service.get(f"/api/results/{told['result']}.csv?rows=x").status_code == 422


def test_an_example_has_its_image_and_is_not_stored(service):
    one, two = service.get("/api/example").json(), service.get("/api/example").json()
    assert one == two
    assert one["image"].startswith("data:image/jpeg;base64,")
    assert "spiral" in one["description"]


def test_options_of_fits_images_are_checked(service, files):
    for query, reason in (("stretch=nope", "none of auto"), ("size=-1", "above 0"), ("bands=a,b", "one or three")):
        answer = service.post(f"/api/predict?{query}", files=form(("a.png", files[0])))
        assert answer.status_code == 422
        assert reason in answer.json()["error"]
    (row,) = service.post("/api/predict?size=20", files=form(("a.png", files[0]))).json()["rows"]
    assert "only FITS files have" in row["error"]


def test_figures_are_what_prometheus_reads(model, files):
    async def conversation(client):
        await client.post("/api/predict", files=form(("a.png", files[0])))
        for _ in range(3):
            await client.get("/nowhere")
        await client.request("BREW", "/health")
        return (await client.get("/metrics")).text

    figures = samples(talk(create_app(model), conversation))
    requests = "tuningfork_requests_total"
    assert figures[requests, ("method", "GET"), ("route", "none"), ("status", "404")] == 3
    assert figures[requests, ("method", "POST"), ("route", "/api/predict"), ("status", "200")] == 1
    assert figures[requests, ("method", "other"), ("route", "/health"), ("status", "405")] == 1
    assert figures["tuningfork_request_seconds_count", ("route", "/api/predict")] == 1
    buckets = [n for (name, *labels), n in figures.items() if name.endswith("bucket") and ("route", "none") in labels]
    assert len(buckets) == len(BUCKETS) + 1
    assert buckets == sorted(buckets)
    assert figures[("tuningfork_images_waiting",)] == figures[("tuningfork_requests_in_progress",)] - 1 == 0


def test_pages_and_descriptions_name_no_other_host(service):
    names = ("serve.js", "serve.css", "base.css", "browse.js", "browse.css", "bars.css", "docs.js", "tree.js")
    for path in ("/", "/docs", *(f"/static/{name}" for name in names)):
        page = service.get(path)
        assert page.status_code == 200
        assert [host for host in re.findall(r"https?://[^\s\"'<]+", page.text) if "127.0.0.1" not in host] == []
    api, models = service.get("/openapi.json").json(), service.get("/api/models").json()
    assert set(api["paths"]) >= {"/api/predict", "/api/predict/positions", "/api/occlusion", "/health", "/metrics"}
    assert [each["name"] for each in models if each["served"]] == ["fast"]
    assert {each["name"] for each in models} >= {"default", "fast"}


def test_limits_hold_together():
    with pytest.raises(ValueError, match="images = 0"):
        Limits(images=0)
    with pytest.raises(ValueError, match="at most"):
        Limits(pixels=10**9)
