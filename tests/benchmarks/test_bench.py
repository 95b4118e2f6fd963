"""`tuningfork bench`: figures follow from what was measured, nothing is left behind, nothing absolute is asserted."""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.bench import run as bench_run
from tuningfork.bench.fresh import BenchError, fresh_process
from tuningfork.bench.growth import Point, draw_memory
from tuningfork.bench.machine import Others, machine
from tuningfork.bench.memory import family
from tuningfork.bench.pictures import repeated, simulated, small, temporary_folder, users
from tuningfork.bench.report import SURVEYS, Pass, Repeat, Report, Spread, bound, cost, one_pass
from tuningfork.bench.start_up import costly_imports
from tuningfork.bench.training import Steps, TrainReport
from tuningfork.images.find import find_images
from tuningfork.images.read import read_image

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="only Linux tells")
RATES = st.floats(1e-2, 1e6)


# ------------------------------------------------------------------ figures


@given(RATES, RATES)
def test_the_bound_is_the_time_of_both(decode, network):
    allowed = bound(decode, network)
    assert allowed == pytest.approx(bound(network, decode))
    assert allowed < min(decode, network)
    assert 100 / allowed == pytest.approx(100 / decode + 100 / network)


def test_equal_limits_allow_half():
    assert bound(800, 800) == 400


@given(st.lists(RATES, min_size=1, max_size=9))
def test_a_spread_holds_its_median(values):
    spread = Spread.of(values)
    assert spread.low <= spread.median <= spread.high
    assert spread.median == pytest.approx(np.median(values))


def _told(rows, first, first_at, ended_at):
    return {"rows": rows, "first": first, "first_at": first_at, "ended_at": ended_at, "failed": 0}


def test_start_up_is_what_the_rows_do_not_explain():
    # 1000 rows at 100 a second, begun 3 s after the process, of which the first 50 were told of at 3.5 s.
    told = one_pass(_told(1000, 50, 3.5, 13.0), 13.0, 300.0)
    assert told.steady == pytest.approx(100)
    assert told.start_up == pytest.approx(3)
    assert told.rate == pytest.approx(1000 / 13)
    assert told.peak_mb == 300


def test_one_report_of_all_rows_leaves_only_the_whole():
    told = one_pass(_told(8, 8, 2.0, 2.1), 2.5, None)
    assert told.steady == told.rate == pytest.approx(8 / 2.5)
    assert told.start_up == 0


def _pass(steady, start_up=1.0, rows=1000, peak=100.0):
    seconds = rows / steady + start_up
    return Pass(rows, seconds, rows / seconds, steady, start_up, peak)


REPEATS = [
    Repeat(1000.0, 500.0, _pass(300.0), _pass(50.0, 6.0, peak=1000.0)),
    Repeat(500.0, 250.0, _pass(160.0), _pass(24.0, 9.0, peak=1100.0)),
    Repeat(1100.0, 510.0, _pass(310.0, peak=120.0), _pass(49.0, 7.0, peak=1050.0)),
]


@pytest.fixture
def report():
    return Report({"rows": 1000}, machine() | {"cores": 4}, REPEATS, {1: 400.0, 8: 500.0}, price=0.5, others=0.02)


def test_ratios_are_of_the_same_repeat(report):
    # The second repeat was on a machine of half the speed: its ratios are as good as the others'.
    figures = report.figures
    for name, ratios in (
        ("of_bound", [r.ours.steady / bound(r.decode, r.network) for r in REPEATS]),
        ("over_peer", [r.ours.steady / r.peer.steady for r in REPEATS]),
    ):
        assert figures[name] == Spread.of(ratios)
    assert figures["of_bound"].high < 1
    assert figures["over_peer"].low > 6 * 0.99
    assert figures["bound"].median == pytest.approx(1000 * 500 / 1500)
    assert figures["ours_peak_mb"] == Spread(100, 100, 120)
    assert figures["peer_start_up"] == Spread(7, 6, 9)


