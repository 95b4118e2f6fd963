"""Class probabilities with none: calibrated on unseen galaxies, and never against the votes beside them."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest

from tuningfork import load_tree
from tuningfork.model.class_calibration import (
    ClassCalibration,
    class_index,
    class_probabilities,
    class_scores,
    contradictory,
)
from tuningfork.model.class_calibration_fit import fit_classes
from tuningfork.votes.class_labels import class_tree
from tuningfork.votes.clean_samples import Status, class_fits, classify, decision_weights, justified
from tuningfork.votes.fractions import conditional_from_logits, cumulative_from_conditional, softmax

TREE = load_tree("gz2")
Galaxies = tuple[np.ndarray, np.ndarray]


@cache
def galaxies(count: int, seed: int, noise: float = 0.5, hidden: float = 0.0) -> Galaxies:
    """Predicted and true cumulative fractions (N, 37); of a share `hidden` the bar and the spiral arms are unknown."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, len(TREE.columns)))
    # A few kinds of galaxies, as there are in the sky, not an even mixture.
    for column, shift in (("Class6.2", 2.5), ("Class1.3", -4.0), ("Class2.2", 1.5), ("Class4.1", 1.0)):
        logits[:, TREE.columns.index(column)] += shift

    def votes(values: np.ndarray) -> np.ndarray:
        return cumulative_from_conditional(conditional_from_logits(values, TREE), TREE)

    true = votes(logits + rng.normal(0, noise, logits.shape))
    unknown = [at for at, column in enumerate(TREE.columns) if column.startswith(("Class3", "Class4"))]
    true[np.ix_(rng.random(count) < hidden, unknown)] = np.nan
    return votes(logits), true


def fitted(predicted: np.ndarray, true: np.ndarray) -> ClassCalibration:
    scores, classes = class_scores(TREE, votes=predicted), classify(true, TREE)
    return fit_classes(scores, classes, contradictory(predicted, TREE), decision_weights(true, TREE))


def eight(calibration: ClassCalibration, votes: np.ndarray) -> np.ndarray:
    return calibration(class_scores(TREE, votes=votes), contradictory(votes, TREE))


def log_loss(probability: np.ndarray, true: np.ndarray) -> float:
    return float(-np.log(probability[np.arange(len(true)), classify(true, TREE)]).mean())


def test_fitted_probabilities_mean_what_they_say_on_other_galaxies() -> None:
    calibration = fitted(*galaxies(6000, 1))
    assert not calibration.reason
    votes, true = galaxies(6000, 2)
    probability = eight(calibration, votes)
    assert log_loss(probability, true) < log_loss(eight(ClassCalibration(), votes), true) - 0.01
    frequency = np.bincount(np.where(classify(true, TREE) < 0, 7, classify(true, TREE)), minlength=8) / len(true)
    np.testing.assert_allclose(probability.mean(0), frequency, atol=0.01)


def test_no_parameters_nearby_have_a_higher_penalised_likelihood() -> None:
    votes, true = galaxies(6000, 1)
    best = fitted(votes, true)

    def objective(parameters: np.ndarray) -> float:
        slope, above, *offsets = parameters.tolist()
        other = ClassCalibration(slope, tuple(offsets), slope_above=above)
        off = parameters - [1, 1, *[0] * 7]
        return len(votes) * log_loss(eight(other, votes), true) + (off**2).sum() / 2

    parameters = np.array([best.slope, best.slope_above, *best.offsets])
    least = objective(parameters)
    for step in (-0.03, 0.03):
        for at in range(9):
            assert objective(parameters + step * (np.arange(9) == at)) > least


@pytest.mark.slow
def test_galaxies_with_unknown_votes_make_no_class_too_rare() -> None:
    predicted, true = galaxies(6000, 1, hidden=0.8)
    calibration, complete = fitted(predicted, true), fitted(*galaxies(6000, 1))
    assert calibration.undecided == (classify(true, TREE) == Status.UNDECIDED).sum() > 300
    assert calibration.galaxies + calibration.undecided == 6000
    scores, classes = class_scores(TREE, votes=predicted), classify(true, TREE)
    without = fit_classes(scores, classes, contradictory(predicted, TREE))
    votes, _ = galaxies(6000, 2)
    spirals = [eight(each, votes)[:, 4:6].sum() for each in (complete, calibration, without)]
    assert abs(spirals[1] - spirals[0]) < 0.15 * spirals[0] < spirals[0] - spirals[2]


