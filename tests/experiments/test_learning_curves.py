"""The study of labels: the head learns, orders never see hidden labels, the summary is plain arithmetic."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

from safetensors.torch import save_file
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.evaluation.metrics import rmse
from tuningfork.experiments.active_learning import ORDERS, Points, fit_head, learning_curve
from tuningfork.experiments.learning_curves import CurveOptions, measure_learning_curves, summary
from tuningfork.experiments.plan import StudyError
from tuningfork.model.bundle import open_bundle, write_bundle
from tuningfork.simulation import simulate
from tuningfork.training.network import MorphologyNetwork
from tuningfork.training.recipe import Recipe
from tuningfork.votes import fractions as votes
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree import DecisionTree

NAME = "test_efficientnet"
RECIPE = Recipe(network=NAME, init="imagenet", size=32, validation=0.25, test=0.1)


def points(tree: DecisionTree, count: int, seed: int) -> Points:
    """Galaxies whose votes follow from their features; a third of them know only some columns."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 6))
    weights = np.random.default_rng(99).normal(size=(6, len(tree.columns)))
    known = votes.cumulative_from_logits(features @ weights, tree)
    known[::3, 3:13] = np.nan
    return Points(np.stack([features, features + 0.05 * rng.normal(size=features.shape)], 1), known)


def test_the_head_learns_and_keeps_the_trees_sums(gz2: DecisionTree) -> None:
    train, test = points(gz2, 400, 0), points(gz2, 100, 1)
    told = fit_head(train.mean, train.known, gz2, prior=0.1)(test.mean)
    assert np.abs(votes.sum_violations(told, gz2)).max() < 1e-5
    assert rmse(told, test.known) < 0.3 * rmse(np.tile(np.nanmean(train.known, 0), (100, 1)), test.known)


def test_a_question_nobody_answered_stays_even(gz2: DecisionTree) -> None:
    train = points(gz2, 30, 0)
    train.known[:, gz2.slices[2]] = np.nan
    told = fit_head(train.mean, train.known, gz2)(train.mean)
    shares = votes.conditional_from_cumulative(told, gz2)[:, gz2.slices[2]]
    assert shares == pytest.approx(0.5)


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_counts_labels_once_and_never_sees_hidden_ones(order, gz2: DecisionTree, monkeypatch) -> None:
    pool, judge = points(gz2, 80, 0), points(gz2, 40, 1)
    numbers = (5, 10, 40)
    seen = []

    def counted(features, known, tree, **options):
        seen.append({row.tobytes() for row in features})
        return fit_head(features, known, tree, **options)

    monkeypatch.setattr("tuningfork.experiments.active_learning.fit_head", counted)
    rows = learning_curve(pool, judge, gz2, order, numbers, 3)
    assert tuple(row["labels"] for row in rows) == numbers == tuple(map(len, seen))
    assert seen[0] < seen[1] < seen[2]
    assert rows[-1]["rmse_known_columns"] < rows[0]["rmse_known_columns"]
    # Whoever has all labels but the first five wrong chooses the same next five.
    first = {row.tobytes(): i for i, row in enumerate(pool.mean)}
    shown = [first[key] for key in seen[0]]
    lies = np.full_like(pool.known, 0.5)
    lies[shown] = pool.known[shown]
    chosen = seen[1]
    seen.clear()
    learning_curve(replace(pool, known=lies), judge, gz2, order, numbers, 3)
    assert seen[1] == chosen


def test_all_orders_of_a_seed_begin_alike(gz2: DecisionTree) -> None:
    pool, judge = points(gz2, 60, 0), points(gz2, 40, 1)
    one, other = (learning_curve(pool, judge, gz2, order, (5, 9), 2) for order in ("random", "ranked"))
    assert one[0] == other[0]
    assert one[1] != other[1]
    assert learning_curve(pool, judge, gz2, "ranked", (5, 9), 2) == other


def row(order: str, seed: int, labels: int, score: float) -> dict:
    scores = {"rmse_complete_rows": score, "rmse_known_columns": score, "complete_share": 0.5}
    return {"order": order, "seed": seed, "labels": labels, **scores}