def test_json_holds_all_that_was_measured(report):
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert len(told["repeats"]) == len(REPEATS)
    for row, repeat in zip(told["repeats"], REPEATS, strict=True):
        assert row["ours"] == asdict(repeat.ours)
        assert row["peer"] == asdict(repeat.peer)
        assert (row["decode"], row["network"]) == (repeat.decode, repeat.network)
        assert row["over_peer"] == repeat.over_peer
    assert set(told["figures"]) == set(report.figures)
    assert all(set(figure) == {"median", "low", "high"} for figure in told["figures"].values())
    assert {"processor", "cores", "versions", "bytecode"} <= set(told["machine"])
    assert told["others"] == 0.02
    assert told["batches"] == {"1": 400.0, "8": 500.0}
    assert set(told["costs"]) == {"ours", "peer"}


def test_without_a_peer_there_is_none_in_any_figure(report):
    alone = replace(report, repeats=[replace(r, peer=None) for r in REPEATS], left_out="no torch")
    assert not [name for name in alone.figures if "peer" in name]
    assert set(alone.costs) == {"ours"}
    told = json.loads(json.dumps(alone.to_dict(), allow_nan=False))
    assert told["left_out"] == "no torch"
    assert told["repeats"][0]["peer"] is told["repeats"][0]["over_peer"] is None


@given(RATES, st.floats(0, 100), st.integers(1, 256), st.floats(0, 50))
def test_costs_grow_with_galaxies(rate, start_up, cores, price):
    rows = [cost(n, rate, start_up, cores, price) for n in (1, *SURVEYS)]
    for less, more in pairwise(rows):
        assert less["hours"] < more["hours"]
    for row in rows:
        assert row["core_hours"] == pytest.approx(row["hours"] * cores)
        assert row["price"] == pytest.approx(row["hours"] * price)
        assert row["hours"] * 3600 == pytest.approx(start_up + row["galaxies"] / rate)


def test_without_a_price_nothing_costs():
    assert cost(10, 5.0, 1.0, 2)["price"] is None


def test_training_ratios_are_of_the_same_repeat():
    plain = [Steps(50, 0.1, 2.0), Steps(20, 0.2, 3.0)]
    ours = [Steps(100, 0.01, 2.0), Steps(60, 0.02, 3.0)]
    told = TrainReport({}, machine(), {"plain": plain, "ours": ours})
    assert told.figures["plain"]["ratio"] == Spread(1, 1, 1)
    assert told.figures["ours"]["ratio"] == Spread(2.5, 2, 3)
    content = json.loads(json.dumps(told.to_dict(), allow_nan=False))
    assert content["repeats"]["ours"] == [asdict(steps) for steps in ours]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_counts_the_wait_of_whoever_asks(workers):
    pytest.importorskip("torch")
    pytest.importorskip("tuningfork.training")
    from tuningfork.training.dataset import TimedLoader

    class Slow:
        def __len__(self):
            return 6

        def __getitem__(self, row):
            time.sleep(0.02)
            return float(row)

    loader = TimedLoader(Slow(), batch_size=2, num_workers=workers)
    assert loader.waited == 0
    started = time.perf_counter()
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5]]
    assert 6 * 0.02 <= loader.waited <= time.perf_counter() - started
    before = loader.waited
    for _ in loader:
        break
    assert loader.waited > before


def test_a_loader_that_is_ahead_is_not_waited_for():
    pytest.importorskip("torch")
    pytest.importorskip("tuningfork.training")
    from tuningfork.training.dataset import TimedLoader

    loader = TimedLoader(range(8), batch_size=2, num_workers=1)
    batches = iter(loader)
    next(batches)
    time.sleep(0.5)
    started, waited = time.perf_counter(), loader.waited
    for _ in range(2):  # the two that a worker prepares ahead
        next(batches)
        time.sleep(0.1)
    assert loader.waited - waited < 0.5 * (time.perf_counter() - started)


# ------------------------------------------------------------------ the machine


def test_the_machine_is_described():
    told = machine()
    assert told["cores"] >= 1
    assert told["processor"]
    assert {"python", "numpy", "onnxruntime"} <= set(told["versions"])


@needs_proc
def test_work_of_others_is_a_share():
    others = Others()
    stop = time.perf_counter() + 0.3
    while time.perf_counter() < stop:
        pass
    assert 0 <= others.share() <= 1


# ------------------------------------------------------------------ fresh processes


def _answer(value):
    return value, os.getpid()


def _fails():
    raise ValueError("no such thing")


def _dies():
    os._exit(7)