def test_a_class_that_contradicts_the_votes_is_never_named() -> None:
    votes, _ = galaxies(3000, 3)
    wild = ClassCalibration(0.3, (4.0, -1.0, 2.0, 3.0, 0.0, 5.0, 1.0))
    probability, none = class_probabilities(wild, TREE, votes=votes)
    named = class_index(probability, none)
    assert 0 < (named == 7).sum() < 3000
    rows = np.flatnonzero(named < 7)
    assert justified(votes, TREE)[rows, named[rows]].all()
    # Without the limit it would happen.
    free = softmax(wild.logits(class_scores(TREE, votes=votes))).argmax(1)
    assert not justified(votes, TREE)[np.flatnonzero(free < 7), free[free < 7]].all()


def test_uncalibrated_the_class_is_the_one_whose_rule_is_passed() -> None:
    votes, _ = galaxies(3000, 4)
    probability, none = class_probabilities(None, TREE, votes=votes)
    one = (class_fits(votes, TREE) == 1).sum(1) <= 1
    rules = np.where(classify(votes, TREE) < 0, 7, classify(votes, TREE))
    assert (class_index(probability, none)[one] == rules[one]).all()
    np.testing.assert_allclose(probability.sum(1), 1)
    assert ((none > 0) & (none < 1)).all()


def test_in_a_tree_whose_answers_are_classes_every_galaxy_has_one() -> None:
    tree = class_tree(["disc", "smooth", "ring"])
    votes = np.array([[0.4, 0.35, 0.25], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])
    probability, none = class_probabilities(None, tree, votes=votes)
    np.testing.assert_allclose(probability, votes, atol=1e-9)
    assert (none == 0).all()
    assert class_index(probability, none).tolist() == [0, 2, 0]


def test_networks_of_classes_alone_say_nothing_of_none() -> None:
    outputs = np.random.default_rng(0).dirichlet(np.ones(7), 20)
    probability, none = class_probabilities(ClassCalibration(0.5, source="network"), TREE, probability=outputs)
    np.testing.assert_allclose(probability, np.sqrt(outputs) / np.sqrt(outputs).sum(1, keepdims=True))
    assert np.isnan(none).all()
    assert (class_index(probability, none) == outputs.argmax(1)).all()
    # A calibration of the votes is none of theirs.
    same, _ = class_probabilities(ClassCalibration(0.5), TREE, probability=outputs)
    np.testing.assert_allclose(same, outputs)


def test_no_prediction_has_no_class() -> None:
    votes, _ = galaxies(3, 5)
    votes = np.where(np.arange(3)[:, None] == 1, np.nan, votes)
    probability, none = class_probabilities(None, TREE, votes=votes)
    assert np.isnan(probability[1]).all()
    assert np.isnan(none[1])
    assert class_index(probability, none)[1] == -1
    assert not np.isnan(probability[[0, 2]]).any()
    bare = load_tree("gz_decals")
    probability, none = class_probabilities(None, bare, votes=np.ones((2, len(bare.columns))))
    assert probability.shape == (2, 0)
    assert class_index(probability, none).tolist() == [-1, -1]


def test_extreme_scores_stay_probabilities() -> None:
    scores = np.array([[-1000.0] * 7 + [0], [1000.0] * 7 + [0], [0.0] * 8])
    out = ClassCalibration(100.0, (100.0,) * 7)(scores)
    np.testing.assert_allclose(out.sum(1), 1)
    probability, none = class_probabilities(ClassCalibration(100.0), TREE, votes=np.zeros((1, 37)))
    np.testing.assert_allclose(probability.sum(1), 1)
    assert none == 1


def test_the_order_of_the_galaxies_is_of_no_importance() -> None:
    predicted, true = galaxies(400, 6)
    order = np.random.default_rng(0).permutation(400)
    one, other = fitted(predicted, true), fitted(predicted[order], true[order])
    parameters = ([each.slope, each.slope_above, *each.offsets] for each in (one, other))
    np.testing.assert_allclose(*parameters, rtol=1e-6)
    assert one.log_loss_after == pytest.approx(other.log_loss_after)


