"""`tuningfork cache`: what is kept, and that nothing else is ever deleted."""

import json

import numpy as np
import pytest

from tuningfork._utils.files import default_cache
from tuningfork.surveys.cache import Cache


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tuningfork"


def test_what_is_kept_is_listed_and_cleared_and_nothing_else_is(run, place, tmp_path):
    from PIL import Image

    from tuningfork.training.image_cache import cached_array, content_key, open_cache

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    paths = [tmp_path / "a.png"]
    Cache(place / "sky", 10**6).put("request", b"answer" * 100)
    (place / "tiles").mkdir()
    (place / "tiles" / f"{'0' * 64}.json").write_text("[]")
    open_cache(paths, content_key(["a"], paths), 32, place)
    cached_array(place, ("teacher", 1), lambda: np.zeros(3))
    (place / f"tuning-{'0' * 16}.json").write_text("{}")
    # Others' files, and a link to a folder outside.
    for name in ("notes.txt", "sky/mine.txt", "sky/ab/keep", f"{'a' * 24}-32/images.npy.bak"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("precious")
    (tmp_path / "outside" / "ab").mkdir(parents=True)
    (tmp_path / "outside" / "ab" / ("c" * 62)).write_text("precious")
    (place / "link").symlink_to(tmp_path / "outside")
    (place / "sky" / "cd").symlink_to(tmp_path / "outside" / "ab")

    kept = json.loads(run("cache", "--json").stdout)
    assert kept["folder"] == str(default_cache()) == str(place)
    assert {name: each["files"] for name, each in kept["kept"].items()} == {
        "sky": 1,
        "tiles": 1,
        "images": 3,
        "tuning": 1,
    }
    assert "answers of survey services" in run("cache").stdout
    assert "mean" in run("cache", "--clear", "tile", code=2).stderr
    run("cache", "sky", code=2)

    assert json.loads(run("cache", "--clear", "tiles", "--json").stdout)["cleared"]["tiles"]["files"] == 1
    assert "5 files deleted" in run("cache", "--clear").stdout
    left = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    assert left == [f"{'a' * 24}-32/images.npy.bak", "notes.txt", "sky/ab/keep", "sky/mine.txt"]
    assert (tmp_path / "outside" / "ab" / ("c" * 62)).read_text() == "precious"
    assert sum(each["files"] for each in json.loads(run("cache", "--json").stdout)["kept"].values()) == 0


def test_a_machine_that_keeps_nothing(run, place):
    assert "0" in run("cache").stdout
    assert run("cache", "--clear").stdout == f"{place}: 0 files deleted, 0.0 MB freed\n"
