"""Galleries: what the page holds is what the table says; images that are missing are counted; nothing is markup."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from tuningfork.display.gallery import GalleryError, GalleryOptions, write_gallery
from tuningfork.display.prediction_columns import ColumnError
from tuningfork.display.scripts import joined
from tuningfork.votes.clean_samples import NO_CLASS
from tuningfork.votes.fractions import conditional_from_logits
from tuningfork.votes.tree_files import load_tree

ROWS = 150
HOSTILE = "</script><script>alert(1)</script>"
NAMES = [HOSTILE, "0123", 'a,b"c', *(f"g{row}" for row in range(3, ROWS))]


@pytest.fixture(scope="module")
def tree():
    return load_tree("gz2")


@pytest.fixture(scope="module")
def table(tree):
    votes = conditional_from_logits(np.random.default_rng(0).normal(0, 2, (ROWS, len(tree.columns))), tree)
    votes[5] = np.nan
    columns = dict(zip(tree.fraction_names, votes.T, strict=True))
    bounds = {f"{name.removesuffix('_fraction')}_{end}": np.clip(values + step, 0, 1)
              for name, values in columns.items() for end, step in (("low", -0.1), ("high", 0.1))}  # fmt: skip
    names = [tree.classes[row % 7].name if row % 3 else NO_CLASS for row in range(ROWS)]
    error = [""] * ROWS
    error[5], names[5] = "damaged", None
    return pa.table(
        {
            "id": NAMES,
            "path": [f"{row}.jpg" for row in range(ROWS)],
            **columns,
            **bounds,
            "interval_level": [0.9] * ROWS,
            "class_name": names,
            "clean_class": [name if row % 2 else None for row, name in enumerate(names)],
            "out_of_domain": [row == 7 for row in range(ROWS)],
            "warning": ["a part without data" if row == 8 else "" for row in range(ROWS)],
            "error": error,
            "redshift": np.linspace(0, 0.2, ROWS),
        }
    )


def colour(name, path):
    """A grey thumbnail that says which row it is; row 9 has none."""
    row = int(path.removesuffix(".jpg"))
    return None if row == 9 else np.full((16, 16, 3), 40 + row, np.uint8)


def write(table, tree, output, **options):
    blocks = [table.slice(at, 64) for at in range(0, table.num_rows, 64)]
    return write_gallery(blocks, tree, output, colour, GalleryOptions(side=16, **options))


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def column(data, name, dtype=np.uint8):
    return np.frombuffer(base64.b64decode(data["columns"][name]), dtype)


def test_a_page_holds_the_table(table, tree, tmp_path):
    report = write(table, tree, tmp_path / "g.html", columns=("redshift",))
    assert (report.galaxies, report.total, report.without_image, report.without_prediction) == (ROWS, ROWS, 1, 1)
    page = (tmp_path / "g.html").read_text("utf-8")
    assert report.bytes == len(page.encode())
    data = data_of(page)
    assert data["ids"] == NAMES
    fractions = column(data, "fractions").reshape(ROWS, -1)
    known = np.column_stack([table[name].to_numpy() for name in tree.fraction_names])
    np.testing.assert_allclose(fractions[:5] / 200 + 0.0025, known[:5], atol=0.0026)
    # The page rounds halves up: the percentages are those of the table.
    np.testing.assert_array_equal(np.floor(fractions[:5] / 2 + 0.5), np.floor(100 * known[:5] + 0.5))
    assert (fractions[5] == 255).all()
    low = column(data, "low").reshape(ROWS, -1)
    assert low[0, 0] / 200 == pytest.approx(table["smooth_or_features_smooth_low"][0].as_py(), abs=0.0051)
    names = [data["classes"][code] if code < 255 else None for code in column(data, "class")]
    assert names == table["class_name"].to_pylist()
    assert np.flatnonzero(column(data, "flags")).tolist() == [5, 7, 8]
    assert data["messages"] == {"5": "No prediction: damaged", "8": "a part without data"}
    assert np.flatnonzero(column(data, "image") == 0).tolist() == [9]
    extra = np.frombuffer(base64.b64decode(data["extra"]["redshift"]), "<f4")
    np.testing.assert_allclose(extra, np.linspace(0, 0.2, ROWS), atol=1e-6)
    assert data["interval_level"] == 0.9
    sheets = re.findall(r'<script type="text/plain" id="sheet-(\d+)">([^<]*)<', page)
    assert len(sheets) == 3
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheets[1][1]))))
    assert abs(int(sheet[8, 40, 0]) - (40 + 64 + 2)) < 4  # the third of the second sheet


def test_names_are_no_markup_and_the_policy_allows_one_script(table, tree, tmp_path):
    write(table, tree, tmp_path / "g.html", title=HOSTILE)
    page = (tmp_path / "g.html").read_text("utf-8")
    assert HOSTILE not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert joined("dom.js", "tree.js", "save.js", "browse.js", "gallery.js").source in policy
    assert "http" not in policy
    assert re.findall(r"<script(?![^>]*(?:json|plain))[^>]*>", page) == ['<script type="module">']
    assert "needs\nJavaScript" in page


def test_a_folder_has_its_sheets_beside_it(table, tree, tmp_path):
    report = write(table, tree, tmp_path / "g")
    assert sorted(path.name for path in (tmp_path / "g/sheets").iterdir()) == [f"{n:05d}.jpg" for n in range(3)]
    assert report.bytes == sum(path.stat().st_size for path in (tmp_path / "g").rglob("*") if path.is_file())
    assert data_of((tmp_path / "g/index.html").read_text("utf-8"))["sheets"]["folder"] == "sheets"


def test_an_interrupted_page_leaves_the_one_before_as_it_was(table, tree, tmp_path):
    write(table, tree, tmp_path / "g")
    before = {path: path.read_bytes() for path in (tmp_path / "g").rglob("*") if path.is_file()}

    def stop(done, total):
        if done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gallery([table], tree, tmp_path / "g", lambda *_: None, GalleryOptions(side=16), progress=stop)
    assert {path: path.read_bytes() for path in (tmp_path / "g").rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in (tmp_path / "g").iterdir()) == ["index.html", "sheets"]


def test_of_too_many_galaxies_some_are_drawn_at_random(table, tree, tmp_path):
    report = write(table, tree, tmp_path / "g.html", most=20)
    assert (report.galaxies, report.total) == (20, ROWS)
    page = (tmp_path / "g.html").read_text("utf-8")
    assert "20 galaxies, drawn at random from 150" in page
    rows = [NAMES.index(name) for name in data_of(page)["ids"]]
    assert rows == sorted(rows)
    assert rows != list(range(20))


def test_what_cannot_be_shown_says_why(table, tree, tmp_path):
    with pytest.raises(GalleryError, match="no rows"):
        write(table.slice(0, 0), tree, tmp_path / "g.html")
    with pytest.raises(ColumnError, match="bar_yes_fraction"):
        write(table.drop_columns(["bar_yes_fraction"]), tree, tmp_path / "g.html")
    with pytest.raises(GalleryError, match="no column 'z'"):
        write(table, tree, tmp_path / "g.html", columns=("z",))
    assert list(tmp_path.iterdir()) == []


def test_the_command_counts_images_that_are_not_there(run, table, tmp_path):
    parquet.write_table(table, tmp_path / "votes.parquet")
    told = run("gallery", tmp_path / "votes.parquet", "-o", tmp_path / "g", code=3)
    assert "150 galaxies" in told.stdout
    assert "150 of 150 images cannot be read: name the folder where they are with --images" in told.stderr
    (tmp_path / "images").mkdir()
    for row in range(ROWS):
        Image.new("RGB", (20, 20)).save(tmp_path / f"images/{row}.jpg")
    done = run(
        "gallery", tmp_path / "votes.parquet", "-o", tmp_path / "g", "--images", tmp_path / "images", "--overwrite"
    )
    assert "cannot be read" not in done.stderr
    assert "not empty" in run("gallery", tmp_path / "votes.parquet", "-o", tmp_path / "g", code=1).stderr
