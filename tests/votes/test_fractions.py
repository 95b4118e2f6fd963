"""Votes down a tree, against a second implementation and the sums the tree promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tuningfork.votes import fractions as votes
from tuningfork.votes.clean_samples import Status, class_fits, classify
from tuningfork.votes.tree_files import builtin_trees, load_tree

TREES = {name: load_tree(name) for name in builtin_trees()}


@st.composite
def conditionals(draw, shares=st.integers(0, 40)):
    """A tree with conditional fractions of whole votes; a question nobody reached is NaN."""
    tree = TREES[draw(st.sampled_from(sorted(TREES)))]
    out = np.empty(len(tree.columns))
    cumulative = {}
    for question, part in zip(tree.questions, tree.slices, strict=True):
        reach = 1.0 if question.parent is None else cumulative[question.parent]
        count = np.array([draw(shares) for _ in question.answers], float)
        if count.sum() == 0:
            count[0] = 1
        out[part] = count / count.sum() if reach > 0 else np.nan
        for answer, value in zip(question.answers, out[part], strict=True):
            cumulative[answer.column] = reach * value if reach > 0 else 0.0
    return tree, out, np.array([cumulative[column] for column in tree.columns])


@given(conditionals())
def test_cumulative_equals_the_product_along_the_path(case):
    tree, conditional, cumulative = case
    np.testing.assert_allclose(votes.cumulative_from_conditional(conditional[None], tree)[0], cumulative, rtol=1e-12)


@given(conditionals())
def test_conditional_and_cumulative_undo_each_other(case):
    tree, conditional, cumulative = case
    np.testing.assert_allclose(votes.conditional_from_cumulative(cumulative, tree), conditional, rtol=1e-12)
    again = votes.cumulative_from_conditional(votes.conditional_from_cumulative(cumulative, tree), tree)
    np.testing.assert_allclose(again, cumulative, rtol=1e-12)


def test_a_question_nobody_reached_is_nan_not_zero(gz2):
    smooth = np.zeros(37)
    smooth[gz2.columns.index("Class1.1")] = 1
    smooth[gz2.columns.index("Class7.2")] = 1
    smooth[gz2.columns.index("Class6.2")] = 1
    conditional = votes.conditional_from_cumulative(smooth, gz2)
    bar = gz2.columns.index("Class3.1")
    assert np.isnan(conditional[[bar, bar + 1]]).all()
    assert conditional[gz2.columns.index("Class7.2")] == 1


@given(st.data())
def test_the_tree_layer_keeps_every_sum_whatever_the_network_says(data):
    tree = TREES[data.draw(st.sampled_from(sorted(TREES)))]
    shape = (data.draw(st.integers(1, 4)), len(tree.columns))
    logits = data.draw(arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32)))
    cumulative = votes.cumulative_from_conditional(votes.conditional_from_logits(logits, tree), tree)
    assert np.abs(votes.sum_violations(cumulative, tree)).max() < 1e-12
    assert (cumulative >= 0).all()
    assert (cumulative <= 1 + 1e-12).all()


def test_counts_become_shares_and_nobody_asked_is_nan(gz2):
    counts = np.zeros((1, 37))
    counts[0, :3] = [30, 9, 1]
    shares = votes.conditional_from_counts(counts, gz2)[0]
    assert shares[:3].tolist() == [0.75, 0.225, 0.025]
    assert np.isnan(shares[3:]).all()


def test_gz2_sums_are_the_eleven_of_the_challenge(gz2):
    # ΣQ2 = Class1.2 and so on, written out by hand.
    parents = [None, "1.2", "2.2", "2.2", "2.2", None, "1.1", "6.1", "2.1", "4.1", "4.1"]
    assert [q.parent for q in gz2.questions] == [p and f"Class{p}" for p in parents]


def test_a_sum_broken_on_purpose_is_found_with_its_offset(gz2):
    good = votes.cumulative_from_conditional(votes.conditional_from_logits(np.zeros((3, 37)), gz2), gz2)
    good[1, gz2.columns.index("Class8.6")] += 0.0625
    (broken,) = votes.broken_sums(good, gz2)
    assert (broken.row, broken.question, broken.parent) == (1, "odd_feature", "Class6.1")
    assert broken.off_by == pytest.approx(0.0625)


def test_unknown_columns_break_no_sum(gz2):
    assert votes.broken_sums(np.full((2, 37), np.nan), gz2) == []


def _row(gz2, **columns):
    row = np.zeros(37)
    for name, value in columns.items():
        row[gz2.columns.index(name.replace("c", "Class").replace("_", "."))] = value
    return row


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"c1_1": 0.469, "c7_1": 0.5, "c6_2": 0.5}, 0),
        ({"c1_1": 0.468, "c7_1": 0.5, "c6_2": 0.5}, -1),
        ({"c1_1": 0.9, "c7_2": 0.6, "c6_2": 0.9}, 1),
        ({"c1_1": 0.9, "c7_3": 0.6, "c6_2": 0.9}, 2),
        ({"c1_2": 0.43, "c2_1": 0.602, "c6_2": 0.5}, 3),
        ({"c1_2": 0.9, "c2_2": 0.8, "c3_1": 0.715, "c4_1": 0.619}, 4),
        ({"c1_2": 0.9, "c2_2": 0.8, "c3_2": 0.715, "c4_1": 0.619}, 5),
        ({"c6_1": 0.42, "c8_7": 0.5}, 6),
        ({"c6_1": 0.9, "c8_3": 0.3, "c8_4": 0.3}, -1),  # any one of them, not their sum
        ({"c6_1": 0.9, "c8_1": 0.9}, -1),  # a ring is not irregular
        ({"c1_1": 0.9, "c7_1": 0.6, "c6_2": 0.5, "c6_1": 0.5, "c8_6": 0.5}, 0),  # two fit: the first wins
        ({"c1_2": 0.9, "c2_2": 0.8, "c3_1": float("nan"), "c3_2": float("nan"), "c4_1": float("nan")}, -2),
        ({"c1_2": 0.9, "c2_2": 0.7, "c3_1": float("nan"), "c3_2": float("nan"), "c4_1": float("nan")}, -1),
        ({"c1_1": 0.9, "c7_1": 0.6, "c6_2": 0.9, "c3_1": float("nan")}, 0),
        ({"c6_1": 0.9, "c8_3": 0.1, "c8_4": float("nan")}, -2),
    ],
)
def test_the_seven_classes_at_their_thresholds(gz2, columns, expected):
    assert classify(_row(gz2, **columns)[None], gz2).tolist() == [expected]


@given(conditionals(), st.data())
def test_more_knowledge_never_changes_a_decided_class(case, data):
    tree, _, cumulative = case
    if not tree.classes:
        return
    blank = np.array(data.draw(st.lists(st.booleans(), min_size=len(cumulative), max_size=len(cumulative))))
    partial = np.where(blank, np.nan, cumulative)
    fits_full = class_fits(cumulative[None], tree)[0]
    fits_part = class_fits(partial[None], tree)[0]
    assert ((fits_part == -1) | (fits_part == fits_full)).all()
    part = classify(partial[None], tree)[0]
    if part == Status.UNCLASSIFIED:
        assert classify(cumulative[None], tree)[0] == Status.UNCLASSIFIED


def test_wrong_width_is_refused(gz2):
    with pytest.raises(ValueError, match="37 answers"):
        votes.sum_violations(np.zeros((2, 36)), gz2)
