"""Clean samples: margins of the rules, which classes votes justify, and galaxies that they leave undecided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tuningfork.votes.clean_samples import (
    SLACK,
    Status,
    class_fits,
    class_margins,
    classify,
    decision_weights,
    justified,
)
from tuningfork.votes.fractions import conditional_from_logits, cumulative_from_conditional
from tuningfork.votes.traversal import majority_path
from tuningfork.votes.tree import ClassRule, DecisionTree


def galaxies(tree: DecisionTree, count: int, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 3, (count, len(tree.columns)))
    return cumulative_from_conditional(conditional_from_logits(logits, tree), tree)


def test_margins_agree_with_the_rules(gz2: DecisionTree) -> None:
    cumulative = galaxies(gz2, 5000, 3)
    margins = class_margins(cumulative, gz2)
    assert ((margins >= -SLACK) == (class_fits(cumulative, gz2) == 1)).all()
    assert (np.abs(margins) <= 1).all()


def test_a_threshold_holds_in_single_precision(gz2: DecisionTree) -> None:
    for rule in gz2.classes:
        for column, least in rule.all_of:
            votes = np.ones((2, 37))
            votes[:, gz2.columns.index(column)] = [np.float32(least), least - 2e-6]
            one = replace(gz2, classes=(rule,))
            assert class_fits(votes.astype(np.float32), one)[:, 0].tolist() == [1, 0], rule.key


def test_a_class_is_justified_by_the_rule_or_by_the_majority(gz2: DecisionTree) -> None:
    cumulative = galaxies(gz2, 500, 4)
    expected = class_fits(cumulative, gz2) == 1
    for row, votes in enumerate(cumulative):
        path = {gz2.columns[at] for _, at in majority_path(gz2, votes)}
        for c, rule in enumerate(gz2.classes):
            expected[row, c] |= {column for column, _ in rule.all_of} <= path and (
                not rule.any_of or any(column in path for column, _ in rule.any_of)
            )
    assert (justified(cumulative, gz2) == expected).all()
    assert (expected & ~(class_fits(cumulative, gz2) == 1)).any()
    assert not expected.all(1).any()


def test_a_rule_that_a_minority_passes_justifies_its_class(gz2: DecisionTree) -> None:
    weak = replace(gz2, classes=(ClassRule("weak_bar", "weak bar", (("Class3.1", 0.2),)),))
    cumulative = galaxies(gz2, 500, 5)
    bar, no_bar = (cumulative[:, gz2.columns.index(column)] for column in ("Class3.1", "Class3.2"))
    minority = (bar >= 0.2) & (bar < no_bar)
    assert minority.any()
    assert justified(cumulative, weak)[minority, 0].all()


def test_weights_make_up_for_the_galaxies_that_are_undecided(gz2: DecisionTree) -> None:
    whole = galaxies(gz2, 20000, 6)
    bars = [at for at, column in enumerate(gz2.columns) if column.startswith(("Class3", "Class4"))]
    hidden = whole.copy()
    hidden[np.ix_(np.random.default_rng(7).random(len(whole)) < 0.75, bars)] = np.nan
    classes, weights = classify(hidden, gz2), decision_weights(hidden, gz2)
    assert ((weights == 0) == (classes == Status.UNDECIDED)).all()
    assert set(weights[classes == 0]) == {1.0}
    for c in (Status.UNCLASSIFIED, 0, 4, 5):
        true, counted = (classify(whole, gz2) == c).sum(), weights[classes == c].sum()
        assert abs(counted - true) < 5 * np.sqrt(3 * true)
    # Without weights, three of four spirals would be missing.
    assert (classes == 5).sum() < 0.5 * (classify(whole, gz2) == 5).sum()
    assert (decision_weights(whole, gz2) == 1).all()
