"""The map: galaxies that are alike lie together, points show their pictures; the page runs only its own script."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from pages import fits, needs_chromium, unreadable, window

from tuningfork.model.bundle import write_bundle
from tuningfork.model.embeddings import Embedder
from tuningfork.model.model import load
from tuningfork.similarity import map_page as drawing
from tuningfork.similarity.map_page import Sample, galaxy_map, map_page, sample_galaxies
from tuningfork.similarity.projection import MIN_GALAXIES, MapError, project
from tuningfork.simulation import simulate
from tuningfork.tables import read_table
from tuningfork.tables.arrow import text_array, vector_array
from tuningfork.votes.clean_samples import NO_CLASS

try:
    from playwright.sync_api import expect
except ImportError:  # the fixture `browser` skips its tests
    expect = None

EMBEDDER = Embedder("small", "ab" * 32, 4, 6)
HOSTILE = "<script>alert('1')</script>"


def batches_of(count, size=7, missing=()):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(count, 6)).astype(np.float32)
    values[list(missing)] = np.nan
    columns = [text_array([f"g{n}" for n in range(count)]), text_array([f"{n}.jpg" for n in range(count)])]
    schema = pa.schema([("id", pa.string()), ("path", pa.string()), EMBEDDER.field])
    table = pa.Table.from_arrays([*columns, vector_array(values)], schema=schema)
    return table.to_batches(max_chunksize=size), values


# ------------------------------------------------------------------ which galaxies


def test_few_galaxies_are_all_on_the_map_in_their_order():
    batches, values = batches_of(30, missing=(4, 11))
    sample = sample_galaxies(batches, 40)
    good = [n for n in range(30) if n not in (4, 11)]
    assert sample.ids == tuple(f"g{n}" for n in good)
    assert sample.paths == tuple(f"{n}.jpg" for n in good)
    assert set(sample.kinds) == {""}
    assert (sample.total, sample.failed) == (28, 2)
    np.testing.assert_array_equal(sample.embeddings, values[good])


def test_of_many_galaxies_a_seeded_sample_is_drawn_each_as_likely():
    batches, _ = batches_of(200)
    assert sample_galaxies(batches, 50, 3).ids == sample_galaxies(batches, 50, 3).ids
    drawn = [set(sample_galaxies(batches, 50, seed).ids) for seed in range(60)]
    assert {len(each) for each in drawn} == {50}
    counts = np.array([sum(f"g{n}" in each for each in drawn) for n in range(200)])
    # Each a binomial of 60 and 1/4: mean 15, standard deviation 3.4.
    assert counts.min() > 1
    assert counts.max() < 32
    assert abs(counts[:100].mean() - 15) < 2


def test_of_nothing_the_sample_is_empty():
    batches, _ = batches_of(3, missing=(0, 1, 2))
    assert sample_galaxies(batches).total == sample_galaxies([]).total == 0


# ------------------------------------------------------------------ where they lie


def test_too_few_galaxies_make_no_map():
    with pytest.raises(MapError, match="at least 20"):
        project(np.eye(MIN_GALAXIES - 1))


def test_without_umap_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MapError, match=r"pip install '\.\[similar\]'"):
        project(np.random.default_rng(0).normal(size=(MIN_GALAXIES, 5)))


@pytest.mark.slow
def test_umap_puts_together_what_is_alike_and_the_seed_decides_it():
    pytest.importorskip("umap")
    rng = np.random.default_rng(1)
    kinds = np.repeat(np.arange(3), 40)
    values = 5 * np.eye(3, 12)[kinds] + rng.normal(0, 0.4, (120, 12))
    places = project(values, 7)
    np.testing.assert_array_equal(places, project(values, 7))
    assert places.min() >= 0
    assert places.max() <= 1
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(120) * 9
    near = np.argsort(apart, 1)[:, :5]
    assert (kinds[near] == kinds[:, None]).mean() > 0.98


# ------------------------------------------------------------------ how it looks


class _Page(HTMLParser):
    """Tags, addresses, and the labels of what can be chosen."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.inputs = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        self.tags.append(tag)
        self.addresses += [about[key] for key in ("src", "href") if key in about]
        if tag == "input":
            self.inputs.append(about)


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("map") / "sim", 24, seed=2, workers=1) / "images_training_rev1"


