"""Intervals hold what they promise on simulated galaxies, whose volunteers scatter and whose model errs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.model.conformal import galaxies_needed
from tuningfork.model.intervals import Intervals, QuestionIntervals, fit_intervals
from tuningfork.votes import fractions as votes
from tuningfork.votes.fractions import reach_probability
from tuningfork.votes.tree import Answer, DecisionTree, Question

TREE = DecisionTree(
    "three",
    "A question, two below its first answer",
    "nobody 2026",
    (
        Question("disk", "Has it a disk?", (Answer("yes", "yes", "A", "bar"), Answer("no", "no", "B"))),
        Question("bar", "Has it a bar?", tuple(Answer(k, k, k.upper()) for k in ("strong", "weak", "none")), "A"),
        Question("odd", "Is it odd?", (Answer("yes", "yes", "X"), Answer("no", "no", "Y"))),
    ),
)
VOTERS = 40


def galaxies(count: int, seed: int, wrong: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and known cumulative fractions (N, 7); the model's logits err by `wrong`, the volunteers by chance."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, 7))
    right = votes.conditional_from_logits(logits, TREE)
    counts = np.zeros((count, 7))
    counts[:, :2] = rng.multinomial(VOTERS, right[:, :2])
    counts[:, 2:5] = rng.multinomial(counts[:, 0].astype(int), right[:, 2:5])
    counts[:, 5:] = rng.multinomial(VOTERS, right[:, 5:])
    known = votes.cumulative_from_conditional(votes.conditional_from_counts(counts, TREE), TREE)
    return votes.cumulative_from_logits(logits + rng.normal(0, wrong, logits.shape), TREE), known


def within(fitted: Intervals, predicted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N, Q) float, whether all answers of the question are held; NaN where there is nothing to hold."""
    low, high = fitted.bounds(predicted, TREE)
    true = votes.conditional_from_cumulative(known, TREE)
    held = np.where(np.isnan(true + low), np.nan, (low <= true) & (true <= high))
    return np.stack([held[:, part].min(1) for part in TREE.slices], 1)


@pytest.mark.parametrize("level", [0.8, 0.9])
@pytest.mark.parametrize("count", [25, 100])
def test_all_fractions_of_a_question_lie_within_their_intervals_as_often_as_promised(count: int, level: float) -> None:
    repeats, means = 150, []
    for seed in range(repeats):
        fitted = fit_intervals(*galaxies(count, seed), TREE, n_views=4, level=level)
        means.append(np.nanmean(within(fitted, *galaxies(400, 10_000 + seed)), 0))
    # Theory: between level and level + 1 / (n + 1); the mean over the repeats scatters, ties of counts add a little.
    scatter = np.std(means, 0) / math.sqrt(repeats)
    assert (np.mean(means, 0) >= level - 4 * scatter).all()
    assert (np.mean(means, 0) <= level + 1 / (count * 0.7) + 4 * scatter + 0.02).all()


def test_few_volunteers_get_wider_intervals_that_hold_as_often() -> None:
    predicted, known = galaxies(3000, 1, wrong=0.05)
    fitted = fit_intervals(predicted, known, TREE, n_views=4)
    other, other_known = galaxies(3000, 2, wrong=0.05)
    low, high = fitted.bounds(other, TREE)
    asked = reach_probability(other, TREE, 1)
    few, many = asked < np.quantile(asked, 0.3), asked > np.quantile(asked, 0.7)
    bar = TREE.slices[1]
    assert np.mean((high - low)[few, bar]) > 1.4 * np.mean((high - low)[many, bar])
    held = within(fitted, other, other_known)[:, [1]]
    assert abs(np.nanmean(held[few]) - np.nanmean(held[many])) < 0.07
    errors, others = (
        np.abs(votes.conditional_from_cumulative(t, TREE) - votes.conditional_from_cumulative(p, TREE))[:, bar].max(1)
        for p, t in ((predicted, known), (other, other_known))
    )
    flat = (others <= np.nanquantile(errors, 0.9))[:, None]
    real = ~np.isnan(held)
    assert flat[few][real[few]].mean() < np.nanmean(held[few]) - 0.03


