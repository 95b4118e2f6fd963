"""A run of measurements: one row an image, resumable, with units, by one process or several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("statmorph", reason="the extra `structure` is not installed")

from tuningfork.images import structure
from tuningfork.images.structure import QUANTITIES, StructureError
from tuningfork.pipeline import measure
from tuningfork.pipeline.manifest import ManifestError
from tuningfork.pipeline.options import ExecutionOptions, PredictError
from tuningfork.tables import read_table
from tuningfork.tables.columns import about

ONE = ExecutionOptions(workers=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three galaxies as small images, a blank one and a broken file."""
    out = tmp_path_factory.mktemp("galaxies")
    y, x = np.mgrid[:64, :64] - 31.5
    for number in range(3):
        light = 180 * np.exp(-np.hypot(x, y * (1 + 0.3 * number)) / 5) + np.random.default_rng(number).normal(
            8, 1.5, x.shape
        )
        Image.fromarray(light.clip(0, 255).astype(np.uint8)).save(out / f"g{number}.png")
    Image.fromarray(np.random.default_rng(9).normal(20, 2, (64, 64)).astype(np.uint8)).save(out / "nothing.png")
    (out / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    return out


def test_each_image_is_a_row_and_each_failure_says_why(folder: Path, tmp_path: Path) -> None:
    seen = []
    summary = measure.measure_files(
        [folder], tmp_path / "s.parquet", execution=ONE, progress=lambda *at: seen.append(at)
    )
    assert (summary.rows, summary.failed) == (5, 2)
    assert seen[-1] == (5, 5)
    table = read_table(tmp_path / "s.parquet")
    rows = {row["id"]: row for row in table.to_pylist()}
    assert "no galaxy in the middle" in rows["nothing"]["error"]
    assert rows["broken"]["error"]
    assert rows["broken"]["concentration"] is None
    for number in range(3):
        row = rows[f"g{number}"]
        assert (row["error"], row["flag"], row["is_display"]) == ("", 0, True)
        assert 2 < row["concentration"] < 4
    assert rows["g2"]["ellipticity_asymmetry"] > rows["g0"]["ellipticity_asymmetry"] + 0.2
    for quantity in QUANTITIES:
        known = about(table.schema.field(quantity.name))
        assert (known["unit"], known["ucd"]) == (quantity.unit, quantity.ucd)
        assert quantity.description in known["description"]
    assert not list(tmp_path.glob("*.parts"))


def test_an_interrupted_run_goes_on_and_ends_with_the_same_table(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(measure, "MEASURED_ROWS", 2)
    # What is measured does not matter here, and takes time.
    values = {quantity.name: number / 8 for number, quantity in enumerate(QUANTITIES)}
    monkeypatch.setattr(structure, "measure_structure", lambda image: (values, 0, 0))
    measure.measure_files([folder], tmp_path / "whole.csv", execution=ONE)
    real, done = measure._measure_chunk, []

    def interrupted(*arguments, **words):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments, **words)

    monkeypatch.setattr(measure, "_measure_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure.measure_files([folder], tmp_path / "s.csv", execution=ONE)
    with pytest.raises(ManifestError, match="--resume"):
        measure.measure_files([folder], tmp_path / "s.csv", execution=ONE)
    monkeypatch.setattr(measure, "_measure_chunk", real)
    summary = measure.measure_files([folder], tmp_path / "s.csv", execution=ExecutionOptions(workers=1, resume=True))
    assert summary.resumed == 2
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    # Many small parts are no small row groups, which make slow readers.
    measure.measure_files([folder], tmp_path / "s.parquet", execution=ONE)
    assert pq.read_metadata(tmp_path / "s.parquet").num_row_groups == 1


@pytest.mark.slow
def test_several_processes_give_the_same_table(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(measure, "MEASURED_ROWS", 1)
    images = [folder / "g0.png", folder / "nothing.png"]
    for workers in (1, 2):
        measure.measure_files(images, tmp_path / f"{workers}.csv", execution=ExecutionOptions(workers=workers))
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_wrong_inputs_are_errors(folder: Path, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(PredictError, match="name a table"):
        measure.measure_files([folder], tmp_path / "folder", execution=ONE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PredictError, match="no image in"):
        measure.measure_files([tmp_path / "empty"], tmp_path / "s.csv", execution=ONE)
    monkeypatch.setattr(structure, "version_of_statmorph", lambda: "")
    with pytest.raises(StructureError, match=r"pip install '\.\[structure\]'"):
        measure.measure_files([folder], tmp_path / "s.csv", execution=ONE)
    assert structure.MOST_PIXELS > 100