@pytest.fixture
def flat(monkeypatch):
    """The map without UMAP: embeddings lie where their first two numbers say."""
    monkeypatch.setattr(drawing, "project", lambda embeddings, seed: embeddings[:, :2])


def sample_of(galaxies, count=24):
    paths = [str(path) for path in sorted(galaxies.iterdir())[:count]]
    places = np.random.default_rng(0).random((count, 6)).astype(np.float32)
    kinds = tuple(("spiral", "round & smooth", "")[n % 3] for n in range(count))
    return Sample(tuple(f"g{n}" for n in range(count)), tuple(paths), kinds, places, 100, 0)


def test_each_galaxy_is_a_point_that_can_be_reached_by_keyboard(galaxies, flat):
    sample = sample_of(galaxies)
    html = galaxy_map(sample)
    page = _Page(html)
    points = [about for about in page.inputs if "aria-label" in about]
    assert {about["type"] for about in points} == {"radio"}
    assert {about["name"] for about in points} == {"galaxy"}
    assert sorted(about["aria-label"] for about in points) == sorted(
        f"{name}, {kind}" if kind else name for name, kind in zip(sample.ids, sample.kinds, strict=True)
    )
    assert "24 galaxies, drawn at random from 100" in html
    assert {"script", "img", "iframe", "link"}.isdisjoint(page.tags)
    assert "http" not in html
    # One box for each kind, with its number of galaxies.
    assert sum(about["type"] == "checkbox" for about in page.inputs) == 3
    for words in ("spiral (8)", "round &amp; smooth (8)", "no class (8)"):
        assert words in html


def test_galaxies_without_a_class_are_the_grey_background(galaxies, flat):
    sample = sample_of(galaxies)
    kinds = (NO_CLASS, "a", "", *"bcdefgh", *[NO_CLASS] * 14)
    page = str(galaxy_map(replace(sample, kinds=kinds)))
    assert page.count(drawing._GREY) == 2
    assert page.count(drawing._COLOURS[0]) == 2  # eight classes have seven colours


def test_a_point_shows_its_own_image(galaxies, flat):
    import base64
    import io

    from PIL import Image

    from tuningfork.images.encode import thumbnail

    sample = sample_of(galaxies)
    html = galaxy_map(sample)
    sheet = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^)]*)\)", html)[1])))
    assert sheet.size == (5 * 64, 5 * 64)
    pixels = np.asarray(sheet).astype(float)
    found = re.findall(r'left:([\d.]+)%;top:([\d.]+)%;--c:(\d+);--r:(\d+)"><input[^>]*aria-label="g(\d+)', html)
    assert len(found) == 24
    for x, y, column, row, name in found:
        np.testing.assert_allclose((float(x), float(y)), 2 + 96 * sample.embeddings[int(name), :2], atol=0.01)
        own = thumbnail(sample.paths[int(name)], 0.5, 64).astype(float)
        cell = pixels[int(row) * 64 :, int(column) * 64 :][:64, :64]
        assert np.abs(cell - own).mean() < 8


def test_the_arrow_keys_go_to_a_near_point():
    places = np.random.default_rng(4).random((400, 2)).astype(np.float32)
    order = drawing._to_and_fro(places)
    assert sorted(order.tolist()) == list(range(400))
    steps = np.linalg.norm(np.diff(places[order], axis=0), axis=1)
    assert np.median(steps) < 0.1
    assert steps.max() < 0.5


def test_names_are_text_and_lost_images_are_reported(flat):
    names = (HOSTILE,) * 20
    sample = Sample(names, ("/nowhere/x.jpg",) * 20, names, np.random.default_rng(0).random((20, 6)), 20, 0)
    html = galaxy_map(sample)
    assert HOSTILE not in html
    assert "script" not in _Page(html).tags
    assert "20 images are not where they were" in html