def test_the_summary_compares_seed_by_seed() -> None:
    told = summary(
        [
            row("random", 0, 10, 0.30), row("random", 1, 10, 0.32),
            row("random", 0, 40, 0.20), row("random", 1, 40, 0.22),
            row("ranked", 1, 10, 0.31), row("ranked", 0, 10, 0.29),
            row("ranked", 1, 40, 0.19), row("ranked", 0, 40, 0.17),
        ]
    )  # fmt: skip
    score = told["ranked"][0]["rmse_known_columns"]
    assert score["mean"] == pytest.approx(0.30)
    assert score["deviation"] == pytest.approx(0.02 / 2**0.5)
    assert score["gain"] == pytest.approx(0.01)
    assert score["gain_error"] == pytest.approx(0, abs=1e-12)
    # Random falls from 0.31 to 0.21 over a factor of four: 0.30 is a tenth of the way.
    assert score["random_labels"] == pytest.approx(10 * 4**0.1)
    assert told["ranked"][1]["rmse_known_columns"]["random_labels"] is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("curves") / "sim", 60, seed=6, workers=1)


@pytest.fixture
def start(tmp_path, gz2: DecisionTree):
    torch.manual_seed(0)
    state = MorphologyNetwork(NAME, gz2).body.state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


@pytest.mark.slow
def test_the_command_measures_draws_and_keeps_the_features(folder, start, tmp_path) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(f'network = "{NAME}"\ninit = "imagenet"\nsize = 32\nvalidation = 0.25\n')
    words = ["study", "label-efficiency", "--images", folder, "--labels", folder / "training_solutions_rev1.csv"]
    words += ["--init", start, "--recipe", recipe, "-o", tmp_path / "out", "-n", 5, "-n", 10, "-n", 9999]
    words += ["--seeds", 2, "--order", "random", "--order", "ranked"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    with open(tmp_path / "out" / "curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["order"], r["seed"], r["labels"]) for r in rows] == [
        (order, seed, number) for order in ("random", "ranked") for seed in "01" for number in ("5", "10")
    ]
    assert (tmp_path / "out" / "curves.svg").read_bytes().count(b"<svg") == 1
    told = json.loads((tmp_path / "out" / "curves.json").read_text())
    assert told["pool"] > told["judged_on"] > 0
    again = CliRunner().invoke(app, [str(word) for word in (*words, "--json")])
    assert "as they were computed before" in again.stderr
    assert json.loads(again.stdout)["orders"] == told["orders"]


@pytest.mark.slow
def test_a_model_that_was_trained_on_these_labels_is_refused(folder, tmp_path, gz2: DecisionTree) -> None:
    labels = folder / "training_solutions_rev1.csv"
    stranger = write_bundle(open_bundle(), tmp_path / "bundle")
    options = CurveOptions((5, 9), seeds=1, orders=("random", "k-centre"))
    report, _ = measure_learning_curves(labels, [folder], tmp_path / "out", RECIPE, stranger, options)
    assert set(report["orders"]) == {"random", "k-centre"}
    knows = write_bundle(
        replace(open_bundle(), training={"labels_sha256": report["labels_sha256"]}), tmp_path / "knows"
    )
    with pytest.raises(StudyError, match="trained on these very labels"):
        measure_learning_curves(labels, [folder], tmp_path / "out", RECIPE, knows, CurveOptions((5,)))


def test_bad_numbers_and_orders_are_refused(folder, start, tmp_path, gz2: DecisionTree) -> None:
    labels = folder / "training_solutions_rev1.csv"
    with pytest.raises(StudyError, match="must rise"):
        CurveOptions((9, 5))
    with pytest.raises(StudyError, match="no order best"):
        CurveOptions(orders=("best",))
    with pytest.raises(StudyError, match="too few"):
        measure_learning_curves(labels, [folder], tmp_path / "o", RECIPE, start, CurveOptions((5000,)))
    split = tmp_path / "split.csv"
    split.write_text("id,part\n" + "".join(f"{i},test\n" for i in read_labels(labels, gz2).ids))
    with pytest.raises(StudyError, match="too few"):
        measure_learning_curves(labels, [folder], tmp_path / "o", RECIPE, start, CurveOptions(split=split))
