"""FITS through the whole prediction: options, warnings, workers, resume."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tuningfork
from tuningfork.images.fits.framing import FRAME_RADII, Framing

fits = pytest.importorskip("astropy.io.fits")

from tuningfork.simulation import draw, light, render

SCALE = 0.396


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast")


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory) -> Path:
    """Three galaxies on wide images of g, r, i, and a catalogue with their radii."""
    folder = tmp_path_factory.mktemp("galaxies")
    rng = np.random.default_rng(2)
    lines = ["id,path,petroR90"]
    for number in range(3):
        galaxy = draw(5, number)
        image = light(galaxy)[::-1]
        wide = np.pad(image, ((0, 0), (100, 100), (100, 100)))
        wide += rng.normal(0, 0.03, wide.shape)
        header = fits.Header()
        header["CTYPE1"], header["CTYPE2"], header["CRVAL1"], header["CRVAL2"] = "RA---TAN", "DEC--TAN", 150.0, 2.0
        header["CRPIX1"] = header["CRPIX2"] = (wide.shape[1] + 1) / 2
        header["CDELT1"], header["CDELT2"] = -SCALE / 3600, SCALE / 3600
        fits.writeto(folder / f"{number}.fits", wide.astype(np.float32), header)
        lines.append(f"{number},{number}.fits,{galaxy.petro_r90}")
    (folder / "galaxies.csv").write_text("\n".join([*lines, "3,0.fits,-1", "4,0.fits,"]) + "\n")
    return folder


def test_the_same_image_via_fits_and_in_memory(model, tmp_path):
    picture = render(draw(5, 1))
    fits.writeto(tmp_path / "a.fits", np.moveaxis(picture[::-1], 2, 0))
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(model.predict(tmp_path / "a.fits").cumulative, model.predict(tmp_path / "a.png").cumulative)
    assert "no WCS" in model.predict(tmp_path / "a.fits").warning
    assert model.predict(tmp_path / "a.png").warning == ""


def test_a_framing_is_the_models_or_the_calls(model, galaxies):
    framing = Framing(stretch="sdss", size=30.0)
    of_call = model.predict(galaxies / "1.fits", framing=framing)
    of_model = tuningfork.load("fast", framing=framing).predict(galaxies / "1.fits")
    assert np.array_equal(of_call.cumulative, of_model.cumulative)
    assert not np.array_equal(of_call.cumulative, model.predict(galaxies / "1.fits").cumulative)


def test_a_frame_of_another_scale_warns_in_its_row(run, galaxies, tmp_path):
    run("predict", galaxies / "0.fits", galaxies / "1.fits", "-o", tmp_path / "v.parquet", "--model", "fast")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.column_names[-2:] == ["warning", "error"]
    assert all("petroR90" in told for told in table["warning"].to_pylist())
    said = run("predict", galaxies / "0.fits", "--model", "fast", "--stretch", "sdss", "--measure").stdout
    assert "petroR90" not in said


def test_radii_of_a_catalogue_frame_its_images(run, model, galaxies, tmp_path):
    words = ("--stretch", "sdss", "--model", "fast", "--radius-column", "petroR90")
    output = tmp_path / "votes.parquet"
    result = run("predict", galaxies / "galaxies.csv", "-o", output, *words, code=3)
    table = pq.read_table(output).to_pylist()
    assert [bool(row["error"]) for row in table] == [False] * 3 + [True] * 2
    assert "column 'petroR90': '-1' is no angle above 0" in result.stderr
    assert [row["warning"] for row in table[:3]] == [""] * 3
    size = FRAME_RADII * draw(5, 2).petro_r90
    alone = model.predict(galaxies / "2.fits", framing=Framing(stretch="sdss", size=size))
    assert table[2]["bar_yes_fraction"] == pytest.approx(alone.fractions["bar_yes_fraction"], abs=1e-6)


def test_workers_frame_as_one_process_does(run, galaxies, tmp_path):
    tables = []
    for workers in (1, 2):
        output = tmp_path / f"{workers}.parquet"
        run("predict", galaxies, "-o", output, "--model", "fast", "--stretch", "sdss", "--size", 30,
            "--workers", workers)  # fmt: skip
        tables.append(pq.read_table(output))
    assert tables[0].equals(tables[1])


def test_another_framing_is_not_gone_on_with(run, galaxies, tmp_path):
    words = ("predict", galaxies, "-o", tmp_path / "votes", "--model", "fast", "--workers", 1)
    run(*words, "--size", 30)
    told = json.loads((tmp_path / "votes" / "_manifest.json").read_text())
    assert told["run"]["framing"] == {"size": 30.0}
    assert "of a run with another framing" in run(*words, "--size", 40, "--resume", code=1).stderr
    assert "of a run with another framing" in run(*words, "--resume", code=1).stderr
    run(*words, "--size", 30, "--resume")


@pytest.mark.parametrize("words", [
    ("--stretch", "kodak"), ("--bands", "g,r"), ("--size", "0"), ("--size", "nan"), ("--size", "5", "--measure"),
])  # fmt: skip
def test_wrong_options_are_wrong_usage(run, galaxies, words):
    run("predict", galaxies / "0.fits", *words, code=2)