@pytest.fixture(scope="module")
def page_file(galaxies, tmp_path_factory):
    """The page of a map whose points lie where their first two numbers say."""
    file = tmp_path_factory.mktemp("page") / "map.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "project", lambda embeddings, seed: embeddings[:, :2])
        drawn = galaxy_map(sample_of(galaxies))
    file.write_text(map_page(drawn, "votes.parquet", "fast"), "utf-8")
    return file


@pytest.mark.slow
@needs_chromium
def test_points_answer_to_pointer_keys_and_boxes_in_a_browser(page_file, browser):
    with window(browser, page_file.as_uri(), viewport={"width": 390, "height": 800}) as screen:
        assert screen.title() == "Galaxy map: votes.parquet"
        points, cards = screen.locator(".map .p input"), screen.locator(".map .p b")

        def shown():
            return [row for row in range(24) if cards.nth(row).is_visible()]

        assert shown() == []
        points.nth(4).hover()
        assert shown() == [4]
        points.nth(9).focus()
        screen.keyboard.press("ArrowRight")
        assert points.nth(10).is_checked()
        assert 10 in shown()
        screen.get_by_label("close the image").check()
        assert 10 not in shown()
        screen.get_by_label("spiral (8)").uncheck()
        assert sum(points.nth(row).is_visible() for row in range(24)) == 16
        width = screen.locator(".plane").bounding_box()["width"]
        screen.get_by_label("4×").check()
        assert screen.locator(".plane").bounding_box()["width"] == pytest.approx(4 * width, rel=0.01)
        assert fits(screen)


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_wheel_zooms_and_a_lasso_selects_what_is_saved(page_file, browser, galaxies, scheme, tmp_path):
    with window(browser, page_file.as_uri(), color_scheme=scheme) as screen:
        plane, box = screen.locator(".plane"), screen.locator(".box")
        box.scroll_into_view_if_needed()
        assert unreadable(screen) == []
        before, place = plane.bounding_box(), box.bounding_box()
        dot = screen.locator(".map .p input").first.bounding_box()
        assert dot["width"] == pytest.approx(dot["height"], abs=0.5)
        x, y = place["x"] + 0.7 * place["width"], place["y"] + 0.3 * place["height"]
        screen.mouse.move(x, y)
        screen.mouse.wheel(0, -600)
        expect(plane).not_to_have_js_property("clientWidth", round(before["width"]))
        after = plane.bounding_box()
        assert after["width"] > 1.5 * before["width"]
        # What was below the pointer is still there.
        assert (x - after["x"]) / after["width"] == pytest.approx((x - before["x"]) / before["width"], abs=0.01)
        screen.mouse.wheel(0, 5000)
        expect(plane).to_have_js_property("clientWidth", round(before["width"]))
        screen.get_by_role("button", name="Lasso").click()
        corners = [(0.02, 0.02), (0.5, 0.02), (0.5, 0.97), (0.02, 0.97)]
        spots = [(place["x"] + u * place["width"], place["y"] + v * place["height"]) for u, v in corners]
        screen.mouse.move(*spots[0])
        screen.mouse.down()
        for spot in spots[1:]:
            screen.mouse.move(*spot)
        screen.mouse.up()
        sample = sample_of(galaxies)
        left = {name for name, at in zip(sample.ids, sample.embeddings, strict=True) if 2 + 96 * at[0] < 50}
        expect(screen.get_by_role("status")).to_have_text(f"{len(left)} selected")
        first = screen.locator(".map .p:not(.selected) input").first
        first.focus()
        screen.keyboard.press("s")
        expect(screen.get_by_role("status")).to_have_text(f"{len(left) + 1} selected")
        screen.keyboard.press("s")
        with screen.expect_download() as download:
            screen.get_by_role("button", name=f"Save {len(left)}").click()
        download.value.save_as(tmp_path / "a.csv")
        table = read_table(tmp_path / "a.csv")
        assert set(table["id"].to_pylist()) == left
        assert set(table["class_name"].to_pylist()) <= {"spiral", "round & smooth", "no class"}
        screen.get_by_label("File format").select_option("VOTable")
        with screen.expect_download() as download:
            screen.get_by_role("button", name=f"Save {len(left)}").click()
        download.value.save_as(tmp_path / "a.vot")
        assert read_table(tmp_path / "a.vot").num_rows == len(left)


