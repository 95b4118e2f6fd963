"""Cutouts and votes from FITS tiles on disk, by the same commands."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("reproject")

import skytiles
from skyserver import FRAME, Source

from tuningfork.images.read import read_image

PLACES = [Source(0, 150.1, 2.2), Source(1, 0.001, 40.0)]


@pytest.fixture
def tiles(tmp_path):
    """Tiles of three bands, turned, and one mirrored, each with a galaxy; and a file that is none."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    for source in PLACES:
        for band in skytiles.BANDS:
            (folder / f"{source.number}-{band}.fits").write_bytes(skytiles.tile(source, band))
    (folder / "9-r.fits").write_bytes(b"SIMPLE  = nothing")
    return folder


@pytest.fixture
def catalogue(tmp_path):
    lines = [f"g{source.number},{source.ra},{source.dec}" for source in PLACES]
    file = tmp_path / "galaxies.csv"
    file.write_text("\n".join(["id,ra,dec", *lines, "beyond,20,20", f"edge,0.001,{40 + 30 / 3600}"]) + "\n")
    return file


def test_cutouts_of_tiles_lie_north_up_and_a_broken_tile_is_named(tiles, catalogue, tmp_path, run):
    words = ("--source", tiles / "*-{band}.fits", "--layer", "g,r,z", "--size", FRAME, "--pixels", "212")
    result = run("cutouts", catalogue, *words, "-o", tmp_path / "out", code=3)
    assert "9-r.fits is left out" in result.stderr
    rows = pq.read_table(tmp_path / "out" / "cutouts.parquet").to_pylist()
    assert "outside of all tiles" in rows[2]["error"]
    for row in rows[:2]:
        image = read_image(tmp_path / "out" / row["path"]).rgb.astype(int)
        north, east = image[14, 106], image[106, 14]
        assert north[0] > 2 * north[2]
        assert east[2] > 2 * east[0]
        assert row["source"] == "mosaic"
        assert row["pixel_scale"] == pytest.approx(0.2)


def test_votes_of_positions_in_tiles(tiles, catalogue, tmp_path, run):
    words = ("--source", tiles / "*-{band}.fits", "--layer", "g,r,z", "--size", FRAME, "--model", "fast")
    run("predict", catalogue, *words, "-o", tmp_path / "votes.parquet", code=3)
    rows = pq.read_table(tmp_path / "votes.parquet").to_pylist()
    assert [row["cutout_source"] for row in rows] == ["mosaic", "mosaic", None, "mosaic"]
    assert "of the frame has no data" in rows[3]["cutout_warning"]
    assert np.isfinite([row["smooth_or_features_smooth_fraction"] for row in rows[:2]]).all()


@pytest.mark.parametrize("spec", ["nothing/*.fits", "nothing/*-{band}.fits"])
def test_a_pattern_without_files_is_no_source(spec, catalogue, tmp_path, run):
    words = ("--source", tmp_path / spec, "--layer", "g,r,z", "--size", "40", "-o", tmp_path / "out")
    assert "no " in run("cutouts", catalogue, *words, code=1).stderr
    assert not (tmp_path / "out").exists()
