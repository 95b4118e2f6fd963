"""Coverage and calibration error, against plain counting and models whose promise is known."""

from __future__ import annotations

import numpy as np
import pytest

from tuningfork._utils.binomial import binomial_interval
from tuningfork.evaluation.reliability import class_reliability, coverage
from tuningfork.votes import fractions as votes
from tuningfork.votes.traversal import majority_path
from tuningfork.votes.tree import DecisionTree


def _tables(gz2: DecisionTree, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return tuple(votes.cumulative_from_logits(rng.normal(0, 1, (count, 37)), gz2) for _ in range(2))


def test_coverage_is_what_counting_by_hand_gives(gz2: DecisionTree) -> None:
    predicted, known = _tables(gz2, 30, 1)
    known[:5, 2:] = np.nan
    told, true = votes.conditional_from_cumulative(predicted, gz2), votes.conditional_from_cumulative(known, gz2)
    low, high = np.clip(told - 0.2, 0, 1), np.clip(told + 0.2, 0, 1)
    report = coverage(low, high, predicted, known, gz2)
    for question, part, parent in zip(gz2.questions, gz2.slices, gz2.parents, strict=True):
        rows = [row for row in range(30) if not np.isnan(true[row, part]).any()]
        hits = {
            row: [low[row, a] <= true[row, a] <= high[row, a] for a in range(part.start, part.stop)] for row in rows
        }
        each = report[question.key]
        assert each["galaxies"] == len(rows)
        assert each["coverage"] == pytest.approx(np.mean([np.mean(hits[row]) for row in rows]))
        assert each["joint"] == pytest.approx(np.mean([all(hits[row]) for row in rows]))
        expected = binomial_interval(sum(all(hits[row]) for row in rows), len(rows))
        assert (each["low"], each["high"]) == pytest.approx(expected)
        assert each["mean_width"] == pytest.approx(np.mean((high - low)[rows][:, part]))
        assert each["median_width"] == pytest.approx(np.median((high - low)[rows][:, part]))
        # The answer on the path of the majority, of galaxies whose path leads through the question.
        paths = {row: {q.key: at for q, at in majority_path(gz2, predicted[row])} for row in rows}
        shown = {row: paths[row][question.key] for row in rows if question.key in paths[row]}
        assert each["shown"]["galaxies"] == len(shown)
        if shown:
            held = [hits[row][at - part.start] for row, at in shown.items()]
            assert each["shown"]["coverage"] == pytest.approx(np.mean(held))
            assert each["shown"]["mean_width"] == pytest.approx(
                np.mean([high[r, a] - low[r, a] for r, a in shown.items()])
            )
        if parent is None:
            assert each["small_reach"] is None
            assert each["large_reach"] is None
            continue
        ranked = sorted(rows, key=lambda row: predicted[row, parent])
        half = -(-len(rows) // 2)
        for name, rest in (("small_reach", ranked[:half]), ("large_reach", ranked[half:])):
            assert each[name]["galaxies"] == len(rest)
            assert each[name]["joint"] == pytest.approx(np.mean([all(hits[row]) for row in rest]))


def test_questions_without_intervals_or_answers_are_null(gz2: DecisionTree) -> None:
    predicted, known = _tables(gz2, 10, 2)
    low, high = np.zeros((10, 37)), np.ones((10, 37))
    low[:, gz2.slices[2]] = np.nan
    known[:, gz2.slices[3]] = np.nan
    report = coverage(low, high, predicted, known, gz2)
    for number, question in enumerate(gz2.questions):
        each = report[question.key]
        assert each["coverage"] == (None if number in (2, 3) else 1)
        assert each["galaxies"] == (0 if number in (2, 3) else 10)


def _galaxies(count: int, seed: int, sharper: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    right = rng.dirichlet(np.full(7, 0.3), count)
    classes = np.minimum((right.cumsum(1) < rng.random((count, 1))).sum(1), 6)
    told = right**sharper
    return told / told.sum(1, keepdims=True), classes


def test_an_honest_model_has_the_error_of_chance_alone() -> None:
    reports = [class_reliability(*_galaxies(150, seed), simulations=200) for seed in range(40)]
    assert np.mean([r["calibration_error"] for r in reports]) == pytest.approx(
        np.mean([r["if_perfect"]["mean"] for r in reports]), rel=0.1
    )
    assert sum(r["calibration_error"] > r["if_perfect"]["quantile_95"] for r in reports) <= 7


def test_an_overconfident_model_stands_out() -> None:
    told = class_reliability(*_galaxies(1000, 1, sharper=4))
    assert told["calibration_error"] > 3 * told["if_perfect"]["quantile_95"]
    assert told["mean_probability"] > told["share_right"]


def test_more_galaxies_leave_less_to_chance() -> None:
    few, many = (class_reliability(*_galaxies(count, 2))["if_perfect"]["mean"] for count in (100, 10_000))
    assert many < few / 5


def test_galaxies_without_probabilities_are_left_out() -> None:
    probability, classes = _galaxies(100, 3)
    probability[:40] = np.nan
    told = class_reliability(probability, classes)
    assert told == class_reliability(probability[40:], classes[40:])
    assert told["galaxies"] == 60
    assert class_reliability(probability[:40], classes[:40]) is None
