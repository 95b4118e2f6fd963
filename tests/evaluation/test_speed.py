"""`tuningfork bench`: figures follow from what was measured, nothing is left behind, nothing absolute is asserted."""

import json
import os
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.evaluation import speed
from tuningfork.evaluation.resource_use import gpu_utilisation, peak_memory
from tuningfork.evaluation.speed_images import BenchmarkError, linked_images, sample_images, simulated_images
from tuningfork.evaluation.speed_report import SURVEYS, EndToEnd, SpeedReport, Spread, forecast, machine
from tuningfork.images.find import find_images
from tuningfork.model.options import InferenceOptions

RATES = st.floats(1e-2, 1e6)


@pytest.fixture
def report():
    runs = [
        EndToEnd(100, 0, 250, 300, 1, 100, 500.0),
        EndToEnd(100, 0, 140, 160, 2, None, 500.0),
        EndToEnd(100, 0, 260, 310, 1, 120, 500.0),
    ]
    return SpeedReport({"bytes_per_image": 12_000}, {"cores": 2}, [1000, 500, 1100], [500, 250, 510], runs)


@given(RATES, RATES)
def test_the_bound_is_the_time_of_both(decode, network):
    bound = SpeedReport({}, {}, [decode], [network], [EndToEnd(1, 0, 1, 1, 1, 1)]).figures["bound"].median
    assert bound < min(decode, network)
    assert 100 / bound == pytest.approx(100 / decode + 100 / network)


@given(st.lists(RATES, min_size=1, max_size=9))
def test_a_spread_holds_its_median(values):
    spread = Spread.of(values)
    assert spread.low <= spread.median <= spread.high
    assert spread.median == pytest.approx(np.median(values))


def test_ratios_are_of_the_same_repeat(report):
    # The second repeat was on a machine of half the speed: its ratio is as good as the others'.
    figures = report.figures
    assert figures["of_bound"] == Spread.of([300 / (1000 / 3), 160 / (500 / 3), 310 / (1 / (1 / 1100 + 1 / 510))])
    assert figures["peak_mb"] == Spread(110, 100, 120)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["figures"]["steady"]["median"] == 300


@given(RATES, st.floats(0, 100), st.integers(1, 256), st.floats(0, 50))
def test_forecasts_grow_with_galaxies(rate, start_up, cores, price):
    rows = [forecast(n, rate, start_up, cores, price) for n in (1, *SURVEYS)]
    assert all(less["hours"] < more["hours"] for less, more in pairwise(rows))
    for row in rows:
        assert row["core_hours"] == pytest.approx(row["hours"] * cores)
        assert row["cost"] == pytest.approx(row["hours"] * price)
        assert row["hours"] * 3600 == pytest.approx(start_up + row["galaxies"] / rate)
    assert forecast(10, rate, start_up, cores)["cost"] is None


def test_a_survey_of_any_size_is_forecast_in_gigabytes(report):
    (row,) = report.forecasts(2.0, 1_000_000)
    assert (row["images_gb"], row["table_gb"]) == (12, 0.5)
    assert row["cost"] == pytest.approx(2 * row["hours"])


def test_the_machine_is_described():
    described = machine()
    assert described["cores"] >= 1
    assert described["processor"]
    assert {"python", "numpy", "onnxruntime"} <= set(described["versions"])


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands for nvidia-smi")
def test_the_gpus_utilisation_is_the_mean_of_what_nvidia_smi_reports(tmp_path, monkeypatch):
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 40\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ended = threading.Event()
    threading.Timer(0.8, ended.set).start()
    assert gpu_utilisation(ended) == 40
    command.write_text("#!/bin/sh\nexit 9\n")
    assert gpu_utilisation(threading.Event()) is None


def test_peak_memory_counts_what_is_held_meanwhile():
    pytest.importorskip("psutil")
    ended, peaks = threading.Event(), []
    watch = threading.Thread(target=lambda: peaks.append(peak_memory(ended)))
    watch.start()
    held = b"x" * 200_000_000
    time.sleep(0.7)
    ended.set()
    watch.join()
    assert peaks[0] is None or peaks[0] > len(held) / 1e6


@pytest.mark.parametrize("links", ["hard", "symbolic"])
def test_images_are_repeated_as_links(tmp_path, monkeypatch, links):
    images = simulated_images(tmp_path / "distinct", 3)
    if links == "symbolic":

        def refuse(*_):
            raise OSError("another device")

        monkeypatch.setattr(os, "link", refuse)
    files = sorted(linked_images(images, 8, tmp_path / "files").rglob("*.jpg"))
    assert len({path.name for path in files}) == 8
    for row, path in enumerate(files):
        assert path.samefile(images[row % 3])
        assert path.is_symlink() == (links == "symbolic")
    assert len(list(find_images([tmp_path / "files"]))) == 8


def test_only_images_that_can_be_read_are_taken(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xffbroken")
    with pytest.raises(BenchmarkError, match="no image that can be read"):
        sample_images(tmp_path / "a")
    good = simulated_images(tmp_path / "a" / "b", 2)
    assert sample_images(tmp_path / "a") == good


def test_images_of_ones_own_are_measured(tmp_path, monkeypatch):
    folder = simulated_images(tmp_path / "images", 3)[0].parent

    def end_to_end(task):
        files, table = list(find_images([task[1]])), task[2]
        Path(table).touch()
        return EndToEnd(len(files), 0, 1, 1, 1, 1)

    monkeypatch.setattr(speed, "_rate", lambda *_: 1.0)
    monkeypatch.setattr(speed, "_end_to_end", end_to_end)
    monkeypatch.setattr(speed, "_bytes_per_row", lambda *_: 1.0)
    report = speed.measure_speed("fast", folder, InferenceOptions(batch_size=8), rows=7, repeats=1)
    assert report.settings["distinct"] == 3
    assert report.settings["bytes_per_image"] == np.mean([path.stat().st_size for path in folder.iterdir()])
    assert report.end_to_end[0].rows == 7


@pytest.mark.slow
def test_all_rates_are_measured(run):
    words = ("bench", "--rows", 4, "--repeats", 1, "--seconds", 0.05)
    measured = json.loads(run(*words, "--json", "--price", 2).stdout)
    assert measured["end_to_end"][0]["rows"] == 4
    assert measured["end_to_end"][0]["failed"] == 0
    assert min(*measured["decode"], *measured["network"]) > 0
    assert measured["forecasts"][0]["cost"] > 0
    assert "ONNX Runtime" in measured["settings"]["runtime"]


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(interrupted, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    rest = interrupted("bench", "--rows", 64, "--repeats", 50, "--seconds", 0.2, line="repeat 1 of 50: files")
    assert rest.splitlines()[-1] == "interrupted"
    assert list(tmp_path.glob("tuningfork*")) == []


def test_wrong_usage_is_an_error(run):
    for words in (["--views", 3], ["--images", "not-there"], ["--rows", 0]):
        run("bench", *words, code=2)
    assert "error: " in run("bench", "--model", "no-such-model", code=1).stderr
