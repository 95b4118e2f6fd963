"""The labelling over HTTP and as a command: turns, pictures by number, who may join, the order, the training."""

import asyncio
import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from tuningfork.images.read import read_image
from tuningfork.labelling.campaign import Campaign
from tuningfork.labelling.database import LabellingError
from tuningfork.labelling.fine_tune import MIN_LABELLED, FineTuning, train_command
from tuningfork.labelling.image_folder import MISSING, update_from_folder
from tuningfork.labelling.order import OrderSource, put_in_order
from tuningfork.labelling.rank import RankOptions, rank
from tuningfork.model.model import load
from tuningfork.simulation import draw, render
from tuningfork.tables import CatalogError, table_writer
from tuningfork.votes.class_labels import class_tree
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.tree_files import builtin_trees, load_tree
from tuningfork.web.decoder import DecodeError, ImageDecoder
from tuningfork.web.label.app import DECODE_ATTEMPTS, _Images, label_app
from tuningfork.web.label.guide import guide
from tuningfork.web.label.invite import is_loopback, new_token, public_host

OWN = class_tree(["spiral", "elliptical"])


@pytest.fixture
def folder(tmp_path):
    """Six pictures, of which one is broken, one is a page that calls itself one, and two have one ID."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for number in range(4):
        Image.fromarray(render(draw(3, number))).save(folder / f"g{number}.jpg")
    (folder / "deep" / "g0.jpg").write_bytes((folder / "g0.jpg").read_bytes())
    (folder / "torn.jpg").write_bytes((folder / "g1.jpg").read_bytes()[:3000])
    (folder / "page.jpg").write_text("<script>alert(1)</script>")
    (tmp_path / "secret.jpg").write_bytes((folder / "g0.jpg").read_bytes())
    return folder


@pytest.fixture
def campaign(tmp_path, folder, gz2):
    with Campaign(tmp_path / "labels.sqlite", gz2, tree_name="gz2") as campaign:
        update_from_folder(campaign, folder)
        put_in_order(campaign, folder, OrderSource())
        yield campaign


def client_of(campaign, folder, training=None, **options):
    return TestClient(label_app(campaign, folder, training, **options), base_url="http://127.0.0.1")


@pytest.fixture
def client(campaign, folder):
    with client_of(campaign, folder) as client:
        yield client


def answer(client, place, choice=0, key="k", code=200):
    asked = place["question"]
    told = client.post(
        "/api/answer",
        json={
            "campaign": place["campaign"], "person": place["person"], "version": place["version"],
            "galaxy": place["galaxy"], "key": key, "question": asked["key"], "answer": asked["answers"][choice]["key"],
        },
    )  # fmt: skip
    assert told.status_code == code, told.text
    return told.json()


# ------------------------------------------------------------------ over HTTP


def test_a_person_answers_down_the_tree(client):
    place = client.post("/api/people", json={"name": "Ada"}).json()
    assert place["previous"] == []
    place = answer(client, place)
    assert place["previous"] == [{"question": load_tree("gz2").questions[0].text, "answer": "smooth"}]
    assert place["question"]["text"] == "How rounded is it?"
    told = {name: place[name] for name in ("campaign", "person", "version")}
    back = client.post("/api/undo", json={**told, "key": "u"}).json()
    assert back["previous"] == []
    assert client.post("/api/turn", json={"person": back["person"]}).json() == back


def test_a_stale_window_is_told_so(client):
    one = client.post("/api/people", json={"name": "Ada"}).json()
    answer(client, one, key="one")
    assert "another window" in answer(client, one, 1, key="two", code=409)["error"]
    assert client.get("/api/campaign").json()["progress"]["answers"] == 1


def test_a_page_of_another_labelling_answers_nothing_here(client, folder, tmp_path, gz2):
    """As when a server of another folder took the port: galaxies and people have the same numbers there."""
    with Campaign(tmp_path / "other.sqlite", gz2) as other, client_of(other, folder) as elsewhere:
        update_from_folder(other, folder)
        put_in_order(other, folder, OrderSource())
        place = elsewhere.post("/api/people", json={"name": "Ada"}).json()
    here = client.post("/api/people", json={"name": "Ada"}).json()
    assert {**place, "campaign": ""} == {**here, "campaign": ""}
    assert "another campaign" in answer(client, place, code=409)["error"]
    assert client.get("/api/campaign").json()["progress"]["answers"] == 0
    assert client.get(f"/api/images/{here['galaxy']}").headers["cache-control"] == "no-store"


def test_what_makes_no_sense_is_refused_with_a_reason(client):
    for path, sent, code in (
        ("/api/people", {"name": ""}, 400),
        ("/api/people", {"name": "x" * 41}, 400),
        ("/api/people", {"name": "x" * 100_000}, 413),
        ("/api/people", {}, 422),
        ("/api/turn", {"person": 7}, 403),
        ("/api/turn", {"person": "Ada"}, 422),
        ("/api/turn", {"person": 2**70}, 422),
        ("/api/undo", {"campaign": "", "person": 1, "version": 0, "key": "x" * 65}, 422),
    ):
        told = client.post(path, json=sent)
        assert told.status_code == code
        assert told.json()["error"]


def test_a_form_of_another_site_is_refused(client):
    sent = json.dumps({"name": "Ada"})
    plain = client.post("/api/people", content=sent, headers={"content-type": "text/plain"})
    assert plain.status_code == 422
    foreign = {"content-type": "application/json", "origin": "http://evil.example"}
    assert client.post("/api/people", content=sent, headers=foreign).status_code == 403
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421


def test_pictures_are_asked_for_by_number_only(client):
    for number in [
        "../secret.jpg",
        "..%2Fsecret.jpg",
        "%2e%2e/secret.jpg",
        "0",
        "-1",
        "99",
        "1e3",
        "9" * 30,
        "g0.jpg",
        "1/..",
    ]:
        told = client.get(f"/api/images/{number}")
        assert told.status_code in (404, 422)
        assert "image" not in told.headers["content-type"]


def test_a_picture_is_what_the_reader_sees(client, campaign, folder):
    shown = [look for look in campaign.galaxies() if not look.reason]
    for look in shown:
        told = client.get(f"/api/images/{look.number}")
        assert told.headers["content-type"] == "image/jpeg"
        difference = read_image(told.content).rgb.astype(int) - read_image(folder / look.path).rgb
        assert np.abs(difference).mean() < 2
    assert len(shown) == 4


def test_a_picture_that_breaks_meanwhile_is_left_out_and_the_person_goes_on(client, campaign, folder):
    place = client.post("/api/people", json={"name": "Ada"}).json()
    (folder / campaign.galaxy(place["galaxy"]).path).write_bytes(b"gone bad")
    told = client.get(f"/api/images/{place['galaxy']}")
    assert told.status_code == 410
    assert "not an image" in told.json()["error"]
    after = client.post("/api/turn", json={"person": place["person"]}).json()
    assert after["galaxy"] not in (0, place["galaxy"])
    assert {each["id"] for each in client.get("/api/agreement").json()["left_out"]} == {place["id"], "page", "torn"}


def test_nobody_answers_as_another_person_by_number(campaign, folder):
    with client_of(campaign, folder) as ada, client_of(campaign, folder) as eve:
        place = ada.post("/api/people", json={"name": "Ada"}).json()
        eve.post("/api/people", json={"name": "Eve"})
        assert "has not joined as this person" in answer(eve, place, code=403)["error"]
        assert eve.post("/api/turn", json={"person": place["person"]}).status_code == 403
        forged = {f"tuningfork-{place['campaign']}-{place['person']}": campaign.signature(2)}
        eve.cookies.update(forged)
        answer(eve, place, code=403)
        sent = {"campaign": place["campaign"], "person": place["person"], "version": 0, "key": "k"}
        assert eve.post("/api/undo", json=sent).status_code == 403
        assert campaign.progress()["answers"] == 0
        ada.post("/api/people", json={"name": "Ben"})  # two people in two windows of one browser
        answer(ada, place)
    with Campaign(campaign.path) as reopened:  # the page outlives the server
        assert reopened.signature(1) == campaign.signature(1)


def test_an_error_that_passes_costs_no_galaxy(client, campaign, folder, monkeypatch):
    """Too many open files: no decoder can be started, or the file cannot be read."""
    place = client.post("/api/people", json={"name": "Ada"}).json()
    numbers = iter([errno.EMFILE, errno.ENOMEM, errno.EIO, errno.ENFILE, errno.EAGAIN] * 2)

    def fail(*_, **__):
        number = next(numbers)
        raise OSError(number, os.strerror(number))

    for owner, name in ((subprocess, "Popen"), (ImageDecoder, "_run")):
        with monkeypatch.context() as broken:
            broken.setattr(owner, name, fail)
            for _ in range(5):
                response = client.get(f"/api/images/{place['galaxy']}")
                assert response.status_code == 503
                assert int(response.headers["retry-after"]) > 0
    assert campaign.state(place["person"]).galaxy == place["galaxy"]
    assert client.get(f"/api/images/{place['galaxy']}").status_code == 200


def test_an_image_that_cannot_be_read_at_the_moment_is_not_excluded_at_the_start(tmp_path, folder, monkeypatch):
    def fail(path):
        raise OSError(errno.EMFILE, "Too many open files")

    with Campaign(tmp_path / "l.sqlite", OWN) as campaign, monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", fail)
        update_from_folder(campaign, folder)
        put_in_order(campaign, folder, OrderSource())
        assert [galaxy.reason for galaxy in campaign.galaxies() if galaxy.reason] == []


def test_while_the_database_waits_the_server_goes_on(campaign, folder, monkeypatch):
    """Another process may write for seconds; the event loop must not wait with the thread that reads."""
    written, answers = threading.Event(), []
    monkeypatch.setattr(campaign, "galaxy", lambda number: answers.append(written.wait(2)))
    images = _Images(campaign, folder)

    async def both():
        image = asyncio.create_task(images.jpeg(1))
        await asyncio.sleep(0.05)
        written.set()
        with pytest.raises(HTTPException):
            await image

    asyncio.run(both())
    images.close()
    assert answers == [True]


def test_a_decoder_that_hangs_is_ended_and_the_galaxy_excluded_after_some_attempts(campaign, folder, monkeypatch):
    def hang(*_):
        raise DecodeError("cannot be decoded within 15 s")

    monkeypatch.setattr(ImageDecoder, "_run", hang)
    with client_of(campaign, folder) as client:
        place = client.post("/api/people", json={"name": "Ada"}).json()
        codes = [client.get(f"/api/images/{place['galaxy']}").status_code for _ in range(DECODE_ATTEMPTS)]
        assert codes == [*[503] * (DECODE_ATTEMPTS - 1), 410]
        assert "within" in campaign.galaxy(place["galaxy"]).reason


def test_a_folder_that_is_away_for_a_moment_costs_no_galaxy(client, campaign, folder):
    place = client.post("/api/people", json={"name": "Ada"}).json()
    folder.rename(folder.with_name("away"))
    assert client.get(f"/api/images/{place['galaxy']}").status_code == 503
    assert campaign.state(place["person"]).galaxy == place["galaxy"]


def test_agreement_and_exports_over_http(client):
    for name, choice in (("Ada", 0), ("Ben", 0)):
        place = client.post("/api/people", json={"name": name}).json()
        for number in range(3):
            place = answer(client, place, choice if number == 0 else -1, key=f"k{number}")
    told = client.get("/api/agreement").json()
    assert told["questions"][0]["raw"] is None
    assert told["progress"]["people"] == {"Ada": 1, "Ben": 1}
    votes = client.get("/api/export/kaggle")
    assert votes.headers["content-disposition"] == 'attachment; filename="kaggle.csv"'
    assert len(votes.text.splitlines()) == 3
    assert next(csv.DictReader(client.get("/api/export/zooniverse").iter_lines()))["filename"].startswith("g")
    assert client.get("/api/export/passwords").status_code == 404


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in ("label.js", "label.css", "base.css"):
        assert f"/static/{name}" in page.text
        text = client.get(f"/static/{name}").text
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", text)
    assert not re.search(r"https?://| style=| on[a-z]+=", page.text)


# ------------------------------------------------------------------ who may join


def test_every_answer_is_explained_and_has_an_example(client):
    about = client.get("/api/campaign").json()["guide"]
    assert [each["text"] for each in about] == [question.text for question in load_tree("gz2").questions]
    answers = [answer for question in about for answer in question["answers"]]
    assert all(answer["help"] and answer["example"] for answer in answers)
    assert len({answer["example"] for answer in answers}) == len(load_tree("gz2").columns)
    picture = client.get(answers[0]["example"])
    assert Image.open(io.BytesIO(picture.content)).size == (144, 144)
    assert client.get("/api/examples/Class9.9.jpg").status_code == 404


def test_other_trees_have_the_examples_that_fit(gz2):
    for name in builtin_trees():
        for key, question in guide(load_tree(name)).items():
            asked = load_tree(name).question(key)
            assert set(question.answers) <= {answer.key for answer in asked.answers}
            shown = [answer.column for answer in question.answers.values()]
            assert len(shown) == len(set(shown))  # no picture stands for two answers
    assert set(guide(load_tree("gz2"))) == {question.key for question in gz2.questions}
    assert guide(OWN) == {}


def test_results_count_the_answers_of_one_person(client):
    place = client.post("/api/people", json={"name": "Ada"}).json()
    for number in range(3):
        place = answer(client, place, 1 if number == 2 else 0, key=str(number))
    told = client.get("/api/agreement").json()
    assert told["galaxies"] == 1
    counts = {each["text"]: [answer["count"] for answer in each["answers"]] for each in told["answers"]}
    assert counts["How rounded is it?"] == [1, 0, 0]
    assert counts["Is there anything odd?"] == [0, 1]
    assert sum(map(sum, counts.values())) == 3


def test_who_comes_from_outside_needs_the_token(campaign, folder):
    token = new_token()
    with client_of(campaign, folder, token=token) as client:
        for path in ("/", "/api/campaign", "/api/images/1", "/static/label.js", f"/?join={token[:-1]}x"):
            assert client.get(path).status_code == 403
        assert client.post("/api/people", json={"name": "Eve"}).status_code == 403
        told = client.get(f"/?join={token}", follow_redirects=False)
        assert (told.status_code, told.headers["location"]) == (303, "/")
        assert "HttpOnly" in told.headers["set-cookie"]
        assert client.get("/").status_code == 200
        assert client.post("/api/people", json={"name": "Ada"}).status_code == 200
    assert campaign.progress()["people"] == {"Ada": 0}


def test_only_addresses_of_this_machine_go_without():
    hosts = [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)]
    assert [(host, is_loopback(host)) for host, _ in hosts] == hosts


def test_the_address_that_is_printed_can_be_opened():
    hosts = [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("galaxies.example", "galaxies.example")]
    assert [(host, public_host(host)) for host, _ in hosts] == hosts
    for wildcard in ("0.0.0.0", "::"):
        assert public_host(wildcard).strip("[]") not in ("", "0.0.0.0", "::")


# ------------------------------------------------------------------ folder and order


def test_bad_pictures_are_named_and_left_out(tmp_path, folder):
    with Campaign(tmp_path / "l.sqlite", OWN) as campaign:
        twice = update_from_folder(campaign, folder)
        put_in_order(campaign, folder, OrderSource())
        assert [(error.id, Path(error.file).name) for error in twice] == [("g0", "g0.jpg")]
        assert "came before" in twice[0].reason
        left = {look.id: look.reason for look in campaign.galaxies() if look.reason}
        assert set(left) == {"torn", "page"}
        (folder / "torn.jpg").write_bytes((folder / "g1.jpg").read_bytes())
        (folder / "g3.jpg").unlink()
        update_from_folder(campaign, folder)
        put_in_order(campaign, folder, OrderSource())
        assert {look.id: look.reason for look in campaign.galaxies() if look.reason} == {
            "page": left["page"],
            "g3": MISSING,
        }
        assert sorted(look.rank for look in campaign.galaxies() if not look.reason) == [1, 2, 3, 4]


def test_a_folder_without_a_picture_is_refused_and_stays_as_it_is(tmp_path, run):
    (tmp_path / "empty").mkdir()
    assert "holds no image" in run("label", tmp_path / "empty", code=1).stderr
    assert list((tmp_path / "empty").iterdir()) == []


def order_by(tmp_path, folder, by, name):
    with Campaign(tmp_path / f"{name}.sqlite", load_tree("gz2")) as campaign:
        update_from_folder(campaign, folder)
        assert put_in_order(campaign, folder, by)
        assert not put_in_order(campaign, folder, by)  # nothing is new
        return [look.id for look in campaign.galaxies() if not look.reason], {
            look.id for look in campaign.galaxies() if look.reason
        }


def test_the_order_is_that_of_what_teaches_most(tmp_path, folder):
    """By the model, by its table, and by a table of ranks: all as `tuningfork rank` puts them."""
    model = load("fast")
    predicted = model.predict([path for path in sorted(folder.glob("*.jpg")) if path.stem not in ("torn", "page")])
    ranked = rank([predicted.to_table()], model.tree, RankOptions(out_of_domain=True))
    wanted = ranked.table["id"].to_pylist()
    by_model, broken = order_by(tmp_path, folder, OrderSource(model="fast"), "model")
    assert (by_model, broken) == (wanted, {"torn", "page"})
    for name, table in (("predicted.parquet", predicted.to_table()), ("ranked.csv", ranked.table)):
        with table_writer(tmp_path / name, table.schema) as write:
            write(table)
        assert order_by(tmp_path, folder, OrderSource(table=tmp_path / name), name) == (wanted, {"torn", "page"})


def test_another_order_leaves_what_was_begun_in_front(tmp_path, folder, campaign):
    place = campaign.join("Ada")
    for _ in range(2):
        asked = place.question
        place = campaign.answer(
            place.person, place.galaxy, asked.key, asked.answers[-1].key, version=place.version, key=str(place.version)
        )
    begun = [look.id for look in campaign.galaxies() if not look.reason][:2]
    Image.fromarray(render(draw(3, 7))).save(folder / "new.jpg")
    update_from_folder(campaign, folder)
    assert put_in_order(campaign, folder, OrderSource(model="fast"))
    assert [look.id for look in campaign.galaxies()][:2] == begun
    assert sorted(look.rank for look in campaign.galaxies() if not look.reason) == [1, 2, 3, 4, 5]
    for look in campaign.galaxies()[2:]:  # nothing is left to rank, and that is no error
        (folder / look.path).write_bytes(b"gone bad")
    assert put_in_order(campaign, folder, OrderSource(model="fast", seed=2))
    assert [look.id for look in campaign.galaxies() if not look.reason] == begun


def test_without_a_model_the_seed_decides(tmp_path, folder):
    orders = [order_by(tmp_path, folder, OrderSource(seed=seed), f"{n}")[0] for n, seed in enumerate((1, 1, 2))]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted(orders[2]) == ["g0", "g1", "g2", "g3"]


@pytest.mark.parametrize(
    ("columns", "error"),
    [({"rank": ["first"], "id": ["g0"]}, "rank"), ({"name": ["g0"], "x": ["1"]}, "no column 'id'")],
)
def test_a_table_that_tells_no_order_is_refused(tmp_path, folder, columns, error):
    table = pa.table(columns)
    with table_writer(tmp_path / "order.csv", table.schema) as write:
        write(table)
    with Campaign(tmp_path / "l.sqlite", OWN) as campaign:
        update_from_folder(campaign, folder)
        with pytest.raises(CatalogError, match=error):
            put_in_order(campaign, folder, OrderSource(table=tmp_path / "order.csv"))


# ------------------------------------------------------------------ the training


@pytest.fixture
def trainable(tmp_path):
    """A campaign of enough labels, and a training of it whose program is `sleep`-like Python instead of ours."""
    folder = tmp_path / "images"
    folder.mkdir()
    with Campaign(tmp_path / "labels.sqlite", OWN) as campaign:
        campaign.update_galaxies([(f"g{n}", f"g{n}.jpg") for n in range(MIN_LABELLED)], MISSING)
        place = campaign.join("Ada")
        while place.question:
            place = campaign.answer(
                place.person, place.galaxy, "label", "spiral", version=place.version, key=str(place.version)
            )
        yield campaign, folder


def fake(monkeypatch, code):
    """Trainings run this Python instead of ours."""
    real = subprocess.Popen

    def start(words, **options):
        assert words[:3] == [sys.executable, "-P", "-m"]  # never a module of the current folder
        return real([sys.executable, "-c", code, words[words.index("-o") + 1]], **options)

    monkeypatch.setattr(subprocess, "Popen", start)


def until(training, *states):
    for _ in range(200):
        if training.status()["state"] in states:
            return training.status()
        threading.Event().wait(0.05)
    raise AssertionError(training.status())


def test_only_one_training_at_a_time_and_it_can_be_stopped(trainable, tmp_path, monkeypatch):
    fake(monkeypatch, "import time\nprint('epoch 1', flush=True)\ntime.sleep(60)")
    first, second = (FineTuning(*trainable, tmp_path / "runs", init="fast") for _ in range(2))
    assert first.status() == {"state": "none"}
    assert first.start()["state"] == "running"
    assert second.status()["state"] == "elsewhere"  # another server, such as after a kill
    for training in (first, second):
        with pytest.raises(LabellingError, match="running"):
            training.start()
    while "epoch 1" not in first.status()["log"]:
        assert first.status()["state"] == "running"
    assert first.status()["log"].startswith("$ tuningfork train --init fast")
    first.stop()
    assert first.status()["state"] == "stopped"
    assert second.status()["state"] == "none"
    second.start()
    second.stop()
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["run-1", "run-2", "training.lock"]


def test_a_training_that_ends_well_names_its_model(trainable, tmp_path, monkeypatch):
    fake(monkeypatch, "import pathlib, sys\npathlib.Path(sys.argv[1], 'bundle').mkdir()")
    training = FineTuning(*trainable, tmp_path / "runs", init="fast")
    training.start()
    assert until(training, "done", "failed")["model"] == str(tmp_path / "runs" / "run-1" / "bundle")


def test_a_training_that_fails_says_so(trainable, tmp_path, monkeypatch):
    fake(monkeypatch, "raise SystemExit('no space left on the disk')")
    training = FineTuning(*trainable, tmp_path / "runs", init="fast")
    training.start()
    told = until(training, "done", "failed")
    assert (told["state"], told["model"]) == ("failed", "")
    assert "no space left" in told["log"]


def test_the_server_takes_its_training_with_it(trainable, tmp_path, monkeypatch):
    fake(monkeypatch, "import time\ntime.sleep(60)")
    training = FineTuning(*trainable, tmp_path / "runs", init="fast")
    with client_of(*trainable, training) as client:
        assert client.post("/api/training").json()["state"] == "running"
        assert client.post("/api/training").status_code == 400
    assert training.status()["state"] == "stopped"


def test_too_few_labels_are_no_training(campaign, folder, tmp_path):
    with client_of(campaign, folder, FineTuning(campaign, folder, tmp_path / "runs", init="fast")) as client:
        told = client.post("/api/training")
        assert (told.status_code, client.get("/api/training").json()) == (400, {"state": "none"})
        assert "at least" in told.json()["error"]
    with client_of(campaign, folder) as client:
        assert client.post("/api/training").status_code == 404


def test_the_command_that_is_printed():
    words = train_command(Path("p"), Path("v.csv"), Path("run"), init="default", tree="gz_decals")
    assert words == [
        "tuningfork",
        "train",
        "--init",
        "default",
        "--images",
        "p",
        "--labels",
        "v.csv",
        "-o",
        "run",
        "--tree",
        "gz_decals",
    ]


# ------------------------------------------------------------------ the command


@contextmanager
def served(folder, *words):
    """`tuningfork label` as a process; gives the process and its address."""
    command = [sys.executable, "-m", "tuningfork", "label", str(folder), "--port", "0", "--json", "--model", "none"]
    with subprocess.Popen(
        [*command, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)["address"]
        finally:
            process.kill()


@pytest.fixture
def post():
    """Send JSON as one browser does: it keeps its cookies."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def send(address, path, **sent):
        request = urllib.request.Request(
            address + path, json.dumps(sent).encode(), {"content-type": "application/json"}, method="POST"
        )
        with opener.open(request, timeout=20) as answer:
            return json.load(answer)

    return send


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_command_serves_until_it_is_interrupted(folder, run, post):
    with served(folder, "--class", "spiral", "--class", "other") as (process, address):
        place = post(address, "api/people", name="Ada")
        assert [each["text"] for each in place["question"]["answers"]] == ["spiral", "other"]
        post(
            address, "api/answer", campaign=place["campaign"], person=1, version=0, galaxy=place["galaxy"], key="k",
            question="label", answer="spiral",
        )  # fmt: skip
        second = run("label", folder, "--model", "none", "--port", 0, code=1)
        assert "another tuningfork label is using it" in second.stderr
        told = json.loads(run("label", folder, "--agreement", "--json").stdout)  # meanwhile
        assert told["answers"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        said = process.stderr.read()
    assert "3 images are left out" in said
    assert "torn" in said
    assert "every answer is stored" in said


def test_votes_answers_and_manifest_by_command(folder, run, tmp_path, campaign):
    place = campaign.join("Ada")
    while place.question:
        asked = place.question
        place = campaign.answer(
            place.person, place.galaxy, asked.key, asked.answers[0].key, version=place.version, key=str(place.version)
        )
    database = ("--database", tmp_path / "labels.sqlite")
    votes = tmp_path / "votes.csv"
    told = run("label", folder, *database, "--export", votes, code=3)  # two pictures were left out
    assert f"{votes}: 4 galaxies" in told.stdout
    assert f"tuningfork train --init fast --images {folder} --labels {votes} -o run --tree gz2" in told.stdout
    assert "failed:" in told.stderr
    assert "torn.jpg (torn)" in told.stderr
    run("lint", votes)
    as_json = run("label", folder, *database, "--export", votes, "--json", "--overwrite", code=3)
    assert json.loads(as_json.stdout)["rows"] == 4
    for kind, rows in (("answers", 16), ("zooniverse", 4)):
        told = run("label", folder, *database, "--export", tmp_path / f"{kind}.csv", "--format", kind, code=3)
        assert f": {rows} " in told.stdout
    table = run("label", folder, *database, "--agreement").stdout
    assert "Is the galaxy simply smooth" in table
    assert "Ada: 4 galaxies" in table


def test_texts_of_a_tree_are_no_markup(tmp_path, run, folder):
    """A question's text that looks like Rich's markup is shown as it is, and ends nothing."""
    texts = ["[/bold] a [red]disk[/red]? [/]", "[link=http://evil.example]A bar?[/link]"]
    questions = [
        {"key": f"q{n}", "text": text, "answers": [
            {"key": "yes", "text": "[/]", "column": f"{n}y"}, {"key": "no", "text": "no", "column": f"{n}n"}]}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    tree = DecisionTree.from_dict({"name": "hostile", "title": "[/]", "questions": questions})
    Campaign(tmp_path / "l.sqlite", tree).close()
    shown = run("label", folder, "--database", tmp_path / "l.sqlite", "--agreement").stdout
    assert all(text in shown for text in texts)


def test_a_database_of_another_tree_and_wrong_words_are_refused(folder, run, tmp_path):
    Campaign(tmp_path / "l.sqlite", OWN).close()
    wrong = run("label", folder, "--database", tmp_path / "l.sqlite", "--tree", "gz2", "--model", "none", code=1)
    assert "holds answers to the tree 'labels'" in wrong.stderr
    assert "label some galaxies first" in run("label", folder, "--export", tmp_path / "v.csv", code=1).stderr
    assert "--class" in run("label", folder, "--class", "spiral", code=1).stderr
    run("label", folder, "--class", "a", "--class", "b", "--tree", "gz2", code=2)
    run("label", folder, "--export", tmp_path / "v.csv", "--format", "xml", code=2)
    run("label", tmp_path / "none", code=2)
    assert not (folder / "labels.sqlite").exists()


def test_a_table_of_classes_is_a_tree(folder, tmp_path, post):
    (tmp_path / "classes.csv").write_text("id,label\n1,ring\n2,disk\n3,ring\n")
    with served(folder, "--tree", tmp_path / "classes.csv") as (_, address):
        place = post(address, "api/people", name="Ada")
        assert [each["text"] for each in place["question"]["answers"]] == ["disk", "ring"]


# ------------------------------------------------------------------ kills, and what trains


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_two_people_a_hundred_galaxies_and_a_kill(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "label_two.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "--json"], capture_output=True, text=True, check=True, timeout=150
    )
    told = json.loads(done.stdout)
    assert told["galaxies"] == 100
    assert told["kills"] >= 1
    assert told["lost"] == told["double"] == told["changed"] == 0
    assert told["finished"] == {"Ada": 100, "Ben": 100}
    assert told["confirmed"] <= told["kept"]


@pytest.mark.slow
def test_labels_train_a_model(tmp_path, run):
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(MIN_LABELLED + 2):
        Image.fromarray(render(draw(5, number))).resize((64, 64)).save(folder / f"{number}.png")
    with Campaign(tmp_path / "labels.sqlite", load_tree("gz2"), tree_name="gz2") as campaign:
        update_from_folder(campaign, folder)
        put_in_order(campaign, folder, OrderSource())
        place = campaign.join("Ada")
        while place.question:
            options = place.question.answers
            place = campaign.answer(
                place.person, place.galaxy, place.question.key, options[place.galaxy % len(options)].key,
                version=place.version, key=str(place.version),
            )  # fmt: skip
        options = ("--epochs", "1", "--batch", "4", "--size", "32", "--threads", "1", "--workers", "0", "--no-cache")
        training = FineTuning(campaign, folder, tmp_path / "runs", init="fast", options=options)
        training.start()
        told = None
        for _ in range(1500):
            told = training.status()
            if told["state"] != "running":
                break
            threading.Event().wait(0.1)
        assert told["state"] == "done", told["log"]
    assert run("predict", folder / "0.png", "--model", told["model"]).stdout
