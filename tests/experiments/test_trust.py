"""Whether intervals and probabilities hold: counted as by hand, and by groups that share the galaxies out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")

import itertools

from tuningfork.cli import app
from tuningfork.display.plots import trust_panels
from tuningfork.evaluation.prediction_table import PredictionTable
from tuningfork.evaluation.true_classes import predicted_classes
from tuningfork.experiments.plan import StudyError
from tuningfork.experiments.trust import group_reliability, quantile_groups, reliability_bins, trust
from tuningfork.model.training_ids import TrainingIDs
from tuningfork.simulation import simulate
from tuningfork.votes import fractions as votes
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree_files import load_tree

TREE = load_tree("gz2")


@given(st.lists(st.one_of(st.floats(-9, 9), st.just(float("nan"))), min_size=3, max_size=50), st.integers(1, 4))
def test_groups_share_out_all_that_is_known_from_least_to_most(values, count):
    values = np.array(values)
    groups = quantile_groups(values, [str(n) for n in range(count)])
    together = np.sum([group for _, group in groups], 0)
    np.testing.assert_array_equal(together, ~np.isnan(values))
    sizes = [group.sum() for _, group in groups]
    assert max(sizes) - min(sizes) <= 1
    for (_, low), (_, high) in itertools.pairwise(groups):
        if low.any() and high.any():
            assert values[low].max() <= values[high].min()


@given(st.integers(0, 10_000))
def test_coverage_is_the_mean_over_galaxies_of_the_share_that_holds(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(12, len(TREE.columns)))
    known = votes.cumulative_from_logits(logits, TREE)
    known[rng.random(12) < 0.4, TREE.slices[2]] = np.nan
    true = votes.conditional_from_cumulative(known, TREE)
    low = np.clip(np.nan_to_num(true) + rng.uniform(-0.3, 0.1, true.shape), 0, 1)
    high = np.clip(low + 0.3, 0, 1)
    group = rng.random(12) < 0.7
    (told,) = group_reliability(low, high, known, None, [group], TREE)
    shares = []
    for row in np.flatnonzero(group):
        questions = [range(part.start, part.stop) for part in TREE.slices if not np.isnan(true[row, part]).any()]
        shares.append(np.mean([all(low[row, a] <= true[row, a] <= high[row, a] for a in part) for part in questions]))
    if shares:
        assert told["coverage"] == pytest.approx(np.mean(shares))
        assert told["low"] <= told["coverage"] <= told["high"]
    assert told["galaxies"] == group.sum()
    assert told["accuracy"] is None


def test_bins_of_calibrated_probabilities_lie_on_the_diagonal():
    rng = np.random.default_rng(4)
    # Of seven classes and none, as many are drawn as their probabilities say.
    every = rng.dirichlet(np.ones(8) * 0.5, 20_000)
    classes = np.array([rng.choice(8, p=p) for p in every])
    fits = (classes[:, None] == np.arange(7)).astype(np.int8)
    conditional = every[:, :7] / every[:, :7].sum(1, keepdims=True)
    probability, outcome = predicted_classes(conditional, every[:, 7], fits)
    bins = reliability_bins(probability, outcome)
    assert sum(b["galaxies"] for b in bins) == 20_000
    for each in bins:
        assert each["right"] == pytest.approx(each["probability"], abs=0.04)  # 50 galaxies a hundredth
        assert each["low"] <= each["right"] <= each["high"]
    # A model that always names a class is wrong for those that have none.
    always, wrong = predicted_classes(conditional, None, fits)
    assert np.average([b["right"] - b["probability"] for b in reliability_bins(always, wrong)]) < -0.03
    assert not wrong[classes == 7].any()
    assert reliability_bins(probability, np.full(20_000, -1, np.int8)) == []


@pytest.mark.slow
def test_the_command_on_simulated_galaxies(tmp_path):
    simulate(tmp_path / "sim", 30, 4, workers=1)
    images, labels = tmp_path / "sim" / "images_training_rev1", tmp_path / "sim" / "training_solutions_rev1.csv"
    run = CliRunner().invoke
    assert run(app, ["predict", str(images), "-o", str(tmp_path / "p.parquet"), "--model", "fast"]).exit_code == 0
    first = sorted(images.iterdir())[0]
    first.write_bytes(b"no picture")
    # Simulated galaxies have IDs that real ones have, too.
    words = ["study", "trust", str(tmp_path / "p.parquet"), str(labels), "--images", str(images), "--include-training"]
    told = run(app, [*words, "-o", str(tmp_path / "trust"), "--json"])
    assert told.exit_code == 3  # the broken picture
    assert first.stem in told.stderr
    report = json.loads(told.stdout)
    assert report == json.loads((tmp_path / "trust" / "trust.json").read_text())
    assert report["galaxies"] == 29
    names = [row["group"] for row in report["groups"]]
    assert names == ["all", "faint", "middling", "bright", "compact", "medium", "extended"]
    counts = [row["galaxies"] for row in report["groups"]]
    assert sum(counts[1:4]) == sum(counts[4:]) == counts[0]
    assert trust_panels(report) == (tmp_path / "trust" / "trust.svg").read_bytes()
    turned = tmp_path / "turned.parquet"
    assert run(app, ["predict", str(images), "-o", str(turned), "--model", "fast", "--views", "2"]).exit_code == 3
    told = run(app, ["study", "trust", str(turned), str(labels), "--images", str(images), "-o", str(tmp_path / "t")])
    assert told.exit_code == 1
    assert "has no intervals" in told.stderr


def test_galaxies_of_the_training_are_left_out(tmp_path, caplog):
    folder = simulate(tmp_path / "sim", 12, 4, workers=1)
    images, labels = folder / "images_training_rev1", read_labels(folder / "training_solutions_rev1.csv", "gz2")
    flat = np.full((12, len(TREE.columns)), 0.5)
    table = PredictionTable("votes.parquet", labels.votes, (), low=flat - 0.5, high=flat + 0.5, level=0.9)
    learned = TrainingIDs.of({"train": labels.ids[:3], "calibration": labels.ids[3:5]}, salt="s")
    report, errors = trust(table, labels, [images], tmp_path / "out", exclude=learned)
    assert report["galaxies"] == 7
    assert report["left_out"] == {"train": 3, "calibration": 2}
    assert report["groups"][0]["coverage"] == 1
    assert not errors
    assert "5 of 12 galaxies" in caplog.text
    everything = TrainingIDs.of({"train": labels.ids}, salt="s")
    with pytest.raises(StudyError, match=r"all 12 galaxies were in the training of the model.*--include-training"):
        trust(table, labels, [images], tmp_path / "out", exclude=everything)
