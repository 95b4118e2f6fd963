"""Scores, against scikit-learn, plain Python and the paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as reference

from tuningfork._utils.binomial import binomial_interval
from tuningfork.evaluation.metrics import (
    Interval,
    accuracy,
    auroc,
    bootstrap,
    calibration_error,
    confusion_matrix,
    jackknife_groups,
    macro,
    per_class,
    rmse,
    rmse_per_question,
)
from tuningfork.votes.tree import DecisionTree

QUICK = settings(max_examples=60, derandomize=True)
RNG = np.random.default_rng(0)

#: Kalvankar et al. 2020, EfficientNet-B5: rows true, columns predicted.
PAPER = np.array([
    [784, 22, 0, 0, 0, 1, 3],
    [15, 758, 2, 0, 0, 2, 1],
    [0, 5, 41, 11, 0, 0, 0],
    [0, 3, 22, 344, 0, 2, 7],
    [0, 0, 0, 1, 70, 10, 1],
    [8, 8, 1, 0, 1, 304, 6],
    [6, 8, 0, 0, 3, 14, 125],
])  # fmt: skip

pairs = st.integers(2, 7).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=60),
    )
)
fractions = arrays(np.float64, (6, 5), elements=st.floats(0, 1))
with_blanks = arrays(np.float64, (6, 5), elements=st.floats(0, 1) | st.just(math.nan))


# ---------------------------------------------------------------- classes


@given(pairs)
@QUICK
def test_classification_figures_are_scikit_learns(case: tuple[int, list[tuple[int, int]]]) -> None:
    classes, rows = case
    true, predicted = np.array(rows).T
    matrix = confusion_matrix(true, predicted, classes)
    every = np.arange(classes)
    assert np.array_equal(matrix, reference.confusion_matrix(true, predicted, labels=every))
    assert accuracy(matrix) == pytest.approx(reference.accuracy_score(true, predicted))
    # A class that is predicted and never occurs counts, too.
    occurring = np.union1d(true, predicted)
    expected = reference.precision_recall_fscore_support(true, predicted, labels=every, zero_division=0)
    means = reference.precision_recall_fscore_support(
        true, predicted, labels=occurring, average="macro", zero_division=0
    )
    each, mean = per_class(matrix), macro(matrix)
    for name, values, average in zip(("precision", "recall", "f1"), expected, means, strict=False):
        np.testing.assert_allclose(each[name][occurring], values[occurring])
        assert np.isnan(np.delete(each[name], occurring)).all()
        assert mean[name] == pytest.approx(average)


def test_the_papers_matrix_gives_the_papers_figures() -> None:
    assert round(accuracy(PAPER), 4) == 0.9370
    assert round(macro(PAPER)["f1"], 4) == 0.8831
    assert round(macro(PAPER)["recall"], 3) == 0.879


def test_rows_are_true_and_columns_predicted() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 0]), 2)
    assert matrix.tolist() == [[0, 2], [1, 0]]


@pytest.mark.parametrize(("true", "predicted"), [([-1], [0]), ([0], [-1]), ([2], [0]), ([0], [2])])
def test_a_class_out_of_range_is_not_counted_as_another(true: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"not in 0…1; leave out"):
        confusion_matrix(np.array(true), np.array(predicted), 2)


def test_without_galaxies_there_is_no_score() -> None:
    matrix = confusion_matrix(np.array([], int), np.array([], int), 3)
    assert matrix.tolist() == [[0] * 3] * 3
    assert math.isnan(accuracy(matrix))
    assert all(math.isnan(value) for value in macro(matrix).values())


def test_a_class_that_is_predicted_but_absent_lowers_the_means() -> None:
    matrix = np.array([[5, 0, 5], [0, 10, 0], [0, 0, 0]])
    each = per_class(matrix)
    assert [each[name][2] for name in ("precision", "recall", "f1")] == [0, 0, 0]
    assert macro(matrix)["f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    neither = np.pad(matrix, (0, 1))
    assert macro(neither) == macro(matrix)
    assert math.isnan(per_class(neither)["f1"][3])


def test_weights_count_galaxies_several_times() -> None:
    rng = np.random.default_rng(5)
    true, predicted, times = rng.integers(0, 4, 50), rng.integers(0, 4, 50), rng.integers(1, 4, 50)
    again = np.repeat(np.arange(50), times)
    matrix = confusion_matrix(true, predicted, 4, times.astype(float))
    np.testing.assert_array_equal(matrix, confusion_matrix(true[again], predicted[again], 4))
    assert accuracy(matrix) == pytest.approx(accuracy(confusion_matrix(true[again], predicted[again], 4)))
    probability = rng.random(50)
    right = true == predicted
    weighted = calibration_error(probability, right, bins=1, weights=times.astype(float))
    assert weighted == pytest.approx(calibration_error(probability[again], right[again], bins=1))


def test_a_class_never_predicted_counts_as_nought() -> None:
    each = per_class(np.array([[5, 0], [3, 0]]))
    assert each["precision"][1] == 0
    assert each["recall"][1] == 0
    assert each["f1"][1] == 0


# ---------------------------------------------------------------- votes


def plain_rmse(predicted: np.ndarray, known: np.ndarray) -> float:
    squares = [
        (p - k) ** 2
        for p_row, k_row in zip(predicted.tolist(), known.tolist(), strict=True)
        for p, k in zip(p_row, k_row, strict=True)
        if not math.isnan(k)
    ]
    return math.sqrt(math.fsum(squares) / len(squares)) if squares else math.nan


@given(fractions, with_blanks)
@QUICK
def test_rmse_is_a_plain_loop_over_the_known_cells(predicted: np.ndarray, known: np.ndarray) -> None:
    assert rmse(predicted, known) == pytest.approx(plain_rmse(predicted, known), nan_ok=True)


@given(fractions, fractions)
@QUICK
def test_on_complete_rows_rmse_is_scikit_learns(predicted: np.ndarray, known: np.ndarray) -> None:
    assert rmse(predicted, known) == pytest.approx(reference.mean_squared_error(known, predicted) ** 0.5)


def test_rmse_of_each_question_covers_its_columns(gz2: DecisionTree) -> None:
    predicted, known = RNG.random((9, 37)), RNG.random((9, 37))
    known[:, :3] = np.nan
    known[0, 5] = np.nan
    scores = rmse_per_question(predicted, known, gz2)
    assert list(scores) == [question.key for question in gz2.questions]
    assert math.isnan(scores["smooth_or_features"])
    assert scores["bar"] == pytest.approx(plain_rmse(predicted[:, 5:7], known[:, 5:7]))
    assert scores["arms_number"] == pytest.approx(plain_rmse(predicted[:, 31:37], known[:, 31:37]))


def test_a_missing_prediction_is_not_a_good_one() -> None:
    assert math.isnan(rmse(np.array([[0.5, np.nan]]), np.array([[0.5, 0.5]])))
    assert rmse(np.array([[0.5, np.nan]]), np.array([[0.5, np.nan]])) == 0


def test_nothing_known_gives_no_score() -> None:
    assert math.isnan(rmse(np.zeros((2, 2)), np.full((2, 2), np.nan)))
    assert math.isnan(rmse(np.zeros((0, 2)), np.zeros((0, 2))))


# ---------------------------------------------------------------- bootstrap


def mean_of(values: np.ndarray) -> object:
    return lambda rows: float(values[rows].mean())


def test_the_seed_decides_the_interval() -> None:
    score = mean_of(RNG.normal(size=50))
    assert bootstrap(score, 50, seed=3) == bootstrap(score, 50, seed=3)
    assert bootstrap(score, 50, seed=3) != bootstrap(score, 50, seed=4)


@given(arrays(np.float64, st.integers(8, 60), elements=st.floats(-5, 5)), st.integers(0, 9))
@QUICK
def test_the_interval_holds_the_mean(values: np.ndarray, seed: int) -> None:
    interval = bootstrap(mean_of(values), len(values), resamples=200, seed=seed)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low - 1e-9 <= interval.value <= interval.high + 1e-9
    assert values.min() - 1e-9 <= interval.low
    assert interval.high <= values.max() + 1e-9


def test_the_interval_narrows_as_the_root_of_the_number() -> None:
    values = RNG.normal(size=6400)

    def width(count: int) -> float:
        interval = bootstrap(mean_of(values[:count]), count)
        return interval.high - interval.low

    assert width(100) / width(6400) == pytest.approx(8, rel=0.25)


def test_a_higher_level_is_wider() -> None:
    score = mean_of(RNG.normal(size=80))
    narrow, wide = (bootstrap(score, 80, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (narrow.level, wide.level) == (0.5, 0.99)


def test_ninety_five_per_cent_hold_the_true_mean() -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for trial in range(200):
        values = rng.normal(0.3, 1, 60)
        interval = bootstrap(mean_of(values), 60, resamples=300, seed=trial)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.89 <= hits / 200 <= 0.99


def test_the_width_is_that_of_the_normal_mean() -> None:
    values = RNG.normal(0, 2, 900)
    interval = bootstrap(mean_of(values), 900)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 30, rel=0.1)


def test_every_row_is_scored_once_and_then_drawn_with_replacement() -> None:
    drawings: list[np.ndarray] = []
    bootstrap(lambda rows: float(len(drawings.append(rows) or drawings)), 20, resamples=5)
    assert np.array_equal(drawings[0], np.arange(20))
    assert len(drawings) == 26
    assert all(len(rows) == 20 and 0 <= rows.min() <= rows.max() < 20 for rows in drawings[:6])
    assert any(len(np.unique(rows)) < 20 for rows in drawings[1:6])
    # The jackknife leaves each out once.
    assert all(len(rows) == len(np.unique(rows)) == 19 for rows in drawings[6:])
    assert len({(set(range(20)) - set(rows.tolist())).pop() for rows in drawings[6:]}) == 20


def test_many_galaxies_are_left_out_in_groups() -> None:
    groups = jackknife_groups(1001)
    assert len(groups) == 200
    assert sorted(np.concatenate(groups).tolist()) == list(range(1001))
    assert jackknife_groups(0) == []


def test_the_interval_of_a_skewed_score_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(11).lognormal(0, 1, 40)
    ours = bootstrap(mean_of(values), 40, resamples=20000)
    result = stats.bootstrap((values,), np.mean, n_resamples=20000, method="BCa", rng=np.random.default_rng(12))
    low, high = result.confidence_interval
    width = high - low
    assert ours.low == pytest.approx(low, abs=0.03 * width)
    assert ours.high == pytest.approx(high, abs=0.03 * width)
    plain = Interval.of(ours.value, [values[rows].mean() for rows in RNG.integers(0, 40, (20000, 40))])
    assert ours.low > plain.low + 0.03 * width  # a long tail to the right
    assert ours.high > plain.high + 0.05 * width


@pytest.mark.parametrize("count", [0, 5])
def test_a_score_that_is_not_a_number_has_no_interval(count: int) -> None:
    interval = bootstrap(lambda rows: math.nan, count)
    assert math.isnan(interval.value)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_one_galaxy_has_no_width() -> None:
    interval = bootstrap(mean_of(np.array([0.25])), 1)
    assert (interval.low, interval.value, interval.high) == (0.25, 0.25, 0.25)


# ---------------------------------------------------------------- calibration


def test_the_calibration_error_of_a_hand_counted_table() -> None:
    probability = np.array([0.9, 0.2, 0.8, 0.1])
    right = np.array([True, False, False, True])
    # Two bins: (0.1, 0.2) with one of two right, (0.8, 0.9) with one of two right.
    assert calibration_error(probability, right, bins=2) == pytest.approx((abs(0.15 - 0.5) + abs(0.85 - 0.5)) / 2)
    assert calibration_error(probability, right, bins=1) == pytest.approx(0)
    assert calibration_error(probability, right, bins=10) == pytest.approx((0.1 + 0.2 + 0.8 + 0.9) / 4)
    assert math.isnan(calibration_error(np.empty(0), np.empty(0, bool)))


@given(count=st.integers(1, 300), seed=st.integers(0, 100), bins=st.integers(1, 20))
@QUICK
def test_the_calibration_error_is_the_mean_gap_of_equal_bins(count: int, seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    probability, right = rng.random(count), rng.random(count) < 0.5
    rows = sorted(zip(probability, right, strict=True))
    bins = min(bins, count)
    sizes = [count // bins + (number < count % bins) for number in range(bins)]
    gaps, start = 0.0, 0
    for size in sizes:
        part = rows[start : start + size]
        gaps += size * abs(sum(p for p, _ in part) / size - sum(r for _, r in part) / size)
        start += size
    assert calibration_error(probability, right, bins) == pytest.approx(gaps / count)


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (10, 10), (9, 10), (45, 50), (1, 1), (500, 1000)])
def test_the_binomial_interval_inverts_the_score_test(hits: int, count: int) -> None:
    low, high = binomial_interval(hits, count)
    assert 0 <= low <= hits / count <= high <= 1
    for bound in (low, high):
        if 1e-9 < bound < 1 - 1e-9:
            assert abs(hits / count - bound) / math.sqrt(bound * (1 - bound) / count) == pytest.approx(
                1.959964, rel=1e-6
            )


def test_what_json_cannot_hold_is_none() -> None:
    assert Interval(0.5, 0.25, 0.75).to_dict() == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert Interval(math.nan, -math.inf, math.nan).to_dict() == dict.fromkeys(("value", "low", "high"))


def test_resamples_that_are_no_number_are_left_out() -> None:
    drawn = RNG.permutation([*range(101), *[math.nan] * 300, math.inf])
    interval = Interval.of(50.0, drawn, 0.9)
    assert (interval.low, interval.value, interval.high) == pytest.approx((5, 50, 95))
    assert Interval.of(0.5, [math.nan]).to_dict() == {"value": 0.5, "low": None, "high": None}


scored = st.lists(st.integers(0, 6), min_size=1, max_size=30).map(np.array)


@given(scored, scored)
@QUICK
def test_auroc_agrees_with_scikit_learn_and_turns_over(inside: np.ndarray, outside: np.ndarray) -> None:
    truth = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
    assert auroc(inside, outside) == pytest.approx(reference.roc_auc_score(truth, np.r_[inside, outside]))
    assert auroc(inside, outside) == pytest.approx(1 - auroc(outside, inside))


def test_auroc_of_one_distribution_is_a_half() -> None:
    inside, outside = RNG.normal(size=(2, 4000))
    # Standard deviation √((2n + 1) / (12 n²)) = 0.0065.
    assert auroc(inside, outside) == pytest.approx(0.5, abs=0.03)
    assert auroc(inside, outside + 100) == 1
    assert math.isnan(auroc(inside, inside[:0]))
