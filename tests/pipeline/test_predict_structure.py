"""`predict --structure`: the columns of `measure` beside the predictions, however they are run, or a refusal."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("statmorph", reason="the extra `structure` is not installed")

from astropy.io import fits

import tuningfork
from tuningfork.images import structure
from tuningfork.images.image import ImageError
from tuningfork.inputs import ItemReader, find_items
from tuningfork.model.model import Model
from tuningfork.model.structure_columns import REASON, STRUCTURE_COLUMNS
from tuningfork.pipeline.chunks import Chunk, predict_batches_of, predict_chunk
from tuningfork.pipeline.in_process import predict_batches
from tuningfork.pipeline.local import ChunkJob
from tuningfork.pipeline.manifest import ManifestError, read_run
from tuningfork.pipeline.measure import measure_files
from tuningfork.pipeline.merge import run_outcome, table_of
from tuningfork.pipeline.options import ExecutionOptions, PredictError
from tuningfork.pipeline.part_table import TableLayout
from tuningfork.pipeline.predict import InferenceOptions, predict_files
from tuningfork.tables import read_table
from tuningfork.tables.columns import about

ONE = ExecutionOptions(workers=1)
PLAIN, MEASURED = InferenceOptions(n_views=1), InferenceOptions(n_views=1, structure=True)
NAMES = [column.name for column in STRUCTURE_COLUMNS]


@pytest.fixture(scope="module")
def model() -> Model:
    return tuningfork.load("fast", threads=1)


def galaxy(number: int = 0, side: int = 64) -> np.ndarray:
    """A disk of light (side, side) on a sky with noise, in bytes."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    light = 180 * np.exp(-np.hypot(x, y * (1 + 0.3 * number)) / 5)
    return (light + np.random.default_rng(number).normal(8, 1.5, x.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two galaxies, one as FITS; an image without one; a broken file."""
    folder = tmp_path_factory.mktemp("galaxies")
    Image.fromarray(galaxy()).save(folder / "disk.png")
    fits.PrimaryHDU(galaxy(1).astype(np.float32)).writeto(folder / "flux.fits")
    Image.fromarray(np.random.default_rng(9).normal(20, 2, (64, 64)).astype(np.uint8)).save(folder / "nothing.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement without statmorph's second: the brightness of the image; none of a dark one."""

    def measure(image):
        if image.light.mean() < 10:
            raise ImageError("no galaxy in the middle of the image rises above the noise")
        return {name: float(image.light.mean()) for name in NAMES[:22]}, 1, 0

    monkeypatch.setattr(structure, "measure_structure", measure)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images for `quick`, of which number 2 is too dark to be measured."""
    out = tmp_path / "in"
    out.mkdir()
    for number in range(5):
        light = galaxy(number) // 12 if number == 2 else galaxy(number)
        Image.fromarray(light + (0 if number == 2 else 20)).save(out / f"{number}.png")
    return out


def test_columns_are_those_of_measure_and_the_predictions_stay(model: Model, images: Path, tmp_path: Path) -> None:
    summary = predict_files(model, [images], tmp_path / "votes.parquet", MEASURED, ONE)
    assert (summary.rows, summary.failed, summary.not_measured) == (4, 1, 2)
    predict_files(model, [images], tmp_path / "plain.parquet", PLAIN, ONE)
    measure_files([images], tmp_path / "structure.parquet", execution=ONE)
    table, plain, alone = (read_table(tmp_path / f"{name}.parquet") for name in ("votes", "plain", "structure"))
    assert table.drop_columns([*NAMES, REASON.name]).cast(plain.schema).equals(plain)
    assert table.select(["id", *NAMES]).equals(alone.select(["id", *NAMES]))
    for name in NAMES:
        assert about(table.schema.field(name)) == about(alone.schema.field(name))
    rows = {row["id"]: row for row in table.to_pylist()}
    assert [rows[id_]["is_display"] for id_ in ("disk", "flux", "nothing", "broken")] == [True, False, True, None]
    assert rows["disk"]["sersic_n"] == pytest.approx(1, abs=0.3)
    assert rows["flux"]["ellipticity_asymmetry"] > 0.1
    nothing = rows["nothing"]
    assert nothing["class_name"]
    assert nothing["flag"] is nothing["gini"] is None
    assert "no galaxy in the middle" in nothing["structure_error"]
    assert rows["broken"]["structure_error"] == rows["broken"]["error"] != ""
    assert b"statmorph" in table.schema.metadata[b"creator"]


@pytest.mark.parametrize("name", ["a.csv", "a.fits", "a.vot", "a.ecsv"])
def test_each_format_holds_them(name: str, model: Model, folder: Path, tmp_path: Path, quick: None) -> None:
    predict_files(model, [folder], tmp_path / name, MEASURED, ONE)
    table = read_table(tmp_path / name)
    rows = {str(row["id"]): row for row in table.to_pylist()}
    assert rows["0"]["gini"] == pytest.approx(float(np.mean(galaxy() + 20)), rel=1e-5)
    assert rows["0"]["flag"] == 1
    assert not rows["0"]["structure_error"]
    assert rows["2"]["gini"] is rows["2"]["flag"] is None
    assert "no galaxy" in rows["2"]["structure_error"]
    if name != "a.csv":
        assert (about(table.schema.field("r20")).get("unit"), about(table.schema.field("r20")).get("ucd")) == (
            "pixel",
            "phys.angSize;src.morph",
        )


def test_resumed_and_sharded_runs_give_the_same_table(model: Model, folder: Path, tmp_path: Path, quick: None) -> None:
    chunks = ExecutionOptions(workers=1, chunk_rows=2)
    predict_files(model, [folder], tmp_path / "whole.parquet", MEASURED, chunks)
    whole = read_table(tmp_path / "whole.parquet")
    shards = [ExecutionOptions(workers=1, chunk_rows=2, shard=(number, 2)) for number in (1, 2)]
    ends = [predict_files(model, [folder], tmp_path / "votes", MEASURED, shard) for shard in shards]
    assert [(end.rows, end.not_measured, end.complete) for end in ends] == [(3, 0, False), (2, 1, True)]
    assert table_of(tmp_path / "votes").equals(whole)
    (tmp_path / "votes" / "part-00000001.parquet").unlink()
    again = ExecutionOptions(workers=1, resume=True)
    with pytest.raises(ManifestError, match="another structure"):
        predict_files(model, [folder], tmp_path / "votes", PLAIN, again)
    summary = predict_files(model, [folder], tmp_path / "votes", MEASURED, again)
    assert (summary.resumed, summary.not_measured) == (3, 1)
    assert table_of(tmp_path / "votes").equals(whole)


@pytest.mark.parametrize("name", ["votes.parquet", "votes"])
def test_rows_that_failed_are_measured_when_they_are_retried(
    name: str, model: Model, folder: Path, tmp_path: Path, quick: None
) -> None:
    good = (folder / "4.png").read_bytes()
    (folder / "4.png").write_bytes(b"x")
    chunks = ExecutionOptions(workers=1, chunk_rows=2)
    summary = predict_files(model, [folder], tmp_path / name, MEASURED, chunks)
    assert (summary.failed, summary.not_measured) == (1, 2)
    (folder / "4.png").write_bytes(good)
    retry = ExecutionOptions(workers=1, retry_failed=True)
    with pytest.raises(ManifestError, match=r"structure|other columns"):
        predict_files(model, [folder], tmp_path / name, PLAIN, retry)
    summary = predict_files(model, [folder], tmp_path / name, MEASURED, retry)
    assert (summary.failed, summary.not_measured) == (0, 1)
    rows = table_of(tmp_path / name).to_pylist()
    assert [row["gini"] is None for row in rows] == [False, False, True, False, False]
    assert [bool(row["structure_error"]) for row in rows] == [False, False, True, False, False]


@pytest.mark.parametrize("name", ["votes.csv", "votes"])
def test_galaxies_that_were_not_measured_are_measured_again(
    name: str, model: Model, folder: Path, tmp_path: Path, quick: None
) -> None:
    good = (folder / "3.png").read_bytes()
    chunks, retry = ExecutionOptions(workers=1, chunk_rows=2), ExecutionOptions(workers=1, retry_failed=True)
    (folder / "3.png").write_bytes(b"x")
    summary = predict_files(model, [folder], tmp_path / name, MEASURED, chunks)
    assert (summary.failed, summary.not_measured) == (1, 2)
    before = table_of(tmp_path / name).to_pylist()
    (folder / "3.png").write_bytes(good)
    Image.fromarray(galaxy(2) + 20).save(folder / "2.png")
    summary = predict_files(model, [folder], tmp_path / name, MEASURED, retry)
    assert (summary.rows, summary.failed, summary.not_measured, summary.resumed) == (5, 0, 0, 3)
    after = table_of(tmp_path / name)
    predict_files(model, [folder], tmp_path / f"whole-{name}", MEASURED, chunks)
    assert after.equals(table_of(tmp_path / f"whole-{name}"))
    assert after.to_pylist()[:2] == before[:2]
    if name == "votes":
        # What the metadata of each part count is right, too.
        outcomes = [run_outcome(read_run(tmp_path / each), range(3)) for each in (name, f"whole-{name}")]
        assert outcomes[0] == outcomes[1]
        assert sum(outcomes[0].classes.values()) == len(after)


@pytest.mark.parametrize("name", ["votes.csv", "votes"])
def test_a_prediction_stays_if_its_image_is_damaged_before_it_is_measured_again(
    name: str, model: Model, folder: Path, tmp_path: Path, quick: None
) -> None:
    output = tmp_path / name
    predict_files(model, [folder], output, MEASURED, ONE)
    before = table_of(output)
    (folder / "2.png").write_bytes(b"x")
    summary = predict_files(model, [folder], output, MEASURED, ExecutionOptions(workers=1, retry_failed=True))
    assert (summary.failed, summary.errors, summary.not_measured) == (0, (), 1)
    assert table_of(output).equals(before)


def test_progress_counts_each_image_that_is_measured(model: Model, folder: Path, tmp_path: Path, quick: None) -> None:
    # Else a worker that measures would be silent for minutes, and be ended as one that hangs.
    steps: list[int] = []
    predict_files(model, [folder], tmp_path / "a.csv", MEASURED, ONE, progress=lambda done, total: steps.append(done))
    assert steps == [0, 1, 2, 3, 4, 5]


def test_python_measures_what_it_predicts(model: Model, images: Path, quick: None) -> None:
    for source in (images / "disk.png", galaxy(), io.BytesIO((images / "disk.png").read_bytes())):
        prediction = model.predict(source, options=MEASURED)
        assert prediction.structure["gini"] == pytest.approx(galaxy().mean())
        assert prediction["gini"] == pytest.approx(galaxy().mean(), rel=1e-5)
        assert prediction.structure["error"] == ""
    assert model.predict(galaxy(), n_views=1).structure is None
    predictions = model.predict(images, options=MEASURED)
    flux = predictions["flux"].structure
    assert flux["is_display"] is False
    assert flux["gini"] == pytest.approx(galaxy(1).mean())
    assert predictions["broken"].structure == {}
    assert predictions[["flux", "disk"]].structure[0] == flux
    bands = [images / "flux.fits"] * 3
    assert "one file" in model.predict([bands], options=MEASURED).structure[0]["error"]


def test_the_command_writes_and_prints_them(images: Path, tmp_path: Path, run, quick: None) -> None:
    words = ("predict", images / "disk.png", "--model", "fast", "--views", 1, "--structure")
    printed = json.loads(run(*words, "--json").stdout)
    assert printed["gini"] == pytest.approx(galaxy().mean(), rel=1e-5)
    assert printed["structure_error"] == ""
    (tmp_path / "in.csv").write_text(f"id,path,gini\n7,{images / 'disk.png'},0.5\n8,{images / 'nothing.png'},0.25\n")
    structure_ = ("predict", tmp_path / "in.csv", "-o", tmp_path / "out.parquet", "--model", "fast", "--structure")
    result = run(*structure_, "--workers", 1, "--json")
    assert json.loads(result.stdout)["not_measured"] == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["gini_catalogue"].to_pylist() == [0.5, 0.25]
    assert pa.types.is_float32(table.schema.field("gini").type)


def test_what_cannot_hold_or_measure_them_is_refused_first(
    model: Model, images: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "a.csv"
    with pytest.raises(PredictError, match="Kaggle's layout"):
        predict_files(model, [images], output, MEASURED, layout="kaggle")
    assert "Kaggle" in run("predict", images, "-o", output, "--structure", "--format", "kaggle", code=2).output
    assert "--json" in run("predict", images, "--structure", code=2).output
    monkeypatch.setattr(structure, "version_of_statmorph", lambda: "")
    with pytest.raises(structure.StructureError, match=r"pip install '\.\[structure\]'"):
        predict_files(model, [images], output, MEASURED)
    with pytest.raises(structure.StructureError, match="statmorph is missing"):
        next(predict_batches(model, [images / "disk.png"], MEASURED))
    said = run("predict", images, "-o", output, "--structure", code=2).output
    assert "statmorph is missing" in said
    assert ".[structure]" in said
    assert not list(tmp_path.iterdir())


def test_a_worker_says_after_each_image_that_it_is_alive(model: Model, folder: Path, quick: None) -> None:
    layout = TableLayout(structure=True)
    job = ChunkJob(model.bundle, layout, MEASURED, 1, model.running, model.framing)
    chunk = Chunk(3, list(find_items([folder])))
    messages: list[tuple[str, int]] = []
    answer = pickle.loads(pickle.dumps(job)).open()(chunk, messages.append)
    assert messages == [("rows", 1)] * 5
    with ItemReader() as reader:
        assert answer == predict_chunk(model, chunk, reader, layout, MEASURED)
        alone = predict_chunk(model, replace(chunk, row_by_row=True), reader, layout, MEASURED)
    assert (alone.rows, alone.failed) == (5, 0)
    table = pq.read_table(io.BytesIO(alone.data))
    assert table[REASON.name].to_pylist()[2] == "no galaxy in the middle of the image rises above the noise"


def test_readers_of_a_cluster_measure_too(model: Model, folder: Path, quick: None) -> None:
    pytest.importorskip("ray")
    from tuningfork.pipeline.ray.stages import _read_together

    images = _read_together(model.reader_of(MEASURED), list(find_items([folder])))
    (predictions,) = predict_batches_of(model, pickle.loads(pickle.dumps(images)), MEASURED)
    assert predictions.to_table()["gini"].null_count == 1