def _holds_with_a_child(megabytes):
    code = f"import time; held = bytearray({megabytes}_000_000); time.sleep(1.5)"
    subprocess.run([sys.executable, "-c", code], check=True)


def _leaves_a_child(pid_file):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(pid_file, "w", encoding="ascii") as file:
        file.write(str(process.pid))
    os._exit(3)


def test_a_fresh_process_answers():
    done = fresh_process(_answer, {"a": [1, 2]})
    assert done.result[0] == {"a": [1, 2]}
    assert done.result[1] != os.getpid()
    assert done.seconds > 0


@pytest.mark.parametrize(("function", "reason"), [(_fails, "ValueError: no such thing"), (_dies, "ended with code 7")])
def test_what_goes_wrong_in_it_is_said(function, reason):
    with pytest.raises(BenchError, match=reason):
        fresh_process(function)


@needs_proc
def test_memory_of_children_counts():
    little, much = (fresh_process(_holds_with_a_child, megabytes).peak_mb for megabytes in (1, 150))
    assert 120 < much - little < 200


@needs_proc
def test_no_child_outlives_it(tmp_path):
    with pytest.raises(BenchError, match="ended with code 3"):
        fresh_process(_leaves_a_child, str(tmp_path / "pid"))
    _wait_for_the_end_of(int((tmp_path / "pid").read_text("ascii")))


def _wait_for_the_end_of(process):
    for _ in range(400):
        if not family(process):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process} is still there")


_CALLER = """
import sys
sys.path[:0] = [sys.argv[1]]
import test_bench
from tuningfork.bench.fresh import fresh_process

if __name__ == "__main__":
    fresh_process(test_bench._waits, sys.argv[2])
"""


