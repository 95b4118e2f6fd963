"""The order of labelling: a permutation, diverse, weighted, decided by the seed, the same in bounded memory."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tuningfork._utils.sampling import Shortlist
from tuningfork.labelling.acquisition import (
    entropy,
    hellinger,
    k_centre,
    question_entropies,
    weighted_seeding,
)
from tuningfork.votes import fractions as votes
from tuningfork.votes.tree import DecisionTree

QUICK = settings(max_examples=50, derandomize=True)
RNG = np.random.default_rng(0)
points = st.integers(1, 25).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, (n, 3), elements=st.floats(-3, 3, width=32)),
        arrays(np.float64, n, elements=st.just(0.0) | st.floats(0.125, 5)),
    )
)


# ---------------------------------------------------------------- the order


@given(points, st.integers(0, 5), st.booleans())
@QUICK
def test_an_order_is_a_permutation_with_weight_nought_last(case, seed, with_centres) -> None:
    vectors, weights = case
    centres = np.zeros((2, 3)) if with_centres else None
    order = weighted_seeding(vectors, weights, len(vectors), centres=centres, seed=seed)
    assert sorted(order.rows.tolist()) == list(range(len(vectors)))
    weightless = weights[order.rows] == 0
    assert not np.any(weightless[:-1] & ~weightless[1:])
    assert (order.distances >= 0).all()
    assert np.isinf(order.distances).sum() == (0 if with_centres else 1)


@given(points, st.integers(1, 10))
@QUICK
def test_a_shorter_order_is_the_beginning_of_a_longer_one(case, count) -> None:
    vectors, weights = case
    long = weighted_seeding(vectors, weights, len(vectors), seed=3)
    short = weighted_seeding(vectors, weights, count, seed=3)
    assert short.rows.tolist() == long.rows[:count].tolist()
    farthest = k_centre(vectors, len(vectors))
    assert sorted(farthest.rows.tolist()) == list(range(len(vectors)))
    assert k_centre(vectors, count).rows.tolist() == farthest.rows[:count].tolist()


def test_the_seed_decides() -> None:
    vectors, weights = RNG.normal(size=(200, 5)), RNG.random(200)
    one, again, other = (weighted_seeding(vectors, weights, 50, seed=s).rows.tolist() for s in (1, 1, 2))
    assert one == again
    assert one != other


@pytest.mark.parametrize("order", [lambda v: weighted_seeding(v, np.ones(len(v)), 10), lambda v: k_centre(v, 10)])
def test_copies_of_one_galaxy_are_spread_out(order) -> None:
    vectors = np.concatenate([np.full((500, 4), 2.0), np.eye(4).repeat(2, 0) + 5])
    chosen = vectors[order(vectors).rows]
    # Five places, so each comes once before any comes twice.
    assert len(np.unique(chosen[:5], axis=0)) == 5


def test_what_is_labelled_is_not_asked_again() -> None:
    vectors = np.concatenate([np.zeros((100, 2)), np.ones((3, 2))])
    order = weighted_seeding(vectors, np.ones(103), 2, centres=np.zeros((1, 2)))
    assert order.rows[0] >= 100
    assert order.distances[0] == pytest.approx(math.sqrt(2))
    assert order.scores[0] == pytest.approx(2)
    assert order.distances[1] == 0


def test_a_weight_draws_in_its_proportion() -> None:
    vectors = np.array([[0.0], [1.0], [2.0]])
    first = [weighted_seeding(vectors, [1, 3, 0], 1, seed=s).rows[0] for s in range(2000)]
    assert np.bincount(first, minlength=3) / 2000 == pytest.approx([0.25, 0.75, 0], abs=0.04)
    # From a centre at 0 the squared distances are 1 and 4.
    second = [weighted_seeding(vectors[1:], [4, 1], 1, centres=[[0.0]], seed=s).rows[0] for s in range(2000)]
    assert np.mean(second) == pytest.approx(0.5, abs=0.04)


@given(points)
@QUICK
def test_distances_are_those_of_a_plain_loop(case) -> None:
    vectors, weights = case
    centres = RNG.normal(size=(5, 3))
    order = weighted_seeding(vectors, weights, len(vectors), centres=centres)
    before = list(centres)
    for row, distance in zip(order.rows, order.distances, strict=True):
        assert distance == pytest.approx(min(math.dist(vectors[row], other) for other in before), abs=1e-3)
        before.append(vectors[row])


def test_k_centre_covers_within_twice_the_best_radius() -> None:
    vectors = RNG.normal(size=(14, 2))

    def radius(rows) -> float:
        return max(min(math.dist(point, vectors[row]) for row in rows) for point in vectors)

    best = min(radius(rows) for rows in itertools.combinations(range(14), 3))
    assert radius(k_centre(vectors, 3).rows) <= 2 * best + 1e-12


def test_bad_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="negative or not finite"):
        weighted_seeding(np.zeros((2, 1)), [1, -1], 1)
    with pytest.raises(ValueError, match="negative or not finite"):
        weighted_seeding(np.zeros((2, 1)), [1, math.nan], 1)
    with pytest.raises(ValueError, match="do not belong together"):
        weighted_seeding(np.zeros((2, 1)), [1], 1)


def test_nothing_gives_an_empty_order() -> None:
    assert len(weighted_seeding(np.empty((0, 3)), np.empty(0), 5).rows) == 0
    assert len(k_centre(np.empty((0, 3)), 5).rows) == 0


# ---------------------------------------------------------------- bounded memory


def test_a_stream_that_fits_is_kept_as_it_is() -> None:
    weights, vectors = RNG.random(100), RNG.normal(size=(100, 4))
    shortlist = Shortlist(100)
    for start in range(0, 100, 7):
        shortlist.add(weights[start : start + 7], vectors[start : start + 7])
    kept, (rows,) = shortlist.finish()
    plain = weighted_seeding(vectors, weights, 30, seed=4)
    assert weighted_seeding(rows, kept, 30, seed=4).rows.tolist() == plain.rows.tolist()


def test_blocks_do_not_matter() -> None:
    weights = RNG.random(1000)
    found = []
    for block in (1, 64, 1000):
        shortlist = Shortlist(50, seed=2)
        for start in range(0, 1000, block):
            shortlist.add(weights[start : start + block], np.arange(start, min(start + block, 1000)))
        found.append(shortlist.finish())
    for kept, (rows,) in found[1:]:
        assert rows.tolist() == found[0][1][0].tolist()
        assert kept == pytest.approx(found[0][0])
    assert shortlist.total == 1000


def test_a_shortlist_stands_for_the_stream() -> None:
    # The corrected weights are an unbiased estimate of any sum of weights, here of the even rows.
    weights = np.where(np.arange(400) % 4 == 0, 10.0, 0.5)
    sums = []
    for seed in range(300):
        shortlist = Shortlist(80, seed=seed)
        shortlist.add(weights, np.arange(400))
        kept, (rows,) = shortlist.finish()
        assert len(kept) == 80
        sums.append(kept[rows % 2 == 0].sum())
    assert np.mean(sums) == pytest.approx(weights[::2].sum(), rel=0.03)


def test_weight_nought_does_not_push_others_out() -> None:
    shortlist = Shortlist(10)
    shortlist.add(np.r_[np.zeros(500), np.ones(10)], np.arange(510))
    assert shortlist.finish()[1][0].tolist() == list(range(500, 510))


def test_memory_does_not_grow_with_the_stream() -> None:
    def peak(blocks: int) -> int:
        tracemalloc.start()
        shortlist = Shortlist(1000)
        for _ in range(blocks):
            shortlist.add(np.ones(1000), np.zeros((1000, 16), np.float32))
        shortlist.finish()
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(100) < 1.5 * peak(10)


# ---------------------------------------------------------------- uncertainty and distance


def test_the_entropy_of_votes_is_that_of_all_ways_down_the_tree(gz2: DecisionTree) -> None:
    cumulative = votes.cumulative_from_logits(RNG.normal(size=(5, 37)), gz2)
    conditional = votes.conditional_from_cumulative(cumulative, gz2)

    def way(row: int, key: str | None) -> float:
        # A volunteer answers a question, and is led to the next by the answer. "Anything odd?" is asked of
        # everyone in the end; in this table, as if it was asked apart.
        if key in (None, "odd"):
            return 0.0
        number = [question.key for question in gz2.questions].index(key)
        told = zip(conditional[row, gz2.slices[number]], gz2.questions[number].answers, strict=True)
        return sum(share * (way(row, answer.next) - math.log(share)) for share, answer in told)

    told = question_entropies(cumulative, gz2)
    apart = np.array([question.key in ("odd", "odd_feature") for question in gz2.questions])
    for row in range(5):
        assert told[row, ~apart].sum() == pytest.approx(way(row, "smooth_or_features"))
        yes = cumulative[row, gz2.columns.index("Class6.1")]
        each = conditional[row, gz2.slices[[q.key for q in gz2.questions].index("odd_feature")]]
        assert told[row, apart].sum() == pytest.approx(entropy([yes, 1 - yes]) + yes * entropy(each))


def test_certain_votes_have_no_entropy_and_unknown_ones_none_that_is_known(gz2: DecisionTree) -> None:
    certain = votes.cumulative_from_conditional(np.tile([1.0] + [0.0] * 36, (1, 1)), gz2)
    certain[:, [13, 14]] = [0, 1]
    certain[0, gz2.slices[6]] = [1, 0, 0]
    assert question_entropies(certain, gz2).sum() == pytest.approx(0)
    certain[0, 0] = math.nan
    assert np.isnan(question_entropies(certain, gz2)[0, 0])
    assert entropy([0.5, 0.5]) == pytest.approx(math.log(2))


@given(arrays(np.float64, (2, 6), elements=st.floats(0, 1)).filter(lambda a: (a.sum(1) > 0.1).all()))
@QUICK
def test_the_distance_is_hellingers(values) -> None:
    p, q = values / values.sum(1, keepdims=True)
    a, b = hellinger(p), hellinger(q)
    affinity = sum(math.sqrt(x * y) for x, y in zip(p, q, strict=True))
    assert math.dist(a, b) ** 2 / 2 == pytest.approx(1 - affinity, abs=1e-6)
