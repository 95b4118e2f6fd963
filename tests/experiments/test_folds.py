"""Folds: every galaxy validates once, all rows of a plan see the same ones, and the table is what was trained."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")

import pyarrow.parquet as pq

from tuningfork.cli import app
from tuningfork.experiments.folds import fold_table, load_fold_plan, run_folds
from tuningfork.experiments.plan import StudyError
from tuningfork.simulation import simulate
from tuningfork.training.auxiliary.config import load_sources
from tuningfork.training.recipe import load_recipe
from tuningfork.training.split import split
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
"""
FIRST = 'network = "mobilenetv3_small_050"\nsize = 32\nepochs = 1\nbatch = 16\nviews = 1\n'
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
    simulate(folder / "galaxies", 72, 3, workers=1)
    for name, text in (("plan", PLAN), ("first", FIRST), ("other", OTHER)):
        (folder / f"{name}.toml").write_text(text)
    return folder


def arguments(place):
    galaxies = place / "galaxies"
    return galaxies / "training_solutions_rev1.csv", [galaxies / "images_training_rev1"]


@pytest.fixture(scope="module")
def trained(place):
    plan = load_fold_plan(place / "plan.toml")
    run_folds(plan, *arguments(place), place / "out", threads=1)
    return plan


def test_all_rows_see_the_same_folds(place, trained):
    def parts(row, fold):
        with open(place / "out" / row / f"fold-{fold}-seed-0" / "split.csv") as file:
            return {entry["id"]: entry["part"] for entry in csv.DictReader(file)}

    for fold in (0, 2):
        assert parts("first", fold) == parts("other", fold)  # though the recipes ask for other test parts
    assert parts("first", 0) != parts("first", 2)
    assert not (place / "out" / "first" / "fold-1-seed-0").exists()


def test_the_table_is_what_the_runs_tell(place, trained):
    table = {row["name"]: row for row in fold_table(trained, place / "out")}
    assert list(table) == ["first", "other", "both", "turned"]
    tree = load_tree("gz2")
    told = {}
    for row in ("first", "other"):
        for fold in (0, 2):
            run = place / "out" / row / f"fold-{fold}-seed-0"
            truth, said = pq.read_table(run / "truth.parquet"), pq.read_table(run / "predictions.parquet")
            here = np.array(truth["part"].to_pylist()) == "validation"
            assert truth["id"].to_pylist() == said["id"].to_pylist()
            true, predicted = (
                np.stack([each[name].to_numpy(zero_copy_only=False) for name in tree.columns], 1)[here]
                for each in (truth, said)
            )
            told[row, fold] = true, predicted

    def rmse(true, predicted):
        return np.sqrt(np.nanmean((true - predicted) ** 2))

    for row in ("first", "other"):
        values = [rmse(*told[row, fold]) for fold in (0, 2)]
        assert table[row]["rmse_known"] == pytest.approx([np.mean(values), np.std(values, ddof=1)])
    both = [rmse(told["first", fold][0], (told["first", fold][1] + told["other", fold][1]) / 2) for fold in (0, 2)]
    assert table["both"]["rmse_known"][0] == pytest.approx(np.mean(both))
    assert table["first"]["gain"][0] == 0
    gains = [1 - rmse(*told["other", fold]) / rmse(*told["first", fold]) for fold in (0, 2)]
    assert table["other"]["gain"][0] == pytest.approx(np.mean(gains))
    assert table["turned"]["rmse_known"] != table["first"]["rmse_known"]
    assert table["turned"]["trainings"] == 2


def test_what_is_trained_is_not_trained_again(place, trained):
    before = {path: path.stat().st_mtime_ns for path in (place / "out").rglob("result.json")}
    result = CliRunner().invoke(
        app,
        ["study", "folds", str(place / "plan.toml"), "--images", str(arguments(place)[1][0]), "--labels",
         str(arguments(place)[0]), "-o", str(place / "out"), "--no-cache", "--workers", "0", "--json"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in (place / "out").rglob("result.json")} == before
    assert json.loads(result.stdout) == json.loads((place / "out" / "table.json").read_text())
    lines = (place / "out" / "table.md").read_text().splitlines()
    assert len(lines) == 6
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    with open(place / "out" / "table.csv") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["first", "other", "both", "turned"]


def test_rows_that_are_not_trained_are_not_told(place, trained, tmp_path):
    shutil.copytree(place / "out" / "other", tmp_path / "out" / "other")
    table = fold_table(trained, tmp_path / "out")
    assert [row["name"] for row in table] == ["other"]
    assert table[0]["gain"][0] == 0  # against the first that there is


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("folds = 1\n[[row]]\n", "at least 2"),
        ("folds = 3\nuse = [3]\n[[row]]\n", "at least 2"),
        ("folds = 3\ntest = 2.0\n[[row]]\n", "test"),
        ("folds = 3\n", r"\[\[row\]\]"),
        ("fold = 3\n", "unknown key 'fold'"),
        ('[[row]]\nname = "a"\n', "either recipe or mean_of"),
        ('[[row]]\nname = "a"\nmean_of = ["b"]\n', "does not come before"),
        ('[[row]]\nname = "a"\nrecipe = "first.toml"\nteacher = "b"\n', "does not come before"),
        ('[[row]]\nname = "a"\nrecipe = "none.toml"\n', "none.toml"),
        ('[[row]]\nname = "a"\nrecip = "first.toml"\n', "unknown key 'recip'"),
        ("[[row", "not valid TOML"),
    ],
)
def test_bad_plans_say_why(place, text, reason):
    path = place / "bad.toml"
    path.write_text(text)
    with pytest.raises(StudyError, match=reason):
        load_fold_plan(path)


def test_the_projects_own_plan_and_sources_can_be_read():
    folder = Path(__file__).parents[2] / "studies" / "equal"
    plan = load_fold_plan(folder / "plan.toml")
    assert {row.sources.name for row in plan.rows if row.sources} == {"sources.toml", "taught.toml"}
    for name in ("sources.toml", "taught.toml"):
        assert [source.name for source in load_sources(folder / name, load_tree("gz2"))]
    assert load_recipe(folder / "second.toml").size == 128