@settings(max_examples=40, derandomize=True)
@given(seed=st.integers(0, 1000), count=st.integers(9, 60), wrong=st.floats(0, 3))
def test_intervals_are_around_the_prediction_and_within_0_and_1(seed: int, count: int, wrong: float) -> None:
    predicted, known = galaxies(count, seed, wrong)
    low, high = fit_intervals(predicted, known, TREE, n_views=1).bounds(predicted, TREE)
    told = votes.conditional_from_cumulative(predicted, TREE)
    asked = ~np.isnan(low)
    assert asked[:, :2].all()
    assert (low[asked] >= 0).all()
    assert (low[asked] <= told[asked]).all()
    assert (told[asked] <= high[asked]).all()
    assert (high[asked] <= 1).all()


@settings(max_examples=30, derandomize=True)
@given(seed=st.integers(0, 1000), levels=st.tuples(st.floats(0.1, 0.95), st.floats(0.1, 0.95)))
def test_a_higher_level_is_never_narrower(seed: int, levels: tuple[float, float]) -> None:
    predicted, known = galaxies(80, seed)
    (low, high), (wider_low, wider_high) = (
        fit_intervals(predicted, known, TREE, n_views=1, level=level).bounds(predicted, TREE)
        for level in sorted(levels)
    )
    told = ~np.isnan(wider_low)
    assert (wider_low[told] <= low[told]).all()
    assert (wider_high[told] >= high[told]).all()


def test_the_order_of_the_galaxies_is_of_no_importance() -> None:
    predicted, known = galaxies(90, 3)
    order = np.random.default_rng(0).permutation(90)
    fitted = fit_intervals(predicted, known, TREE, n_views=1)
    again = fit_intervals(predicted[order], known[order], TREE, n_views=1)
    for bounds in zip(fitted.bounds(predicted, TREE), again.bounds(predicted, TREE), strict=True):
        np.testing.assert_allclose(*bounds, atol=1e-9)


def test_the_factor_is_the_smallest_that_holds_enough_galaxies() -> None:
    predicted, known = galaxies(37, 4)
    fitted = fit_intervals(predicted, known, TREE, n_views=1, level=0.9)
    told, true = votes.conditional_from_cumulative(predicted, TREE), votes.conditional_from_cumulative(known, TREE)
    for number, (question, part) in enumerate(zip(TREE.questions, TREE.slices, strict=True)):
        each, largest = fitted.questions[question.key], []
        for row in range(37):
            if np.isnan(true[row, part]).any():
                continue
            f, asked = told[row, part], 40 * reach_probability(predicted, TREE, number)[row]
            errors = [math.sqrt(1e-6 + each.model + each.noise * x * (1 - x) / (asked + 1)) for x in f]
            units = [math.sqrt(e * max(errors)) for e in errors]
            largest.append(max(abs(t - x) / unit for t, x, unit in zip(true[row, part], f, units, strict=True)))
        (factor,) = each.factors
        assert each.galaxies == len(largest)
        need = math.ceil(0.9 * (len(largest) + 1))
        assert sum(s <= factor * (1 + 1e-9) for s in largest) >= need
        assert sum(s < factor * (1 - 1e-9) for s in largest) < need


def test_each_part_of_the_reach_is_held_as_often() -> None:
    """A model whose errors grow with the reach, which no binomial variance describes."""

    def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 1.5, (2500, 7))
        predicted = votes.cumulative_from_logits(logits, TREE)
        wrong = rng.normal(0, 0.1 + 2 * predicted[:, [0]], logits.shape)
        wrong[:, [0, 1]] = 0
        return predicted, votes.cumulative_from_logits(logits + wrong, TREE)

    fitted = fit_intervals(*drawn(1), TREE, n_views=1)
    assert len(fitted.questions["bar"].factors) == 5
    assert len(fitted.questions["odd"].factors) == 1
    predicted, known = drawn(2)
    held, reach = within(fitted, predicted, known)[:, 1], reach_probability(predicted, TREE, 1)
    for part in np.array_split(np.argsort(reach), 5):
        assert abs(held[part].mean() - 0.9) < 0.055


def test_the_parts_of_the_error_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    predicted = votes.cumulative_from_logits(rng.normal(0, 1, (4000, 7)), TREE)
    chance = predicted.copy()
    chance[:, 5] = rng.binomial(40, predicted[:, 5]) / 40
    chance[:, 6] = 1 - chance[:, 5]
    by_chance = fit_intervals(predicted, chance, TREE, n_views=1).questions["odd"]
    assert by_chance.model < 0.1 * by_chance.noise * 0.2 / 41
    wrong = predicted.copy()
    wrong[:, 5] = np.clip(predicted[:, 5] + rng.laplace(0, 0.02, 4000), 0, 1)
    wrong[:, 6] = 1 - wrong[:, 5]
    by_the_model = fit_intervals(predicted, wrong, TREE, n_views=1).questions["odd"]
    assert by_the_model.noise * 0.2 / 41 < 0.2 * by_the_model.model
    assert math.sqrt(by_the_model.model) == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.98, 49), (0.99, 99)])
