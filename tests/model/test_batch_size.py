"""Batch sizes: measured once, remembered for this machine, and no matter for the predictions."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import tuningfork
from tuningfork._utils.processes import Worker, WorkerCrash, WorkerError
from tuningfork.model import batch_size as tuning
from tuningfork.model.batch_size import BATCHES, Tuning, tune_batch_size
from tuningfork.model.options import InferenceOptions
from tuningfork.pipeline import task
from tuningfork.simulation import draw, render


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast", threads=1, device="cpu")


@pytest.fixture
def measured(monkeypatch):
    """How often it is measured; by a stand-in, in no time."""
    calls = []

    def stand_in(worker, task, hear):
        views, threads, _ = task
        calls.append(views)
        return Tuning(4 * len(calls), threads, 1.5, "a runtime")

    monkeypatch.setattr(Worker, "run", stand_in)
    return calls


def test_it_measures_and_takes_what_is_fast(model, tmp_path):
    found = tune_batch_size(model, folder=tmp_path, seconds=0.3)
    assert found.batch in BATCHES
    assert found.threads == 1
    assert found.runtime == model.runtime
    assert found.milliseconds > 0


@pytest.mark.parametrize(("slow", "expected"), [((), 1), ((1, 4), 8), ((1, 4, 8, 16, 32), 64)])
def test_of_sizes_alike_the_smallest_is_taken(model, monkeypatch, slow, expected):
    now = [0.0]
    monkeypatch.setattr(tuning.time, "perf_counter", lambda: now[0])

    def run(inputs, options):
        now[0] += len(inputs) * (2e-3 if len(inputs) in slow else 1e-3)

    monkeypatch.setattr(model, "run", run)
    found = tuning._measure(model, 1, 1, 3.0)
    assert found.batch == expected
    assert found.milliseconds == pytest.approx(1)
    assert now[0] < 3.1


def test_time_that_is_short_is_kept_to(model, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tuning.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(model, "run", lambda inputs, options: now.__setitem__(0, now[0] + len(inputs)))
    assert tuning._measure(model, 1, 1, 3.0).batch == 1
    assert now[0] < 3.1


def test_it_is_measured_in_a_process_of_its_own(model, tmp_path, monkeypatch):
    def nobody(*_):
        raise AssertionError("measured here")

    monkeypatch.setattr(tuning, "_measure", nobody)
    monkeypatch.setattr(model, "run", nobody)
    assert tune_batch_size(model, folder=tmp_path, seconds=0.1).batch in BATCHES


@pytest.mark.parametrize("trouble", [WorkerCrash(-9, None), WorkerError("no memory")])
def test_a_run_does_not_fail_for_want_of_a_measurement(model, tmp_path, monkeypatch, trouble):
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))

    def fail(*_):
        raise trouble

    monkeypatch.setattr(Worker, "run", fail)
    assert task.chosen_batch_size(model, None, 1, task.MIN_ROWS_TO_TUNE) == task.BATCH


def test_it_is_remembered_until_it_is_asked_again(model, tmp_path, measured):
    first = tune_batch_size(model, folder=tmp_path / "new")
    assert tune_batch_size(model, folder=tmp_path / "new") == first
    assert len(measured) == 1
    assert tune_batch_size(model, folder=tmp_path / "new", again=True) != first
    assert len(measured) == 2


def test_other_networks_views_threads_and_machines_are_measured_anew(model, tmp_path, measured, monkeypatch):
    tune_batch_size(model, folder=tmp_path)
    tune_batch_size(model, folder=tmp_path, n_views=4)
    tune_batch_size(model, folder=tmp_path, threads=0)
    tune_batch_size(tuningfork.load("default", threads=1), folder=tmp_path, n_views=1)
    monkeypatch.setattr(tuning, "_cpu", lambda: "another CPU")
    tune_batch_size(model, folder=tmp_path)
    monkeypatch.setattr(tuning, "available_cores", lambda: 1024)
    tune_batch_size(model, folder=tmp_path)
    assert len(measured) == len(list(tmp_path.iterdir())) == 6
    tune_batch_size(model, folder=tmp_path)
    assert len(measured) == 6


def test_no_views_named_are_the_models_own(model, tmp_path, measured):
    tune_batch_size(model, folder=tmp_path)
    tune_batch_size(model, folder=tmp_path, n_views=model.n_views)
    assert measured == [model.n_views]


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"of": 1, "tuning": {"batch": 8}}',
        "\x00",
    ],
    ids=lambda kept: repr(kept[:20]),
)
def test_a_file_that_makes_no_sense_counts_as_none(model, tmp_path, measured, kept):
    tune_batch_size(model, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(kept)
    again = tune_batch_size(model, folder=tmp_path)
    assert len(measured) == 2
    assert tune_batch_size(model, folder=tmp_path) == again
    assert len(measured) == 2


@pytest.mark.parametrize(
    ("name", "value"), [("batch", 0), ("batch", "8"), ("batch", True), ("threads", -1), ("milliseconds", float("nan"))]
)
def test_numbers_out_of_range_count_as_none(model, tmp_path, measured, name, value):
    found = tune_batch_size(model, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    kept = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**kept, "tuning": {**kept["tuning"], name: value}}))
    tune_batch_size(model, folder=tmp_path)
    assert len(measured) == 2
    with pytest.raises(ValueError, match="tuning"):
        Tuning.from_dict({**found.to_dict(), name: value})


def test_what_another_machine_kept_is_not_taken(model, tmp_path, measured):
    tune_batch_size(model, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    kept = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**kept, "of": {**kept["of"], "cpu": "another"}}))
    tune_batch_size(model, folder=tmp_path)
    assert len(measured) == 2


def test_a_folder_that_cannot_be_written_is_no_trouble(model, tmp_path, measured):
    (tmp_path / "file").write_text("")
    tune_batch_size(model, folder=tmp_path / "file" / "folder")
    tune_batch_size(model, folder=tmp_path / "file")
    assert len(measured) == 2


def test_the_users_cache_is_where_it_is_kept(model, tmp_path, measured, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
    tune_batch_size(model)
    assert [path.parent.name for path in tmp_path.rglob("*.json")] == ["tuningfork"]


def test_plain_types_there_and_back():
    found = Tuning(8, 2, 1.25, "ONNX Runtime")
    assert Tuning.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_batch_sizes_change_no_prediction(model):
    pictures = [render(draw(11, index)) for index in range(9)]
    told = [model.predict(pictures, options=InferenceOptions(batch_size=batch)) for batch in BATCHES]
    for each in told[1:]:
        np.testing.assert_allclose(each.cumulative, told[0].cumulative, rtol=0, atol=1e-6)
        np.testing.assert_allclose(each.class_probability, told[0].class_probability, rtol=0, atol=1e-6)