@pytest.mark.slow
def test_the_command_draws_tables_and_images(run, galaxies, tmp_path):
    pytest.importorskip("umap")
    (tmp_path / "moved").mkdir()
    for path in galaxies.iterdir():
        shutil.copy(path, tmp_path / "moved")
    run("predict", tmp_path / "moved", "-o", tmp_path / "votes.parquet", "--embeddings", "--model", "fast")
    shutil.move(tmp_path / "moved", tmp_path / "elsewhere")
    said = run("map", tmp_path / "votes.parquet", "-o", tmp_path / "a.html", "--images", tmp_path / "elsewhere").stdout
    assert "24 of 24 galaxies" in said
    assert "not where they were" not in (tmp_path / "a.html").read_text("utf-8")
    run("map", galaxies, "-o", tmp_path / "b.html", "--model", "fast", "--max", "20")
    page = (tmp_path / "b.html").read_text("utf-8")
    assert "default-src 'none'" in page
    assert sum("aria-label" in about for about in _Page(page).inputs) == 20


def test_the_command_says_what_is_missing(run, galaxies, tmp_path):
    run("predict", galaxies, "-o", tmp_path / "votes.parquet", "--model", "fast")
    assert "--embeddings" in run("map", tmp_path / "votes.parquet", "-o", tmp_path / "a.html", code=1).stderr
    some = sorted(galaxies.iterdir())[:3]
    assert "at least 20" in run("map", *some, "-o", tmp_path / "a.html", "--model", "fast", code=1).stderr
    assert not (tmp_path / "a.html").exists()


# ------------------------------------------------------------------ in a report


def study_of(galaxies, tree, folder=None):
    from types import SimpleNamespace

    paths = tuple(str(path) for path in sorted(galaxies.iterdir()))
    run = SimpleNamespace(
        name="small/seed-0", network="mobilenetv2_100", folder=folder, ids=tuple(map(str, range(24))), paths=paths,
        classes=np.arange(24) % 8 - 1, tree=tree, recipe={"crop": 0.5}, predicted=None, parts=np.array(["test"] * 24),
        probability=np.full((24, 7), 1 / 7),
    )  # fmt: skip
    return SimpleNamespace(runs=[run])


def test_a_report_maps_its_galaxies_by_its_best_run(galaxies, flat, gz2, tmp_path, monkeypatch):
    from tuningfork.experiments.report import galaxy_map as module

    write_bundle(load("fast").bundle, tmp_path / "bundle")
    study = study_of(galaxies, gz2, tmp_path)
    monkeypatch.setattr(module, "best_run", lambda runs, kind: runs[0] if runs else None)
    shown, seen = module.map_galaxies(study)
    html = shown["section"]
    assert seen == {"run": "small/seed-0", "galaxies": 24, "of": 24, "without_picture": 0}
    assert sum("aria-label" in about for about in _Page(html).inputs) == 24
    assert "no class (3)" in html
    _, seen = module.map_galaxies(study, points=21)
    assert (seen["galaxies"], seen["of"]) == (21, 24)


def test_a_report_without_a_model_says_so(galaxies, gz2, tmp_path):
    from tuningfork.experiments.report.galaxy_map import map_galaxies

    shown, seen = map_galaxies(study_of(galaxies, gz2, tmp_path))
    assert seen == {"absent": "No run has its bundle any more"}
    assert shown == {}