def _waits(pid_file):
    with open(pid_file + ".part", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    os.rename(pid_file + ".part", pid_file)
    time.sleep(600)


@needs_proc
def test_it_ends_with_a_caller_that_is_killed(tmp_path):
    script, pid = tmp_path / "caller.py", tmp_path / "pid"
    script.write_text(_CALLER, encoding="utf-8")
    with subprocess.Popen([sys.executable, script, os.path.dirname(__file__), pid]) as caller:
        while not pid.exists():
            assert caller.poll() is None
            time.sleep(0.05)
        caller.kill()
    _wait_for_the_end_of(int(pid.read_text("ascii")))


# ------------------------------------------------------------------ pictures


@pytest.mark.parametrize("links", ["hard", "symbolic"])
def test_pictures_are_repeated_as_links(tmp_path, monkeypatch, links):
    pictures = simulated(tmp_path / "distinct", 3)
    if links == "symbolic":

        def refuse(*_):
            raise OSError("another device")

        monkeypatch.setattr(os, "link", refuse)
    found = list(find_images([repeated(pictures, 8, tmp_path / "files")]))
    assert len(found) == len({path.name for path in found}) == 8
    for row, path in enumerate(found):
        assert path.samefile(pictures[row % 3])
        assert path.is_symlink() == (links == "symbolic")


def test_small_pictures_are_distinct(tmp_path):
    paths = small(tmp_path / "small", 2, 32)
    assert len({path.read_bytes() for path in paths}) == len(paths) == 16
    assert {read_image(path).rgb.shape for path in paths} == {(32, 32, 3)}


def test_only_good_pictures_of_a_user_are_taken(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xffbroken")
    with pytest.raises(BenchError, match="no picture that can be read"):
        users(tmp_path / "a")
    good = simulated(tmp_path / "a" / "b", 2)
    assert users(tmp_path / "a") == good


def test_the_temporary_folder_goes_with_an_exception():
    with pytest.raises(KeyboardInterrupt), temporary_folder() as folder:  # noqa: PT012
        (folder / "file").touch()
        raise KeyboardInterrupt
    assert not folder.exists()


# ------------------------------------------------------------------ the whole


QUICK = ("--rows", 16, "--repeats", 2, "--seconds", 0.05)


def test_bench_tells_all_rates_as_json(run):
    told = json.loads(run("bench", *QUICK, "--no-peer", "--json").stdout)
    assert told["left_out"]
    assert [row["peer"] for row in told["repeats"]] == [None, None]
    for row in told["repeats"]:
        assert row["decode"] > 0
        assert row["network"] > 0
        assert row["ours"]["rows"] == 16
        assert row["ours"]["failed"] == 0
        assert row["of_bound"] == pytest.approx(row["ours"]["steady"] / row["bound"])
    assert "ONNX Runtime" in told["settings"]["runtime"]


def test_without_torch_the_peer_is_left_out_and_said_so(run, monkeypatch, tmp_path):
    monkeypatch.setattr(bench_run, "find_spec", lambda name: None if name == "torch" else object())
    pictures = simulated(tmp_path / "pictures", 3)[0].parent
    said = run("bench", "--rows", 4, "--repeats", 1, "--seconds", 0.05, "--price", 2, "--images", pictures).stdout
    assert "(d) left out: the peer's loop needs torch: pip install 'tuningfork[train]'" in said
    assert "price" in said
    assert "(c) / bound" in said
    assert "(c) / (d)" not in said


def test_an_interrupt_leaves_nothing(interrupted, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    rest = interrupted("bench", "--rows", 64, "--repeats", 50, "--seconds", 1, "--no-peer", line="repeat 1 of 50: ours")
    assert rest.splitlines()[-1] == "interrupted"
    assert list(tmp_path.glob("tuningfork*")) == []


def test_memory_is_measured_and_drawn(run, tmp_path):
    pytest.importorskip("matplotlib")
    told = run("bench", "--memory", "--memory-rows", "4,8", "-o", tmp_path / "memory.svg", "--json").stdout
    points = json.loads(told)["points"]
    assert [point["rows"] for point in points] == [4, 8]
    assert (tmp_path / "memory.svg").read_text("utf-8").count("<svg") == 1


def test_a_plot_of_unknown_memory_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    draw_memory([Point(10, 1.0, None), Point(100, 2.0, None)], tmp_path / "memory.png")
    assert read_image(tmp_path / "memory.png").rgb.shape[2] == 3


@pytest.mark.parametrize(
    "words",
    [
        ["--views", 3],
        ["--train", "--memory"],
        ["-o", "plot.svg"],
        ["--memory", "-o", "plot.txt"],
        ["--memory", "--memory-rows", "10,none"],
        ["--memory", "--memory-rows", "0"],
        ["--images", "not-there"],
    ],
)
def test_wrong_usage_is_said(run, words):
    run("bench", *words, code=2)


def test_an_unknown_model_is_said(run):
    assert "error: " in run("bench", "--model", "no-such-model", code=1).stderr


def test_imports_are_counted_once_each(tmp_path):
    imports = costly_imports(["--version"])
    assert list(imports.values()) == sorted(imports.values(), reverse=True)
    assert {"typer", "tuningfork"} & set(imports)
    assert all(math.isfinite(seconds) and "." not in name for name, seconds in imports.items())


@pytest.mark.slow
def test_start_up_is_measured(run):
    told = json.loads(run("bench", "--start-up", "--repeats", 1, "--json").stdout)
    assert [start["command"].split()[1] for start in told["starts"]] == ["--help", "--version", "predict,"]


@pytest.mark.slow
def test_runtimes_are_compared(run, tmp_path):
    pictures = simulated(tmp_path / "pictures", 4)[0].parent
    rows = json.loads(run("bench", "--runtimes", "--images", pictures, "--json").stdout)["runtimes"]
    assert rows[0]["speed"] == 1
    assert rows[0]["largest"] == 0


@pytest.mark.slow
def test_the_peer_is_measured_too(run):
    pytest.importorskip("torch")
    pytest.importorskip("tuningfork.training")
    told = json.loads(run("bench", *QUICK, "--json").stdout)
    assert told["left_out"] == ""
    assert told["figures"]["over_peer"]["median"] > 0
    assert all(row["peer"]["rows"] == 16 for row in told["repeats"])


@pytest.mark.slow
def test_training_is_measured_beside_the_plain_loop(run):
    pytest.importorskip("torch")
    pytest.importorskip("tuningfork.training")
    words = ("--train", "--recipe", "mobilenetv2", "--size", 32, "--repeats", 1, "--seconds", 0.1, "--json")
    told = json.loads(run("bench", *words).stdout)
    assert set(told["figures"]) == {"plain", "ours", "ours, bf16"}
    for figures in told["figures"].values():
        assert figures["rate"]["median"] > 0
        assert 0 <= figures["data_wait"]["median"] <= 1
