"""Runtimes beside one another, and the choice of the arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import tuningfork
from tuningfork.evaluation import speed_runtimes
from tuningfork.evaluation.speed_images import simulated_images
from tuningfork.evaluation.speed_runtimes import measure_decoding, measure_runtimes
from tuningfork.model import precision as precision_module
from tuningfork.model.model import Model
from tuningfork.model.precision import choose_precision
from tuningfork.model.runtime import RuntimeUnavailable
from tuningfork.simulation import draw, render


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast", threads=1, device="cpu")


@pytest.fixture(scope="module")
def reads(model):
    return [model.read(render(draw(7, index))) for index in range(6)]


class Rounded(Model):
    """Stands for bfloat16: fractions are off by some share of their distance to the mean."""

    share = 0.001

    def run(self, inputs, options):
        outputs = super().run(inputs, options)
        mean = outputs.cumulative.mean(0)
        return replace(outputs, cumulative=outputs.cumulative + self.share * (mean - outputs.cumulative))


def opened(kind):
    def open_(bundle, *, precision, framing, **running):
        assert precision == "bf16"
        return kind(bundle, **running, framing=framing)

    return open_


def test_bf16_is_taken_if_the_intervals_hold_its_deviations(model, reads, monkeypatch):
    monkeypatch.setattr(precision_module, "Model", opened(Rounded))
    chosen, choice = choose_precision(model, reads)
    assert (choice.precision, type(chosen)) == ("bf16", Rounded)
    assert 0 < choice.rms <= choice.largest < 0.1
    assert 0 < choice.of_interval < 0.1
    monkeypatch.setattr(Rounded, "share", 0.8)
    chosen, choice = choose_precision(model, reads)
    assert (choice.precision, chosen) == ("f32", model)
    assert "half an interval" in choice.reason


def test_where_it_cannot_be_judged_float32_stays(model, reads, monkeypatch):
    assert choose_precision(model, [model.read(b"no image")])[1].reason.startswith("no image could be read")
    bare = Model(replace(model.bundle, calibration=None), threads=1, device="cpu")
    assert choose_precision(bare, reads)[1].precision == "f32"

    def absent(*_, **__):
        raise RuntimeUnavailable("this CPU has no bfloat16 arithmetic")

    monkeypatch.setattr(precision_module, "Model", absent)
    chosen, choice = choose_precision(model, reads)
    assert (chosen, choice.precision) == (model, "f32")
    assert "no bfloat16" in choice.reason


def test_decoding_at_a_smaller_size_changes_fractions(model, tmp_path):
    files = simulated_images(tmp_path / "images", 4)
    found = measure_decoding(model, files, rounds=1)
    assert found.images == 4
    assert 0 < found.rms <= found.largest < 0.5
    (tmp_path / "other.png").write_bytes(b"no JPEG")
    assert measure_decoding(model, [tmp_path / "other.png"]) is None


def test_bench_shows_the_runtimes(run, monkeypatch):
    monkeypatch.setattr("tuningfork.cli.bench._COMPARED", 3)
    monkeypatch.setattr(speed_runtimes, "_in_eight_bits", lambda *_: None)
    found = json.loads(run("bench", "--runtimes", "--json").stdout)
    assert found["runtimes"][0]["speed"] == 1
    assert found["precision_auto"]["precision"] in ("f32", "bf16")


def test_predict_says_what_auto_chose(run, tmp_path, monkeypatch):
    (image,) = simulated_images(tmp_path / "images", 1)
    monkeypatch.setattr(precision_module, "Model", opened(Rounded))
    run("predict", image, "--model", "fast", "--precision", "auto", "-o", tmp_path / "votes.csv")
    assert np.loadtxt(tmp_path / "votes.csv", str, delimiter=",", max_rows=1).size > 40


@pytest.mark.slow
def test_every_runtime_is_measured_against_float32():
    model = tuningfork.load("fast", threads=1, device="cpu")
    reads = [model.read(render(draw(7, index))) for index in range(12)] + [model.read(b"no image")]
    first, *others = measure_runtimes(model, reads, rounds=1)
    assert first.runtime == model.runtime
    assert (first.speed, first.rms, first.largest, first.agreement) == (1, 0, 0, 1)
    assert len({row.runtime for row in others}) == len(others)
    for row in others:
        assert row.milliseconds > 0
        assert row.spread >= 0
        assert row.speed > 0
        assert 0 <= row.rms <= row.largest <= 1
        assert 0 <= row.agreement <= 1
        if "float32" in row.runtime:
            assert row.largest < 1e-5
        if "int8" in row.runtime or "bfloat16" in row.runtime:
            assert row.rms > 1e-4
    with pytest.raises(ValueError, match="no image"):
        measure_runtimes(model, [model.read(b"no image")])