def test_too_few_galaxies_get_no_interval_and_a_reason(level: float, needed: int) -> None:
    assert galaxies_needed(level) == needed
    predicted, known = galaxies(needed, 6)
    enough = fit_intervals(predicted, known, TREE, n_views=1, level=level)
    assert enough.questions["odd"].factors
    few = fit_intervals(predicted[1:], known[1:], TREE, n_views=1, level=level)
    told = few.questions["odd"]
    assert told.factors == ()
    assert told.reason == f"{needed - 1} galaxies reach it; a level of {level:g} needs {needed}"
    low, high = few.bounds(predicted, TREE)
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_only_galaxies_that_were_asked_and_known_count() -> None:
    predicted, known = galaxies(60, 7)
    known[:10, :2], known[:10, 2:5] = (0, 1), 0
    known[10:15, 2:5] = np.nan
    known[15:20] = np.nan
    predicted[20:22] = np.nan
    fitted = fit_intervals(predicted, known, TREE, n_views=1).questions
    asked = known[22:, 0] > 0
    assert fitted["disk"].galaxies == 60 - 5 - 2
    assert fitted["bar"].galaxies == asked.sum()
    low, _ = fit_intervals(predicted, known, TREE, n_views=1).bounds(predicted, TREE)
    assert np.isnan(low[20:22]).all()
    assert not np.isnan(low[22:]).any()


def test_a_perfect_model_gets_narrow_intervals() -> None:
    predicted, _ = galaxies(50, 8)
    low, high = fit_intervals(predicted, predicted, TREE, n_views=1).bounds(predicted, TREE)
    assert (high - low).max() < 1e-6


def test_intervals_come_back_from_json() -> None:
    fitted = fit_intervals(*galaxies(12, 9), TREE, n_views=2, level=0.9)
    assert fitted.questions["bar"].reason or fitted.questions["bar"].factors
    assert Intervals.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize("change", [
    {"level": 0}, {"level": 1.0}, {"level": 1}, {"level": "0.9"}, {"level": None}, {"level": math.nan},
    {"voters": 0}, {"voters": -1.0}, {"voters": math.inf}, {"voters": True}, {"views": 3}, {"views": True},
    {"questions": 5}, {"questions": {"disk": 5}}, {"questions": {"disk": {}}}, {"other": 1},
])  # fmt: skip
def test_intervals_that_make_no_sense_are_refused(change: dict) -> None:
    data = fit_intervals(*galaxies(20, 10), TREE, n_views=2).to_dict()
    with pytest.raises((ValueError, TypeError, AttributeError)):
        Intervals.from_dict({**data, **change})


@pytest.mark.parametrize("change", [
    {"galaxies": -1}, {"galaxies": 1.5}, {"model": -1.0}, {"model": math.nan}, {"noise": math.inf}, {"noise": "1"},
    {"factors": (-1.0,)}, {"factors": ("x",)}, {"factors": ()}, {"reason": "none"}, {"reason": 5},
    {"edges": ()}, {"edges": (0.1, 0.2)}, {"edges": ("x",)}, {"edges": (math.nan,)},
])  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(change: dict) -> None:
    with pytest.raises((ValueError, TypeError)):
        QuestionIntervals(
            **{"galaxies": 10, "model": 0.1, "noise": 1.0, "factors": (1.0, 2.0), "edges": (0.5,), **change}
        )


def test_intervals_of_another_tree_are_refused() -> None:
    fitted = fit_intervals(*galaxies(30, 11), TREE, n_views=2)
    fitted.check(TREE)
    with pytest.raises(ValueError, match="not those of tree"):
        Intervals(0.9, 40.0, 1, {"disk": fitted.questions["disk"]}).check(TREE)


def test_intervals_of_an_earlier_version_are_refused() -> None:
    old = fit_intervals(*galaxies(30, 11), TREE, n_views=2).to_dict()
    old["questions"]["bar"] = {"galaxies": 30, "model": 0.1, "noise": 1.0, "quantiles": [1.0, 2.0, 1.0]}
    with pytest.raises(ValueError, match="calibrate the model again"):
        Intervals.from_dict(old)


@pytest.mark.parametrize("level", [0, 1, -0.5, 2, math.nan])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        fit_intervals(*galaxies(10, 12), TREE, n_views=1, level=level)
