"""Selection: the exact bound, a threshold that keeps its promise, and tables."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from tuningfork.cli import app
from tuningfork.evaluation.select import select_table
from tuningfork.evaluation.selective import (
    clopper_pearson_lower,
    least_galaxies,
    most_probable,
    proves,
    select,
    threshold,
)
from tuningfork.evaluation.true_classes import parse_groups, true_classes
from tuningfork.votes.tree import DecisionTree

QUICK = settings(max_examples=60, derandomize=True)
counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


# ---------------------------------------------------------------- the bound


@given(counts, st.sampled_from([0.8, 0.95, 0.999]))
@QUICK
def test_the_bound_is_scipys(case, confidence) -> None:
    right, galaxies = case
    low = clopper_pearson_lower(right, galaxies, confidence)
    assert low == pytest.approx(
        binomtest(right, galaxies, alternative="greater").proportion_ci(confidence, "exact").low, abs=1e-9
    )
    if right:
        assert low == pytest.approx(beta.ppf(1 - confidence, right, galaxies - right + 1), abs=1e-9)


@given(counts, st.floats(0.05, 0.99))
@QUICK
def test_proving_is_the_bound(case, precision) -> None:
    right, galaxies = case
    low = clopper_pearson_lower(right, galaxies)
    if abs(low - precision) > 1e-9:
        assert proves(right, galaxies, precision) == (low >= precision)


@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(4, 5), Fraction(19, 20)])
def test_the_bound_is_below_the_truth_as_often_as_it_says(p) -> None:
    # Exact enumeration of all outcomes of twelve galaxies.
    covered = sum(
        math.comb(12, k) * p**k * (1 - p) ** (12 - k) for k in range(13) if clopper_pearson_lower(k, 12, 0.9) <= p
    )
    assert covered >= Fraction(9, 10)


def test_299_without_an_error_prove_99_per_cent() -> None:
    assert least_galaxies(0.99) == 299
    assert proves(299, 299, 0.99)
    assert not proves(298, 298, 0.99)
    assert not proves(298, 299, 0.99)
    assert clopper_pearson_lower(0, 10) == 0
    with pytest.raises(ValueError, match="11 right of 10"):
        clopper_pearson_lower(11, 10)


# ---------------------------------------------------------------- the threshold


def galaxies(count, seed, sharp=8.0):
    """Probabilities with the truth drawn from a like curve, so that the precision above a threshold is known."""
    rng = np.random.default_rng(seed)
    probability = rng.random(count)
    return probability, rng.random(count) < 1 - np.exp(-sharp * probability)


@given(st.integers(0, 1000), st.sampled_from([0.8, 0.9, 0.95]))
@QUICK
def test_it_is_the_lowest_threshold_that_proves_the_precision(seed, precision) -> None:
    probability, right = galaxies(200, seed)
    probability = probability.round(1)  # ties
    passing = [
        t
        for t in np.unique(probability)
        if proves(int(right[probability >= t].sum()), int((probability >= t).sum()), precision)
    ]
    assert threshold(probability, right, precision) == (min(passing) if passing else None)


def test_too_few_galaxies_promise_nothing() -> None:
    found = select(np.ones(400), np.ones(400, bool), 0.99)
    assert (found.chosen_on, found.judged_on) == (200, 200)
    assert found.threshold is None
    assert found.low is None
    assert not found.reached
    assert found.coverage == 0
    assert select(np.ones(600), np.ones(600, bool), 0.99).reached
    assert select(np.empty(0), np.empty(0, bool), 0.99).coverage is None
    with pytest.raises(ValueError, match=r"precision 1\.0 is not between"):
        select(np.ones(4), np.ones(4, bool), 1.0)


def test_the_promise_is_kept_as_often_as_it_is_given() -> None:
    broken = told = 0
    for seed in range(200):
        probability, right = galaxies(600, seed)
        found = select(probability, right, 0.97, 0.9, seed=seed)
        if found.reached:
            told += 1
            true = 1 - (np.exp(-8 * found.threshold) - np.exp(-8)) / 8 / (1 - found.threshold)
            broken += true < 0.97
    assert told > 20
    # One in ten of all trials may fail; two standard deviations more.
    assert broken / 200 <= 0.1 + 2 * math.sqrt(0.09 / 200)


def test_the_seed_decides_the_halves() -> None:
    probability, right = galaxies(800, 1)
    assert select(probability, right, 0.95, seed=3) == select(probability, right, 0.95, seed=3)
    assert select(probability, right, 0.95, seed=3) != select(probability, right, 0.95, seed=4)


def test_the_most_probable_group_is_named_unless_something_else_is_as_probable() -> None:
    in_groups = np.array([[0.4, 0.6], [0.1, 0.3], [0.2, 0.2], [np.nan, np.nan]])
    others = np.array([[0.0, 0.0], [0.6, 0.0], [0.2, 0.4], [np.nan, np.nan]])
    best, probability = most_probable(in_groups, others)
    assert best.tolist() == [1, -1, -1, -1]
    assert probability.tolist() == [0.6, 0, 0, 0]
    assert most_probable(in_groups, np.empty((4, 0)))[0].tolist() == [1, 1, 0, -1]


# ---------------------------------------------------------------- tables


@pytest.fixture
def survey(tmp_path, gz2: DecisionTree):
    """A prediction table of 900 galaxies with a class column of the truth beside it."""
    rng = np.random.default_rng(5)
    names = [*gz2.fraction_names, "class", *(f"class_{c}_probability" for c in range(7))]
    lines, labels = [",".join(["id", *names, "error"])], ["GalaxyID,kind"]
    for i in range(900):
        probability = rng.dirichlet(np.full(7, 0.1))
        best = int(probability.argmax())
        truth = best if rng.random() < (0.999 if probability[best] > 0.9 else 0.5) else (best + 1) % 7
        lines.append(",".join([f"g{i}", *["0.5"] * 37, str(best), *map(str, probability), ""]))
        labels.append(f"g{i},{min(truth, 4) if truth < 6 else ''}")
    (tmp_path / "votes.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels.csv").write_text("\n".join(labels) + "\n")
    return tmp_path


def test_select_on_tables(survey, gz2: DecisionTree) -> None:
    groups = parse_groups("0,1,2,3,4+5", gz2)
    assert groups == ((0,), (1,), (2,), (3,), (4, 5))
    found = select_table(
        survey / "votes.csv", true_classes(survey / "labels.csv", gz2, column="kind", groups=groups), 0.9
    )
    assert found.selection.reached
    assert found.table.num_rows == 900
    table = found.table.to_pydict()
    at = found.selection.threshold
    assert [p >= at for p in table["probability"]] == table["accepted"]
    assert not any(a for a, name in zip(table["accepted"], table["class_name"], strict=True) if not name)
    assert "barred spiral or unbarred spiral" in table["class_name"]
    assert sum(each["galaxies"] for each in found.per_class.values()) <= found.selection.chosen_on * 2 + 1


def test_select_as_a_command(survey) -> None:
    from typer.testing import CliRunner

    words = ["select", str(survey / "votes.csv"), str(survey / "labels.csv"), "--column", "kind"]
    words += ["--groups", "0,1,2,3,4+5"]
    done = CliRunner().invoke(app, [*words, "--precision", "0.9", "-o", str(survey / "out.csv"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["reached"]
    assert (survey / "out.csv").read_text().count("true") == told["survey"]["accepted"]
    done = CliRunner().invoke(app, [*words, "--precision", "0.9999"])
    assert "too few" in done.stdout
    assert CliRunner().invoke(app, [*words, "--precision", "1.5"]).exit_code == 2
    (survey / "labels.csv").write_text("GalaxyID,kind\ng1,9\ng2,1\ng3,0\n")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    assert "'9' is none of 0…4" in done.stderr
    done = CliRunner().invoke(app, [*words[:-1], "0,0"])
    assert done.exit_code == 1
    assert "may come once" in done.stderr
    (survey / "labels.csv").write_text("GalaxyID,kind\nother,1\n")
    assert "in common" in CliRunner().invoke(app, words).stderr