def test_perfect_predictions_of_few_galaxies_stay_cautious() -> None:
    predicted, _ = galaxies(200, 7)
    assert fitted(predicted, predicted).slope < 10


def test_a_calibration_that_does_not_help_is_not_used() -> None:
    rng = np.random.default_rng(8)
    scores = np.concatenate([rng.normal(0, 2, (120, 7)), np.zeros((120, 1))], 1)
    right = softmax(scores)
    fits = []
    for _ in range(20):
        classes = (right.cumsum(1) < rng.random((120, 1))).sum(1)
        fits.append(fit_classes(scores, np.where(classes == 7, Status.UNCLASSIFIED, classes)))
    kept = [fit for fit in fits if fit.slope == 1]
    assert len(kept) > 5
    assert all("no better" in fit.reason and not fit.offsets for fit in kept)


def test_scores_above_and_below_nought_have_slopes_of_their_own() -> None:
    rng = np.random.default_rng(3)
    scores = np.concatenate([rng.normal(0, 2, (4000, 3)), np.zeros((4000, 1))], 1)
    right = softmax(np.where(scores > 0, 0.4, 1.5) * scores + [0.5, 0, -0.5, 0])
    classes = (right.cumsum(1) < rng.random((4000, 1))).sum(1)
    calibration = fit_classes(scores, np.where(classes == 3, Status.UNCLASSIFIED, classes))
    assert (calibration.slope, calibration.slope_above) == pytest.approx((1.5, 0.4), abs=0.15)
    np.testing.assert_allclose(calibration(scores), right, atol=0.05)
    same = ClassCalibration(0.7, (0.1,) * 3)
    np.testing.assert_allclose(same(scores), ClassCalibration(0.7, (0.1,) * 3, slope_above=0.7)(scores))


def test_too_few_galaxies_change_nothing_and_say_so() -> None:
    predicted, true = galaxies(49, 9)
    calibration = fitted(predicted, true)
    assert calibration.reason == "the votes decide the class of 49; 50 are needed"
    assert (calibration.slope, calibration.offsets, calibration.log_loss_before) == (1.0, (), None)


def test_it_comes_back_from_json() -> None:
    for calibration in (fitted(*galaxies(400, 6)), fitted(*galaxies(49, 9))):
        assert ClassCalibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def test_a_temperature_of_an_earlier_version_is_a_slope() -> None:
    old = {"temperature": 2.0, "galaxies": 100, "log_loss_before": 1.0, "log_loss_after": 0.9, "reason": ""}
    assert ClassCalibration.from_dict(old) == ClassCalibration(0.5, (), 100, 0, 1.0, 0.9, "", "network")
    assert ClassCalibration.from_dict({**old, "source": "votes"}).source == "votes"


@pytest.mark.parametrize("change", [
    {"slope": 0.0}, {"slope": 101.0}, {"slope": math.nan}, {"slope": "1"}, {"slope": 1},
    {"slope_above": 0.0}, {"slope_above": 1}, {"galaxies": -1},
    {"galaxies": 1.0}, {"undecided": None}, {"offsets": [math.nan]}, {"offsets": ["1"]}, {"offsets": 1.0},
    {"log_loss_after": math.inf}, {"log_loss_before": -1.0}, {"reason": None}, {"other": 1}, {"source": "stars"},
    {"temperature": 0.0}, {"temperature": 11.0}, {"temperature": "1"},
])  # fmt: skip
def test_nonsense_is_refused(change: dict) -> None:
    with pytest.raises((ValueError, TypeError)):
        ClassCalibration.from_dict({**({} if "temperature" in change else {"slope": 1.5}), "galaxies": 100, **change})


def test_one_of_another_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="3 offsets, but tree gz2 has 7"):
        ClassCalibration(1.0, (0.0,) * 3).check(TREE)
    with pytest.raises(ValueError, match="tree gz_decals has none"):
        ClassCalibration().check(load_tree("gz_decals"))
