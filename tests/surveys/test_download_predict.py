"""`predict CATALOG --source …`: positions → cutouts → votes, with where each picture comes from."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("requests")

from skyserver import RADIUS, Fault, Source, picture, sky_server

import tuningfork
from tuningfork.surveys import is_cutouts
from tuningfork.tables import read_table

PLACES = [Source(n, 150 + n / 10, 2 + n / 5) for n in range(5)]


@pytest.fixture(scope="module")
def sky():
    with sky_server(PLACES) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(sky):
    sky.faults.clear()
    sky.asked_of.clear()


@pytest.fixture
def catalogue(tmp_path):
    lines = [f"g{s.number},{s.ra},{s.dec},{RADIUS}" for s in PLACES]
    lines.insert(2, "south,10,-60,5")
    lines.insert(4, "lost,,,5")
    file = tmp_path / "galaxies.csv"
    file.write_text("\n".join(["id,ra,dec,radius", *lines]) + "\n")
    return file


@pytest.fixture
def words(sky, catalogue):
    """The command without an output."""
    return (
        *("predict", catalogue, "--source", "hips:CDS/P/SDSS9/color", "--mirror", sky.hips2fits, "--model", "fast"),
        *("--radius-column", "radius", "--rate", "1000", "--cache-size", "0"),
        *("--pixels", "212"),
    )


def test_votes_of_positions_with_where_the_images_come_from(sky, words, tmp_path, run):
    result = run(*words, "-o", tmp_path / "votes.parquet", code=3)
    assert re.search(r"7 galaxies in .* s .*, 2 failed", result.stdout)
    rows = pq.read_table(tmp_path / "votes.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["g0", "g1", "south", "g2", "lost", "g3", "g4"]
    assert rows[2]["error"] == f"{sky.address.removeprefix('http://')}: blank: outside of the survey's footprint"
    assert rows[4]["error"] == "no position: column 'ra' is empty"
    model = tuningfork.load("fast")
    for source, row in zip(PLACES, [row for row in rows if not row["error"]], strict=True):
        assert (row["cutout_source"], row["cutout_layer"]) == ("hips", "CDS/P/SDSS9/color")
        assert row["cutout_pixel_scale"] == pytest.approx(0.04 * RADIUS)
        assert row["cutout_time"].endswith("Z")
        assert row["ra"] == pytest.approx(source.ra)
        # The very galaxy that stands there: the same votes but for JPEG and the projection.
        own = model.predict(picture(source.number))
        assert (
            abs(row["smooth_or_features_smooth_fraction"] - own.fractions["smooth_or_features_smooth_fraction"]) < 0.1
        )
    for row in (rows[2], rows[4]):
        assert row["cutout_source"] is None
        assert row["class_name"] == ""
    assert rows[2]["ra"] == 10
    assert (tmp_path / "votes-cutouts" / "cutouts.parquet").exists()


def test_a_second_prediction_asks_for_no_image_again_but_for_those_that_failed(sky, words, tmp_path, run):
    sky.faults[150.2] = Fault("404", times=1)
    folder = tmp_path / "kept"
    run(*words, "--cutouts", folder, "-o", tmp_path / "one.csv", code=3)
    sky.asked_of.clear()
    run(*words, "--cutouts", folder, "-o", tmp_path / "two.csv", code=3)
    assert set(sky.asked_of) == {150.2, 10.0}
    one, two = (read_table(tmp_path / f"{name}.csv").to_pylist() for name in ("one", "two"))
    assert one[3]["error"]
    assert not two[3]["error"]
    assert [row for n, row in enumerate(one) if n != 3] == [row for n, row in enumerate(two) if n != 3]


def test_a_run_that_is_gone_on_with_keeps_to_the_images_that_it_began_with(sky, words, tmp_path, run, monkeypatch):
    sky.faults[150.2] = Fault("404", times=1)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tuningfork.pipeline.predict.merge", stop)
        run(*words, "-o", tmp_path / "votes.csv", code=130)
    sky.asked_of.clear()
    run(*words, "-o", tmp_path / "votes.csv", "--resume", code=3)
    assert not sky.asked_of
    assert "HTTP 404" in read_table(tmp_path / "votes.csv").to_pylist()[3]["error"]


@pytest.mark.parametrize("extension", ["csv", "fits", "vot", "ecsv", "parquet"])
def test_every_kind_of_table_says_where_images_come_from(words, tmp_path, run, extension):
    run(*words, "-o", tmp_path / f"votes.{extension}", code=3)
    rows = read_table(tmp_path / f"votes.{extension}").to_pylist()
    assert rows[0]["cutout_source"] == "hips"
    assert rows[0]["cutout_pixel_scale"] == pytest.approx(0.2)
    scale = rows[2]["cutout_pixel_scale"]
    assert scale is None or np.isnan(scale)


def test_kaggle_s_layout_and_the_terminal_work_too(words, tmp_path, run):
    run(*words, "--cutouts", tmp_path / "kept", "-o", tmp_path / "votes.csv", "--format", "kaggle", code=3)
    assert read_table(tmp_path / "votes.csv").column_names[:2] == ["GalaxyID", "Class1.1"]
    said = run(*words, "--cutouts", tmp_path / "kept", code=3)
    assert [line.split()[0] for line in said.stdout.splitlines()[1:]] == ["g0", "g1", "south", "g2", "lost", "g3", "g4"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "the images need a place"),
        (("-o", "votes", "--shard", "1/2"), "shards would fetch the same images"),
        (("-o", "votes.csv", "--size", "3"), "how large are the images?"),
    ],
)
def test_what_cannot_be_is_wrong_usage(words, run, more, told):
    assert told in " ".join(run(*words, *more, code=2).stderr.replace("│", "").split())


def test_the_table_of_cutouts_says_the_same_when_it_is_predicted_by_itself(words, catalogue, tmp_path, run):
    run(*words, "-o", tmp_path / "votes.csv", code=3)
    table = tmp_path / "votes-cutouts" / "cutouts.parquet"
    run("predict", table, "--model", "fast", "-o", tmp_path / "again.csv", code=3)
    assert (tmp_path / "votes.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert is_cutouts(str(table))
    for other in (catalogue, tmp_path / "votes.csv", tmp_path / "nothing.parquet"):
        assert not is_cutouts(str(other))


def test_what_is_for_positions_needs_a_source(catalogue, run):
    for more in (("--layer", "ls-dr9"), ("--mirror", "http://x"), ("--cutouts", "kept")):
        assert "give their --source" in run("predict", catalogue, *more, code=2).stderr


@pytest.mark.slow
def test_killed_while_it_fetches_or_predicts_it_goes_on(sky, words, tmp_path):
    """SIGKILL while the pictures come; with --resume the table is that of an undisturbed run."""
    command = [sys.executable, "-m", "tuningfork", *map(str, words)]
    calm = subprocess.run([*command, "-o", str(tmp_path / "calm.csv")], capture_output=True, text=True, timeout=100)
    assert calm.returncode == 3, calm.stderr
    slowly = [*command, "--rate", "5", "-o", str(tmp_path / "votes.csv")]
    with subprocess.Popen(slowly, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list((tmp_path / "votes-cutouts").rglob("g*.png")) and process.poll() is None:
            pass
        process.kill()
    assert not (tmp_path / "votes.csv").exists()
    done = subprocess.run([*slowly, "--resume"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 3, done.stderr
    one, two = (read_table(tmp_path / f"{name}.csv").to_pylist() for name in ("calm", "votes"))
    for row in (*one, *two):
        for column in ("path", "cutout_time"):
            row.pop(column)
    assert one == two
    assert os.path.exists(tmp_path / "votes-cutouts" / "cutouts.parquet")
