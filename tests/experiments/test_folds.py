"""Folds: every galaxy validates once, all rows of a plan see the same ones, and the table is what was trained."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")

import pyarrow as pa
import pyarrow.parquet as pq

from tuningfork.experiments import folds as module
from tuningfork.experiments.fold_plan import load_fold_plan
from tuningfork.experiments.folds import fold_table, run_folds
from tuningfork.experiments.plan import StudyError
from tuningfork.model.bundle import write_bundle
from tuningfork.model.model import load
from tuningfork.simulation import simulate
from tuningfork.training.auxiliary.config import load_sources
from tuningfork.training.join import read_training_set, write_split
from tuningfork.training.options import Hardware
from tuningfork.training.recipe import load_recipe
from tuningfork.training.run_files import write_predictions, write_result, write_truth
from tuningfork.training.split import split
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree_files import load_tree

PLAN = """
folds = 3
use = [0, 2]

[[row]]
name = "first"
recipe = "first.toml"

[[row]]
name = "other"
recipe = "other.toml"

[[row]]
name = "both"
mean_of = ["first", "other"]

[[row]]
name = "turned"
mean_of = ["first"]
views = 8
than = "other"
"""
FIRST = 'network = "test_efficientnet"\nsize = 32\nepochs = 1\nbatch = 16\nviews = 1\n'
OTHER = 'base = "first.toml"\nseed = 5\ntest = 0.4\nlearning_rate = 1e-4\n'


@given(
    st.lists(st.sampled_from("abc"), min_size=12, max_size=60),
    st.integers(2, 6),
    st.integers(0, 3),
    st.floats(0, 0.4),
)
def test_over_all_folds_each_galaxy_validates_once(strata, folds, seed, test):
    groups = np.arange(len(strata)) // 2  # twins
    parts = [
        split(strata, groups, validation=0.1, test=test, seed=seed, folds=folds, fold=fold) for fold in range(folds)
    ]
    tested = parts[0] == "test"
    alone = split(strata, groups, validation=0.1, test=test, seed=seed)
    for part in parts:
        np.testing.assert_array_equal(part == "test", tested)
        np.testing.assert_array_equal(alone == "test", tested)  # the same as without folds
        for group in range(groups.max() + 1):
            assert len(set(part[groups == group])) == 1
    validated = sum((part == "validation").astype(int) for part in parts)
    np.testing.assert_array_equal(validated, np.where(tested, 0, 1))
    sizes = [(part == "validation").sum() for part in parts]
    assert max(sizes) - min(sizes) <= 3  # twins, and an odd one out


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    simulate(folder / "galaxies", 40, 3, workers=1)
    for name, text in (("plan", PLAN), ("first", FIRST), ("other", OTHER)):
        (folder / f"{name}.toml").write_text(text)
    return folder


def arguments(place):
    galaxies = place / "galaxies"
    return galaxies / "training_solutions_rev1.csv", [galaxies / "images_training_rev1"]


def stand_in(labels, images, run, recipe, *, options, hardware):
    """In place of a training: the run folder of a shipped model, with predictions of its own for each recipe."""
    tree = load_tree("gz2")
    data = read_training_set(read_labels(labels, tree), images, recipe)
    run.mkdir(parents=True)
    model = load("fast", threads=1)
    write_bundle(model.bundle, run / "bundle")
    write_split(data, run / "split.csv")
    write_truth(run / "truth.parquet", data, tree)
    write_predictions(run / "predictions.parquet", model, data)
    table = pq.read_table(run / "predictions.parquet")
    factor = 1 - recipe.learning_rate  # so that rows differ
    columns = {name: table[name] for name in table.column_names}
    columns |= {name: pa.array(factor * table[name].to_numpy()) for name in tree.columns}
    pq.write_table(pa.table(columns), run / "predictions.parquet")
    (run / "run.json").write_text(json.dumps({"recipe": {"views": 1}}))
    write_result(run / "result.json", {"seconds": 2.0})


@pytest.fixture(scope="module")
def trained(place):
    plan = load_fold_plan(place / "plan.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train", stand_in)
        run_folds(plan, *arguments(place), place / "out")
    return plan


@pytest.mark.slow
def test_all_rows_see_the_same_folds(place, trained):
    def parts(row, fold):
        with open(place / "out" / row / f"fold-{fold}-seed-0" / "split.csv") as file:
            return {entry["id"]: entry["part"] for entry in csv.DictReader(file)}

    for fold in (0, 2):
        assert parts("first", fold) == parts("other", fold)  # though the recipes ask for other test parts
    assert parts("first", 0) != parts("first", 2)
    assert not (place / "out" / "first" / "fold-1-seed-0").exists()


def test_the_table_is_what_the_runs_predict(place, trained):
    table = {row["name"]: row for row in fold_table(trained, place / "out")}
    assert list(table) == ["first", "other", "both", "turned"]
    tree = load_tree("gz2")
    values = {}
    for row in ("first", "other"):
        for fold in (0, 2):
            run = place / "out" / row / f"fold-{fold}-seed-0"
            truth, predictions = pq.read_table(run / "truth.parquet"), pq.read_table(run / "predictions.parquet")
            validation = np.array(truth["part"].to_pylist()) == "validation"
            assert truth["id"].to_pylist() == predictions["id"].to_pylist()
            values[row, fold] = tuple(
                np.stack([each[name].to_numpy(zero_copy_only=False) for name in tree.columns], 1)[validation]
                for each in (truth, predictions)
            )

    def rmse(true, predicted):
        return np.sqrt(np.nanmean((true - predicted) ** 2))

    for row in ("first", "other"):
        scores = [rmse(*values[row, fold]) for fold in (0, 2)]
        assert table[row]["rmse_known"] == pytest.approx([np.mean(scores), np.std(scores, ddof=1)])
    both = [
        rmse(values["first", fold][0], (values["first", fold][1] + values["other", fold][1]) / 2) for fold in (0, 2)
    ]
    assert table["both"]["rmse_known"][0] == pytest.approx(np.mean(both))
    assert table["first"]["gain"][0] == 0
    gains = [1 - rmse(*values["other", fold]) / rmse(*values["first", fold]) for fold in (0, 2)]
    assert table["other"]["gain"][0] == pytest.approx(np.mean(gains))
    # Over all galaxies of both folds at once, each network on the same ones.
    true, ours, theirs = (
        np.concatenate([values[row, fold][part] for fold in (0, 2)])
        for row, part in (("first", 0), ("other", 1), ("first", 1))
    )
    paired = table["other"]["paired"]
    assert paired["value"] == pytest.approx(1 - rmse(true, ours) / rmse(true, theirs))
    assert paired["low"] < paired["value"] < paired["high"]
    # A difference that all galaxies share is narrow, however much the galaxies themselves differ.
    drawn = [np.random.default_rng(k).integers(0, len(true), len(true)) for k in range(200)]
    spread = np.std([1 - rmse(true[d], ours[d]) / rmse(true[d], theirs[d]) for d in drawn])
    assert paired["high"] - paired["low"] == pytest.approx(2 * 1.96 * spread, rel=0.3)
    assert table["first"]["paired"] == {"value": 0, "low": 0, "high": 0}
    assert [row["than"] for row in table.values()] == ["first", "first", "first", "other"]
    assert table["turned"]["rmse_known"] != table["first"]["rmse_known"]
    assert table["turned"]["trainings"] == 2


def test_the_mean_of_predictions_of_different_galaxies_is_refused(place, trained, tmp_path, monkeypatch):
    read_run = module.read_run

    def reordered(folder):
        run = read_run(folder)
        return replace(run, ids=run.ids[::-1]) if folder.parent.name == "other" else run

    monkeypatch.setattr(module, "read_run", reordered)
    with pytest.raises(StudyError, match="both: first and other predicted different galaxies of fold 0"):
        fold_table(trained, place / "out")


def test_networks_without_votes_have_no_rmse(place, trained, monkeypatch):
    read_run = module.read_run
    monkeypatch.setattr(module, "read_run", lambda folder: replace(read_run(folder), predicted=None))
    for row in fold_table(trained, place / "out"):
        assert row["rmse_known"] == row["rmse_complete"] == row["gain"] == [None, None]
        assert row["accuracy"][0] is not None


def test_what_is_trained_is_not_trained_again(run, place, trained):
    before = {path: path.stat().st_mtime_ns for path in (place / "out").rglob("result.json")}
    labels, (images,) = arguments(place)
    words = ["study", "folds", place / "plan.toml", "--images", images, "--labels", labels, "-o", place / "out"]
    result = run(*words, "--no-cache", "--workers", 0, "--json")
    assert {path: path.stat().st_mtime_ns for path in (place / "out").rglob("result.json")} == before
    assert json.loads(result.stdout) == json.loads((place / "out" / "table.json").read_text())
    lines = (place / "out" / "table.md").read_text().splitlines()
    assert len(lines) == 6
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    with open(place / "out" / "table.csv") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["first", "other", "both", "turned"]


def test_rows_that_are_not_trained_are_not_in_the_table(place, trained, tmp_path):
    shutil.copytree(place / "out" / "other", tmp_path / "out" / "other")
    table = fold_table(trained, tmp_path / "out")
    assert [row["name"] for row in table] == ["other"]
    assert table[0]["gain"][0] == 0  # against the first that there is


def test_a_training_gets_what_its_row_names(place, monkeypatch, tmp_path):
    (place / "taught.toml").write_text(
        'folds = 2\nuse = [1]\n[[row]]\nname = "a"\nrecipe = "first.toml"\nseeds = [3, 4]\ninit = "weights"\n'
        '[[row]]\nname = "b"\nrecipe = "efficientnet_b0"\nteacher = "a"\nsources = "sources.toml"\n'
    )
    calls = []
    monkeypatch.setattr(module, "train", lambda *words, **options: calls.append((words, options)))
    hardware = Hardware(threads=1)
    run_folds(load_fold_plan(place / "taught.toml"), *arguments(place), tmp_path, hardware=hardware)
    assert [words[2].relative_to(tmp_path).as_posix() for words, _ in calls] == [
        "a/fold-1-seed-3", "a/fold-1-seed-4", "b/fold-1-seed-0",
    ]  # fmt: skip
    recipes = [words[3] for words, _ in calls]
    assert [(recipe.fold, recipe.folds, recipe.seed) for recipe in recipes] == [(1, 2, 3), (1, 2, 4), (1, 2, 0)]
    first, *_, last = (options["options"] for _, options in calls)
    assert Path(first.init) == place / "weights"
    assert (first.teacher, first.sources) == (None, None)
    assert last.teacher == tmp_path / "a" / "fold-1-seed-3" / "bundle"
    assert Path(last.sources) == place / "sources.toml"
    assert all(options["hardware"] is hardware for _, options in calls)
    calls.clear()
    run_folds(load_fold_plan(place / "taught.toml"), *arguments(place), tmp_path, only=["b"])
    assert len(calls) == 1


@pytest.mark.slow
def test_real_trainings_of_a_plan(place, tmp_path):
    plan = load_fold_plan(place / "plan.toml").changed(use=(0,))
    run_folds(plan, *arguments(place), tmp_path, hardware=Hardware(workers=0, threads=1))
    assert [row["trainings"] for row in fold_table(plan, tmp_path)] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("folds = 1\n[[row]]\n", "folds = 1 is not greater than or equal to 2"),
        ('folds = 3\nuse = [3]\n[[row]]\nname = "a"\nrecipe = "first.toml"\n', r"use = \[3\]: the folds are 0…2"),
        ('folds = 3\ntest = 2.0\n[[row]]\nname = "a"\nrecipe = "first.toml"\n', r"test = 2\.0"),
        ("folds = 3\n", "row is missing"),
        ("folds = 3\nrow = []\n", "row = "),
        ('fold = 3\n[[row]]\nname = "a"\nrecipe = "first.toml"\n', "unknown key 'fold'; is 'folds' meant"),
        ('[[row]]\nname = "a"\n', "either recipe or mean_of"),
        ('[[row]]\nname = "a"\nmean_of = ["b"]\n', "does not come before"),
        ('[[row]]\nname = "a"\nrecipe = "first.toml"\nteacher = "b"\n', "does not come before"),
        (2 * '[[row]]\nname = "a"\nrecipe = "first.toml"\n', "two rows are named 'a'"),
        ('[[row]]\nname = "a"\nrecipe = "none.toml"\n', "none.toml"),
        ('[[row]]\nname = "a"\nrecip = "first.toml"\n', r"unknown key 'row\.recip'; is 'recipe' meant"),
        ('[[row]]\nname = "a"\nrecipe = "first.toml"\nviews = "many"\n', "views = 'many'"),
        ("[[row", "not valid TOML"),
    ],
)
def test_bad_plans_name_the_fault(place, text, reason):
    path = place / "bad.toml"
    path.write_text(text)
    with pytest.raises(StudyError, match=reason):
        load_fold_plan(path)


def test_the_projects_own_plan_and_sources_can_be_read():
    folder = Path(__file__).parents[2] / "studies" / "equal"
    plan = load_fold_plan(folder / "plan.toml")
    assert {Path(row.sources).name for row in plan.row if row.sources} == {"sources.toml", "taught.toml"}
    for name in ("sources.toml", "taught.toml"):
        assert [source.name for source in load_sources(folder / name, load_tree("gz2"))]
    assert load_recipe(folder / "second.toml").size == 128


def test_the_plan_of_the_documents_can_be_read(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "howto" / "experiments.md"
    (tmp_path / "plan.toml").write_text(page.read_text("utf-8").split("```toml\n")[1].split("```")[0], "utf-8")
    (tmp_path / "imagenet.toml").write_text(FIRST)
    plan = load_fold_plan(tmp_path / "plan.toml")
    assert [row.name for row in plan.row] == ["plain", "imagenet", "views"]
    assert plan.row_named("imagenet").seeds == (0, 1)
