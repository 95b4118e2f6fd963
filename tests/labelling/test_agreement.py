"""Agreement between people: published examples, an independent count of pairs, what is not defined."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tuningfork.labelling.agreement import agreement, alpha, raw_agreement
from tuningfork.votes.tree_files import load_tree

COUNTS = arrays(np.int64, st.tuples(st.integers(1, 8), st.integers(2, 4)), elements=st.integers(0, 4))


def counts_of(*raters):
    """Counts (units, categories) of texts with one letter a unit, `.` missing."""
    letters = sorted(set("".join(raters)) - {"."})
    return np.array([[unit.count(letter) for letter in letters] for unit in map("".join, zip(*raters, strict=True))])


def alpha_by_pairs(counts):
    """1 − Do / De, each pair of values looked at by itself (Krippendorff 2011, from the definition)."""
    units = [[c for c, n in enumerate(row) for _ in range(n)] for row in counts if row.sum() >= 2]
    values = list(itertools.chain(*units))
    observed = sum(sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units) / len(
        values
    )
    differ = sum(a != b for a, b in itertools.permutations(values, 2))
    return 1 - observed / (differ / (len(values) * (len(values) - 1)))


@pytest.mark.parametrize(
    ("raters", "published"),
    [
        (("0100000010", "1110010000"), 0.095),
        (("aabbdcccedda", "babbbccceddd"), 0.692),
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.743),
    ],
)
def test_examples_as_published(raters, published):
    """Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections A, B and C."""
    assert alpha(counts_of(*raters)) == pytest.approx(published, abs=5e-4)


@given(COUNTS)
def test_alpha_is_that_of_the_definition(counts):
    several = counts[counts.sum(1) >= 2]
    if (several.sum(0) > 0).sum() < 2:
        assert math.isnan(alpha(counts))
    else:
        assert alpha(counts) == pytest.approx(alpha_by_pairs(several))


@given(COUNTS)
def test_raw_agreement_is_the_share_of_like_pairs(counts):
    several = counts[counts.sum(1) >= 2]
    found = raw_agreement(counts)
    if not len(several):
        assert math.isnan(found)
        return
    shares = [(row * (row - 1)).sum() / (row.sum() * (row.sum() - 1)) for row in several]
    assert found == pytest.approx(np.average(shares, weights=several.sum(1)))


@given(COUNTS, st.integers(0, 10))
def test_order_and_single_answers_do_not_matter(counts, seed):
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(rng.permutation(counts, axis=0), axis=1)
    alone = np.eye(counts.shape[1], dtype=np.int64)
    assert alpha(np.concatenate([shuffled, alone])) == pytest.approx(alpha(counts), nan_ok=True)


def test_chance_gives_none_and_full_agreement_one():
    rng = np.random.default_rng(1)
    by_chance = rng.multinomial(2, [0.5, 0.3, 0.2], size=20_000)
    assert abs(alpha(by_chance)) < 0.02
    assert alpha(3 * np.eye(3)) == 1
    assert raw_agreement(3 * np.eye(3)) == 1
    assert alpha([[1, 1]] * 50) < 0


def test_each_question_has_its_own_galaxies():
    tree = load_tree("gz2")
    counts = np.zeros((3, len(tree.columns)))
    counts[0, :2] = 1  # two people: smooth, features
    counts[1, 0], counts[1, tree.columns.index("Class7.1")] = 2, 2
    counts[2, 0] = 1  # one person alone
    first, *_, rounded = (row for row in agreement(counts, tree) if row.question in ("smooth_or_features", "rounded"))
    assert (first.galaxies, first.answers, first.raw) == (2, 4, 0.5)
    assert (rounded.galaxies, rounded.raw) == (1, 1)
    assert math.isnan(rounded.alpha)
