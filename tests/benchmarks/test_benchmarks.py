"""The repository's benchmarks run, small; nothing absolute is asserted."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a benchmark as `python benchmarks/NAME.py` does, but in this process; gives what it prints."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # changed for the processes that are measured

    def invoke(name, *words):
        path = str(BENCHMARKS / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, words)])
        runpy.run_path(path, run_name="__main__")
        return json.loads(capsys.readouterr().out)

    return invoke


def test_every_benchmark_says_how_it_is_run():
    silent = []
    for path in BENCHMARKS.glob("*.py"):
        text = path.read_text("utf-8")
        if "__main__" in text and f"python benchmarks/{path.name}" not in text:
            silent.append(path.name)
    assert not silent


@pytest.mark.slow
def test_growth_is_measured_and_drawn(run, tmp_path):
    pytest.importorskip("matplotlib")
    points = run("growth", "--rows", 4, 8, "--workers", 1, "--plot", tmp_path / "growth.png")
    assert [point["rows"] for point in points] == [4, 8]
    assert all(point["all_s"] > point["listing_s"] > 0 for point in points)
    assert (tmp_path / "growth.png").stat().st_size > 1000


@pytest.mark.slow
def test_memory_is_measured_and_drawn(run, tmp_path):
    pytest.importorskip("matplotlib")
    points = run("memory", "--rows", 4, 8, "--plot", tmp_path / "memory.svg")
    assert [(point["rows"], point["failed"]) for point in points] == [(4, 0), (8, 0)]
    assert (tmp_path / "memory.svg").read_text("utf-8").count("<svg") == 1


@pytest.mark.slow
def test_start_up_is_measured():
    command = [sys.executable, str(BENCHMARKS / "start_up.py"), "--repeats", "1"]
    measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert set(measured["seconds"]) == {"--help", "--version", "predict, one image"}
    assert list(measured["imports"].values()) == sorted(measured["imports"].values(), reverse=True)


@pytest.mark.slow
def test_the_peer_and_the_training_are_measured(run):
    pytest.importorskip("torch")
    peer = run("peer", "--rows", 8, "--repeats", 1)["images_per_second"]
    assert peer["ratio"]["median"] == pytest.approx(peer["ours"]["median"] / peer["peer"]["median"])
    words = ("--recipe", "mobilenetv2", "--size", 32, "--batch", 4, "--repeats", 1, "--seconds", 0.1, "--distinct", 8)
    training = run("training_speed", *words)["figures"]
    assert set(training) == {"plain", "ours", "ours, bf16"}
    assert training["plain"]["ratio"]["median"] == 1
    assert all(0 <= figures["data_wait"]["median"] <= 1 for figures in training.values())
