"""Bootstrap of sums: the same intervals as resampling the galaxies themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.evaluation import metrics
from tuningfork.evaluation.resampling import Resamples, confusion_cells, root_mean, squared_errors


def same(ours: metrics.Interval, other: metrics.Interval) -> None:
    for name in ("value", "low", "high"):
        assert getattr(ours, name) == pytest.approx(getattr(other, name), rel=1e-9, nan_ok=True)


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_rmse_is_that_of_resampled_galaxies(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = np.where(rng.random((count, 5)) < 0.3, np.nan, rng.random((count, 5)))
    predicted = rng.random((count, 5))
    ours = Resamples.of(squared_errors(predicted, known), 50, seed).interval(root_mean)
    same(ours, metrics.bootstrap(lambda r: metrics.rmse(predicted[r], known[r]), count, resamples=50, seed=seed))


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_a_confusion_matrix_are_those_of_resampled_galaxies(weighted: bool) -> None:
    rng = np.random.default_rng(4)
    true, predicted = rng.integers(0, 4, 80), rng.integers(0, 4, 80)
    weights = rng.random(80) + 0.5 if weighted else None
    resamples = Resamples.of(confusion_cells(true, predicted, 4, weights), 40, 7)
    np.testing.assert_allclose(
        resamples.total.reshape(4, 4), metrics.confusion_matrix(true, predicted, 4, weights), rtol=1e-12
    )
    intervals = resamples.intervals(lambda sums: [*metrics.overall(sums.reshape(4, 4)).values()])
    for name, ours in zip(metrics.overall(np.eye(4)), intervals, strict=True):

        def score(r, name=name):
            matrix = metrics.confusion_matrix(true[r], predicted[r], 4, None if weights is None else weights[r])
            return metrics.overall(matrix)[name]

        same(ours, metrics.bootstrap(score, 80, resamples=40, seed=7))


def test_no_galaxies_have_no_score() -> None:
    interval = Resamples.of(np.zeros((0, 2))).interval(root_mean)
    assert math.isnan(interval.value)
    assert math.isnan(interval.low)


def test_a_missing_prediction_of_a_known_cell_is_no_good_one() -> None:
    known, predicted = np.array([[0.5, np.nan]]), np.array([[np.nan, 0.1]])
    assert math.isnan(root_mean(squared_errors(predicted, known).sum(0)))
    assert root_mean(squared_errors(np.array([[0.4, np.nan]]), known).sum(0)) == pytest.approx(0.1)
