"""Folders to tables: streaming, resumable, nothing lost and nothing twice."""

import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

import tuningfork
from tuningfork._utils.files import OutputError
from tuningfork.model.image_reader import ImageReader
from tuningfork.model.options import InferenceOptions
from tuningfork.pipeline import chunks as work
from tuningfork.pipeline import local, manifest
from tuningfork.pipeline.in_process import predict_batches
from tuningfork.pipeline.manifest import ManifestError
from tuningfork.pipeline.options import ExecutionOptions
from tuningfork.pipeline.predict import PredictError, predict_files
from tuningfork.simulation import draw, render
from tuningfork.votes import fractions as votes

READ = ImageReader.read
TOGETHER = 8


@pytest.fixture(scope="module")
def model():
    return tuningfork.load()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(40):
        Image.fromarray(render(draw(2, index))).save(folder / f"{index:03d}.jpg", quality=90)
    (folder / "017.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(manifest, "PART_ROWS", ((0, 8),))
    monkeypatch.setattr(manifest, "LEAST_ROWS", 8)


@contextmanager
def interrupted_after(count):
    """Ctrl-C when `count` pictures have been read; the block must pass it on."""
    numbers = itertools.count(1)

    def failing(self, *arguments, **options):
        if next(numbers) > count:
            raise KeyboardInterrupt
        return READ(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageReader, "read", failing)
        with pytest.raises(KeyboardInterrupt):
            yield


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_image_is_one_row_in_order(model, pictures, tmp_path, small_parts):
    summary = predict_files(model, [pictures], tmp_path / "out.parquet", inference=InferenceOptions(n_views=1))
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == [f"{i:03d}" for i in range(40)]
    assert (summary.rows, summary.failed) == (40, 1)
    assert summary.errors[0].id == "017"
    assert summary.errors[0].row == 18
    assert not (tmp_path / "out.parquet.parts").exists()


def test_the_table_equals_predictions_in_memory(model, pictures, tmp_path, small_parts):
    predict_files(model, [pictures], tmp_path / "out.csv", inference=InferenceOptions(n_views=2), layout="kaggle")
    told = pyarrow.csv.read_csv(tmp_path / "out.csv")
    assert told.column_names == ["GalaxyID", *model.tree.columns]
    values = np.array([told[c].to_pylist() for c in model.tree.columns], dtype=float).T
    np.testing.assert_allclose(values, model.predict(pictures, n_views=2).cumulative, atol=1e-6)
    good = ~np.isnan(values[:, 0])
    assert good.sum() == 39
    assert np.abs(votes.sum_violations(values[good], model.tree)).max() < 1e-6


def test_interrupted_anywhere_and_resumed_gives_the_same_bytes(model, pictures, tmp_path, small_parts):
    options, output = InferenceOptions(n_views=1, batch_size=5), tmp_path / "out.parquet"
    predict_files(model, [pictures], output, options)
    expected = _digest(output)
    for stop in (1, 13, 24, 39):
        output.unlink()
        with interrupted_after(stop):
            predict_files(model, [pictures], output, options)
        assert not output.exists()
        with pytest.raises(ManifestError, match="--resume"):
            predict_files(model, [pictures], output, options)
        predict_files(model, [pictures], output, options, ExecutionOptions(resume=True))
        assert _digest(output) == expected


def test_resuming_does_not_repeat_whole_parts(model, pictures, tmp_path, small_parts):
    parts = tmp_path / "out.csv.parts"
    with interrupted_after(30):
        predict_files(model, [pictures], tmp_path / "out.csv", inference=InferenceOptions(n_views=1, batch_size=4))
    kept = len(list(parts.glob("part-*.parquet")))
    assert kept >= 2
    summary = predict_files(
        model,
        [pictures],
        tmp_path / "out.csv",
        inference=InferenceOptions(n_views=1, batch_size=4),
        execution=ExecutionOptions(resume=True),
    )
    assert summary.resumed == 8 * kept


def test_a_resume_with_other_images_or_options_is_refused(model, pictures, tmp_path, small_parts, monkeypatch):
    output = tmp_path / "out.csv"
    monkeypatch.setattr(model, "predict_loaded", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        predict_files(model, [pictures], output, inference=InferenceOptions(n_views=1))
    monkeypatch.undo()
    for layout, n_views, differs in (("words", 2, "views"), ("kaggle", 1, "layout")):
        with pytest.raises(ManifestError, match=f"another {differs}.*delete that folder"):
            predict_files(
                model, [pictures], output, InferenceOptions(n_views), ExecutionOptions(resume=True), layout=layout
            )
    with pytest.raises(ManifestError, match="another model"):
        predict_files(
            tuningfork.load("fast"),
            [pictures],
            output,
            inference=InferenceOptions(n_views=1),
            execution=ExecutionOptions(resume=True),
        )
    with pytest.raises(ManifestError, match="delete that folder"):
        predict_files(
            model,
            [pictures / "000.jpg"],
            output,
            inference=InferenceOptions(n_views=1),
            execution=ExecutionOptions(resume=True),
        )
    assert (
        predict_files(
            model, [pictures], output, inference=InferenceOptions(n_views=1), execution=ExecutionOptions(resume=True)
        ).rows
        == 40
    )


def test_a_changed_image_is_noticed(model, pictures, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes((pictures / "000.jpg").read_bytes())
    monkeypatch.setattr(model, "predict_loaded", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        predict_files(model, [folder], tmp_path / "out.csv")
    monkeypatch.undo()
    (folder / "a.jpg").write_bytes((pictures / "001.jpg").read_bytes() + b" ")
    with pytest.raises(ManifestError, match="changed"):
        predict_files(model, [folder], tmp_path / "out.csv", execution=ExecutionOptions(resume=True))


def test_a_foreign_folder_in_the_way_is_left_alone(model, pictures, tmp_path):
    foreign = tmp_path / "out.csv.parts"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(ManifestError, match="not ours"):
        predict_files(model, [pictures], tmp_path / "out.csv")
    assert (foreign / "thesis.txt").read_text() == "mine"


def test_no_images_no_work(model, tmp_path):
    with pytest.raises(PredictError, match="no image"):
        predict_files(model, [tmp_path], tmp_path / "out.csv")


def test_an_output_that_cannot_be_written_is_found_out_first(model, pictures, tmp_path):
    with pytest.raises(OSError, match="no such folder"):
        predict_files(model, [pictures], tmp_path / "nowhere" / "out.csv")
    with pytest.raises(ValueError, match="extension"):
        predict_files(model, [pictures], tmp_path / "out.xyz")


def test_a_full_disk_leaves_what_was_there(model, pictures, tmp_path, small_parts, monkeypatch):
    output = tmp_path / "out.csv"
    output.write_text("yesterday's table")
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        predict_files(model, [pictures], output, inference=InferenceOptions(n_views=1))
    monkeypatch.undo()
    assert output.read_text() == "yesterday's table"


def test_few_images_are_held_however_many_there_are(model, pictures, monkeypatch):
    monkeypatch.setattr(work, "BLOCK", TOGETHER)
    held, most = 0, 0
    predict_loaded = model.predict_loaded

    def counting_read(self, source, number=0, *, name=None):
        nonlocal held, most
        held += 1
        most = max(most, held)
        return READ(self, source, number, name=name)

    def counting_predict(rows, options):
        nonlocal held
        held -= len(rows)
        return predict_loaded(rows, options)

    monkeypatch.setattr(ImageReader, "read", counting_read)
    monkeypatch.setattr(model, "predict_loaded", counting_predict)
    paths = [pictures / "000.jpg"] * 20 * TOGETHER
    assert sum(
        len(part) for part in predict_batches(model, paths, inference=InferenceOptions(n_views=1, batch_size=4))
    ) == len(paths)
    assert most <= 4 * TOGETHER


def test_progress_is_reported_to_the_end(model, pictures, tmp_path, small_parts):
    told = []
    predict_files(
        model,
        [pictures],
        tmp_path / "out.csv",
        inference=InferenceOptions(n_views=1),
        progress=lambda d, t: told.append((d, t)),
    )
    assert told[-1] == (40, 40)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.slow
def test_killed_at_ten_random_moments_the_table_is_the_same(pictures, tmp_path):
    """SIGKILL, resumed until it is done, ten times over; the hash equals the uninterrupted run's."""
    many = tmp_path / "in"
    many.mkdir()
    for copy in range(6):
        for picture in pictures.iterdir():
            os.link(picture, many / f"{copy:02d}-{picture.name}")
    code = (
        "import sys; from tuningfork.pipeline.predict import *\n"
        "predict_files(load('fast'), [sys.argv[1]], sys.argv[2], InferenceOptions(n_views=2),"
        " ExecutionOptions(chunk_rows=16, workers=2, resume=True))"
    )

    def command(output):
        return [sys.executable, "-c", code, str(many), str(output)]

    started = time.monotonic()
    subprocess.run(command(tmp_path / "whole.parquet"), check=True)
    lasted = time.monotonic() - started
    moments = random.Random(0)
    kills = 0
    output = tmp_path / "out.parquet"
    while kills < 10:
        process = subprocess.Popen(command(output))
        try:
            process.wait(timeout=moments.uniform(0.2, 1.0) * lasted)
            # It finished before the moment came: begin anew, so that all ten kills happen.
            assert _digest(output) == _digest(tmp_path / "whole.parquet")
            output.unlink()
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(command(output), check=True)
    assert _digest(output) == _digest(tmp_path / "whole.parquet")
    assert not (tmp_path / "out.parquet.parts").exists()
    ids = pyarrow.parquet.read_table(output)["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 240


def test_few_images_wait_for_no_process(model, pictures, tmp_path, monkeypatch):
    """A process takes as long to start as some hundred pictures to predict."""

    def no_process(*arguments):
        raise AssertionError("a process")

    monkeypatch.setattr(local, "available_cores", lambda: 8)
    assert [local.worker_count(rows) for rows in (1, 100, 399, 400, 10_000)] == [1, 1, 1, 2, 8]
    monkeypatch.setattr(local, "Worker", no_process)
    assert predict_files(model, [pictures], tmp_path / "o.csv").rows == 40


def test_the_manifest_says_what_the_run_is(model, pictures, tmp_path):
    predict_files(
        model,
        [pictures],
        tmp_path / "out",
        inference=InferenceOptions(n_views=1),
        execution=ExecutionOptions(chunk_rows=16),
    )
    told = json.loads((tmp_path / "out" / manifest.MANIFEST).read_text())
    assert told["run"] == {
        "model": "default",
        "model_sha256": model.bundle.sha256,
        "views": 1,
        "precision": "f32",
        "layout": "words",
        "values_kind": "debiased",
        "values_kind_source": model.tree.to_dict()["values_kind_source"],
    }
    assert told["complete"]
    assert told["inputs"]["rows"] == sum(part["rows"] for part in told["parts"]) == 40
    for part in told["parts"]:
        assert (tmp_path / "out" / part["file"]).stat().st_size == part["bytes"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_a_file_name_that_is_no_text_is_a_row_like_any_other(model, pictures, tmp_path):
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    for name in (b"caf\xe9.jpg", "schön.jpg".encode()):
        with open(os.path.join(folder, name), "wb") as file:
            file.write((pictures / "000.jpg").read_bytes())
    for output in ("out.csv", "out.parquet", "out.vot"):
        predict_files(model, [tmp_path / "in"], tmp_path / output, inference=InferenceOptions(n_views=1))
    ids = pyarrow.parquet.read_table(tmp_path / "out.parquet")["id"].to_pylist()
    assert ids == ["caf\\xe9", "schön"]


def test_kaggles_layout_refuses_two_images_of_one_name(model, pictures, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "7.jpg").write_bytes((pictures / "000.jpg").read_bytes())
    with pytest.raises(PredictError, match=r"a/7\.jpg.*7"):
        predict_files(model, [tmp_path / "a", tmp_path / "b"], tmp_path / "out.csv", layout="kaggle")
    assert (
        predict_files(
            model, [tmp_path / "a", tmp_path / "b"], tmp_path / "out.csv", inference=InferenceOptions(n_views=1)
        ).rows
        == 2
    )


def test_kaggles_layout_names_the_bad_image(model, pictures, tmp_path):
    summary = predict_files(
        model, [pictures], tmp_path / "out.csv", inference=InferenceOptions(n_views=1), layout="kaggle"
    )
    assert summary.errors[0].file == str(pictures / "017.jpg")


def test_two_runs_do_not_write_one_output(model, pictures, tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    predict_loaded = model.predict_loaded

    def meanwhile(rows, options):
        with pytest.raises(PredictError, match="another run"):
            predict_files(model, [pictures], tmp_path / "out.csv", execution=ExecutionOptions(resume=True))
        return predict_loaded(rows, options)

    monkeypatch.setattr(model, "predict_loaded", meanwhile)
    assert predict_files(model, [pictures], tmp_path / "out.csv", inference=InferenceOptions(n_views=1)).rows == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv-metadata.json"]


def test_a_missing_library_is_found_out_first(model, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "astropy", None)
    monkeypatch.setitem(sys.modules, "astropy.table", None)
    with pytest.raises(ValueError, match=r"\.\[sky\]"):
        predict_files(model, [pictures], tmp_path / "out.fits")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_an_input_is_refused_before_anything_is_read(model, pictures, tmp_path):
    table = tmp_path / "in.csv"
    table.write_text(f"id,path\na,{pictures / '000.jpg'}\n")
    for output in (table, tmp_path):
        with pytest.raises(OutputError, match="is an input"):
            predict_files(model, [table, tmp_path], output)
    assert table.read_text().startswith("id,path")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_rows_with_a_warning_are_counted(run, tmp_path):
    Image.new("RGB", (64, 64), "black").save(tmp_path / "black.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "noise.png")
    result = run("predict", tmp_path, "-o", tmp_path / "votes.csv", "--model", "fast")
    assert "1 with a warning (column `warning`)" in result.output
    result = run("predict", tmp_path, "-o", tmp_path / "votes.csv", "--model", "fast", "--overwrite", "--json")
    assert json.loads(result.stdout)["warnings"] == 1


def test_rows_of_one_id_are_told_apart_by_their_path_and_counted(run, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("field1/a.png", "field2/a.png", "field2/b.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    result = run("predict", tmp_path / "in", "-o", tmp_path / "votes.csv", "--model", "fast")
    assert "2 rows share their ID with another row" in result.output
    assert len(set(pyarrow.csv.read_csv(tmp_path / "votes.csv")["path"].to_pylist())) == 3


def test_a_run_that_was_killed_while_it_was_removed_is_continued(model, pictures, tmp_path):
    one_view, alone = InferenceOptions(n_views=1), ExecutionOptions(workers=1)
    output, folder = tmp_path / "out.csv", tmp_path / "out.csv.parts"
    images = sorted(pictures.iterdir())[:3]
    predict_files(model, images, output, one_view, alone)
    whole = output.read_bytes()
    for left in (manifest.MANIFEST, manifest.LISTING):
        predict_files(model, images, tmp_path / "parts", one_view, alone)
        (tmp_path / "parts").rename(folder)
        # Parts go first, then the listing, at last the manifest.
        for file in folder.iterdir():
            if file.name not in (left, manifest.MANIFEST):
                file.unlink()
        output.write_text("of the run before")
        predict_files(model, images, output, one_view, ExecutionOptions(workers=1, resume=True))
        assert output.read_bytes() == whole
        assert not folder.exists()
