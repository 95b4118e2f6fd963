"""Parts to partitions of the sky: every row with a position is in the catalogue, the others are beside it."""

import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tuningfork
from tuningfork._utils.files import write_text
from tuningfork.inputs import InputItem, ItemReader
from tuningfork.pipeline.chunks import Chunk, predict_chunk
from tuningfork.pipeline.hats import HatsError, partition
from tuningfork.pipeline.manifest import ManifestError, open_run, read_run
from tuningfork.pipeline.part_table import TableLayout
from tuningfork.simulation import draw, render


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    """A finished run of 40 galaxies with positions and 4 without."""
    folder = tmp_path_factory.mktemp("hats")
    Image.fromarray(render(draw(3, 0))).resize((64, 64)).save(folder / "galaxy.jpg")
    chance = np.random.default_rng(0)
    positions = [(float(chance.uniform(0, 360)), float(chance.uniform(-80, 80))) for _ in range(40)]
    items = [
        InputItem(f"{n:02d}", f"{n}", "file", str(folder / "galaxy.jpg"), right_ascension=ra, declination=dec)
        for n, (ra, dec) in enumerate([*positions, *[(np.nan, np.nan)] * 4])
    ]
    run = open_run(folder / "votes", {}, lambda: items, chunk_rows=16)
    model = tuningfork.load("fast", threads=1)
    with ItemReader() as reader:
        for number, part in run.chunks_of(range(run.parts)):
            done = predict_chunk(model, Chunk(number, part), reader, TableLayout(positions=True))
            run.part(number).write_bytes(done.data)
    run.finish()
    return folder / "votes"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_catalogue_opens_again_with_every_row(votes, tmp_path):
    lsdb = pytest.importorskip("lsdb")
    pytest.importorskip("hats_import")
    made = partition(read_run(votes), tmp_path / "sky", partition_rows=8)
    assert (made.rows, made.without_position) == (40, 4)
    assert made.partitions > 4
    catalogue = lsdb.open_catalog(tmp_path / "sky")
    table = catalogue.compute()
    assert sorted(table["id"]) == [f"{n:02d}" for n in range(40)]
    assert pq.read_table(made.rest)["id"].to_pylist() == [f"{n:02d}" for n in range(40, 44)]
    # An independent count of what a cone holds.
    told = {row["id"]: row for row in _rows(votes)}
    near = catalogue.cone_search(ra=100, dec=20, radius_arcsec=40 * 3600).compute()
    assert sorted(near["id"]) == sorted(
        name for name, row in told.items() if row["ra"] is not None and _separation(row, 100, 20) < 40
    )
    for row in table.itertuples():
        assert row.smooth_or_features_smooth_fraction == told[row.id]["smooth_or_features_smooth_fraction"]
    schema = pq.read_schema(next((tmp_path / "sky").glob("dataset/Norder=*/Dir=*/*.parquet")))
    assert schema.field("dec").metadata[b"unit"] == b"deg"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def _rows(votes):
    return [row for part in sorted(votes.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


def _separation(row, ra, dec):
    a, b, c, d = np.radians([row["ra"], row["dec"], ra, dec])
    return np.degrees(np.arccos(np.sin(b) * np.sin(d) + np.cos(b) * np.cos(d) * np.cos(a - c)))


def test_what_is_there_is_not_overwritten(votes, tmp_path):
    (tmp_path / "sky").mkdir()
    with pytest.raises(HatsError, match="exists already"):
        partition(read_run(votes), tmp_path / "sky")
    (tmp_path / "sky").rmdir()
    (tmp_path / "sky-without-position.parquet").write_bytes(b"mine")
    with pytest.raises(HatsError, match=r"sky-without-position\.parquet exists already"):
        partition(read_run(votes), tmp_path / "sky")
    assert (tmp_path / "sky-without-position.parquet").read_bytes() == b"mine"


@pytest.mark.slow
def test_a_missing_part_is_reported(votes, tmp_path):
    copy = tmp_path / "votes"
    copy.mkdir()
    for file in votes.iterdir():
        if file.name != "part-00000001.parquet":
            (copy / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ManifestError, match="part-00000001"):
        partition(read_run(copy), tmp_path / "sky")


def test_a_run_without_positions_says_what_to_do(votes, tmp_path, run):
    copy = tmp_path / "votes"
    copy.mkdir()
    text = (votes / "_manifest.json").read_text()
    write_text(copy / "_manifest.json", text.replace('"has_positions": true', '"has_positions": false'))
    assert "--ra-column" in run("merge", copy, "-o", tmp_path / "sky", "--hats", code=1).stderr


def test_missing_libraries_are_named(votes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hats_import", None)
    with pytest.raises(HatsError, match=r"\.\[hats\]"):
        partition(read_run(votes), tmp_path / "sky")
    assert list(tmp_path.iterdir()) == []
