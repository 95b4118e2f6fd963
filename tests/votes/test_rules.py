"""Rules on vote fractions: what they mean, against conditions written by hand; what cannot be read names its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.votes.clean_samples import classify
from tuningfork.votes.fractions import conditional_from_cumulative, cumulative_from_logits
from tuningfork.votes.rules import MAX_DEPTH, RuleError, parse_rule
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.tree_files import load_tree

TREE = load_tree("gz2")
VOTES = cumulative_from_logits(np.random.default_rng(0).normal(0, 2, (400, 37)), TREE)
SHARES = conditional_from_cumulative(VOTES, TREE)
C = {column: VOTES[:, place] for place, column in enumerate(TREE.columns)}
SMOOTH = C["Class1.1"] > 0.5
F = {name: SHARES[:, place] for place, name in enumerate(TREE.fraction_names)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smooth >= 0.4", C["Class1.1"] >= 0.4),
        ("features>=0.43 and bar_yes>=0.3", (C["Class1.2"] >= 0.43) & (C["Class3.1"] >= 0.3)),
        ("bar_yes_fraction > 50%", F["bar_yes_fraction"] > 0.5),
        ("0.2 <= smooth < .5", (C["Class1.1"] >= 0.2) & (C["Class1.1"] < 0.5)),
        ("0.5 < smooth", C["Class1.1"] > 0.5),
        ("Class3.1 >= 0.3 or \"Class6.1\" >= 3e-1", (C["Class3.1"] >= 0.3) | (C["Class6.1"] >= 0.3)),
        ("smooth>.5 or features>.5 and odd_yes>.5", SMOOTH | ((C["Class1.2"] > 0.5) & (C["Class6.1"] > 0.5))),
        ("(smooth>.5 or features>.5) and odd_yes>.5", (SMOOTH | (C["Class1.2"] > 0.5)) & (C["Class6.1"] > 0.5)),
        ("not smooth>.5 and not (odd_yes<=.5)", (C["Class1.1"] <= 0.5) & (C["Class6.1"] > 0.5)),
        ("(ring + merger) - lens >= .1", C["Class8.1"] + C["Class8.6"] - C["Class8.2"] >= 0.1),
        ("smooth > features", C["Class1.1"] > C["Class1.2"]),
        ("class:4", classify(VOTES, TREE) == 4),
        ("class:irregular or class:0", np.isin(classify(VOTES, TREE), [0, 6])),
    ],
)  # fmt: skip
def test_rules_mean_what_they_say(text: str, expected: np.ndarray) -> None:
    rule = parse_rule(text, TREE)
    np.testing.assert_array_equal(rule.fits(VOTES) == 1, expected)
    np.testing.assert_array_equal(rule.fits(np.stack([VOTES, VOTES]))[1] == 1, expected)
    assert 0 < expected.sum() < len(expected)


@settings(max_examples=60, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from(["smooth>=.5 and odd_yes>.4", "smooth>=.5 or odd_yes>.4",
       "not (smooth>=.5 or odd_yes>.4) and bar_yes<.2", "class:4", "class:6"]))  # fmt: skip
def test_what_is_unknown_is_undecided_unless_it_does_not_matter(seed: int, text: str) -> None:
    """Kleene's logic never contradicts what the full votes say."""
    rng, rule = np.random.default_rng(seed), parse_rule(text, TREE)
    votes = VOTES[rng.integers(0, len(VOTES), 20)]
    hidden = np.where(rng.random(votes.shape) < 0.3, np.nan, votes)
    known, partial = rule.fits(votes), rule.fits(hidden)
    decided = partial != -1
    np.testing.assert_array_equal(partial[decided], known[decided])
    unread = [place for place in range(37) if place not in rule.answers]
    hidden = votes.copy()
    hidden[:, unread] = np.nan
    np.testing.assert_array_equal(rule.fits(hidden), known)


def test_a_rule_says_what_its_names_stand_for() -> None:
    rule = parse_rule("features >= .4 and bar_yes_fraction > .5 or class:3", TREE)
    assert rule.meanings == {
        "features": 'share of all volunteers who answer "features or disk" (smooth or features)',
        "bar_yes_fraction": 'share of those asked who answer "yes" (bar)',
        "class:3": "clean sample: lenticular (edge-on)",
    }
    assert rule.questions == {"smooth_or_features", "bar", "rounded", "odd", "edge_on"}


@pytest.mark.parametrize(("text", "place", "reason"), [
    ("", 0, "empty"), ("smooth>=", 8, "ends where"), ("smooth >= 0.8 & odd_yes>.1", 14, "'&' has no meaning"),
    ("yes>=.5", 0, "edge_on_yes or bar_yes"), ("smooth>.5 and bary>=.3", 14, "did you mean bar_yes"),
    ("(smooth>=.3", 0, "not closed"), ("smooth>=.3)", 10, "not expected"), ("class:9", 0, "no class is called '9'"),
    ("smooth == 0.5", 7, "compared with"), ("smooth", 6, "comparison is expected"), ("smooth > 80", 9, "at most 1"),
    ("smooth>.5 odd_yes>.5", 10, "not expected here"), ("and smooth>.5", 0, "not expected"),
    ("__import__('os')", 11, "no meaning"), ("__import__(os)", 0, "no fraction"), ("smooth.real > 0", 0, "no fraction"),
    ("smooth > .5 or", 14, "ends where"),
    ("(" * (MAX_DEPTH + 1) + "smooth>.5" + ")" * (MAX_DEPTH + 1), MAX_DEPTH, "levels"), ("smooth>'a'", 7, "no meaning"),
])  # fmt: skip
def test_what_cannot_be_read_names_the_place(text: str, place: int, reason: str) -> None:
    with pytest.raises(RuleError, match="character") as error:
        parse_rule(text, TREE)
    assert (error.value.place, reason in error.value.reason) == (place, True), str(error.value)
    assert error.value.pointer().splitlines()[-1].index("^") == place + 2


def test_columns_are_what_they_are_in_the_label_table() -> None:
    def tree(values: str) -> DecisionTree:
        return DecisionTree.from_dict({**TREE.to_dict(), "values": values, "classes": []})

    conditional = parse_rule("Class3.1 > .5", tree("conditional"))
    np.testing.assert_array_equal(conditional.fits(VOTES) == 1, F["bar_yes_fraction"] > 0.5)
    with pytest.raises(RuleError, match="number of votes"):
        parse_rule("Class3.1 > .5", tree("counts"))
    with pytest.raises(RuleError, match="no clean-sample classes"):
        parse_rule("class:0", tree("cumulative"))
