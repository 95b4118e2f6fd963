"""The paper's split comes out on the full set; elsewhere tenths; twins stay together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")

from tuningfork.training.join import TrainError, _parts
from tuningfork.training.recipe import load_recipe
from tuningfork.training.split import split
from tuningfork.votes.clean_samples import classify
from tuningfork.votes.tree_files import load_tree

#: Kalvankar et al. 2020, table 2: galaxies of each class, and how many of them they test on.
PUBLISHED = ((8107, 810), (7782, 778), (578, 57), (3780, 378), (827, 82), (3307, 328), (1560, 156))
TRAINED = (7297, 7004, 521, 3402, 745, 2979, 1404)
ALL = 61_578
RECIPE = load_recipe("paper/classes")


def row_of(number, tree):
    """Complete votes that decide one class, or, for -1, none."""
    at = {column: i for i, column in enumerate(tree.columns)}
    row = np.zeros(len(tree.columns))
    if number >= 0:
        rule = tree.classes[number]
        for column, least in (*rule.all_of, *rule.any_of[:1]):
            row[at[column]] = least + 0.01
    return row


def table(counts, total):
    """Votes (total, 37) with so many galaxies of each class and the rest of none, shuffled; and their classes."""
    tree = load_tree("gz2")
    classes = np.repeat(np.arange(-1, len(counts)), [total - sum(counts), *counts])
    np.random.default_rng(1).shuffle(classes)
    rows = np.stack([row_of(number, tree) for number in range(-1, len(counts))])
    return rows[classes + 1], classes


@pytest.fixture(scope="module")
def full():
    return table([total for total, _ in PUBLISHED], ALL)


def counted(parts, classes, part):
    return tuple(int(((classes == c) & (parts == part)).sum()) for c in range(7))


def test_the_made_up_rows_have_their_class(full, gz2):
    cumulative, classes = full
    np.testing.assert_array_equal(classify(cumulative, gz2), classes)
    assert sum(total for total, _ in PUBLISHED) == 25_941 == (classes >= 0).sum()


@pytest.mark.parametrize(
    ("name", "seed"), [("paper/classes", 0), ("paper/votes-efficientnet-b4", 0), ("fair/classes-vgg-16", 7)]
)
def test_the_published_counts_come_out(full, gz2, name, seed):
    cumulative, classes = full
    recipe = load_recipe(name).changed(split_seed=seed)
    parts = _parts(cumulative, np.arange(ALL), gz2, recipe)
    assert counted(parts, classes, "test") == tuple(test for _, test in PUBLISHED)
    learned = np.array(counted(parts, classes, "train")) + counted(parts, classes, "validation")
    assert tuple(learned) == TRAINED
    assert counted(parts, classes, "validation") == tuple(round(0.09 * total) for total, _ in PUBLISHED)
    assert ((classes == -1) & (parts == "test")).sum() == round(0.1 * (classes == -1).sum())


def test_they_come_out_with_twins_of_one_class_and_of_two(full, gz2):
    cumulative, classes = full
    groups = np.arange(ALL)
    for number in range(-1, 7):
        here = np.flatnonzero(classes == number)
        groups[here[1:60:2]] = here[0:60:2]  # pairs
        groups[here[61]] = groups[here[62]] = here[60]  # and one of three
    rng = np.random.default_rng(0)
    mixed = [(rng.choice(np.flatnonzero(classes == a)[100:]), rng.choice(np.flatnonzero(classes == b)[100:]))
             for a in range(-1, 7) for b in range(-1, 7) if a != b]  # fmt: skip
    for one, other in mixed:
        if groups[one] == one and groups[other] == other:
            groups[max(one, other)] = min(one, other)
    parts = _parts(cumulative, groups, gz2, RECIPE)
    assert counted(parts, classes, "test") == tuple(test for _, test in PUBLISHED)
    for group in np.flatnonzero(np.bincount(groups, minlength=ALL) > 1):
        assert len(set(parts[groups == group])) == 1


def test_other_seeds_test_on_other_galaxies(gz2):
    cumulative, _ = table([900, 800, 60, 400, 83, 330, 155], 6000)
    tests = [
        set(np.flatnonzero(_parts(cumulative, np.arange(6000), gz2, RECIPE.changed(split_seed=seed)) == "test"))
        for seed in (0, 0, 1)
    ]
    assert tests[0] == tests[1]
    assert len(tests[0] & tests[2]) < 0.2 * len(tests[0])


def test_other_totals_are_split_by_tenths(gz2):
    counts = [811, 778, 58, 378, 83, 330, 155]
    cumulative, classes = table(counts, 6000)
    parts = _parts(cumulative, np.arange(6000), gz2, RECIPE)
    assert counted(parts, classes, "test") == tuple(round(0.1 * count) for count in counts)
    assert counted(parts, classes, "validation") == tuple(round(0.09 * count) for count in counts)


def test_one_total_met_is_kept_and_the_others_are_split_by_tenths(gz2):
    counts = [300, 200, 578, 100, 827, 50, 10]
    cumulative, classes = table(counts, 3000)
    parts = _parts(cumulative, np.arange(3000), gz2, RECIPE)
    assert counted(parts, classes, "test") == (30, 20, 57, 10, 82, 5, 1)


def test_incomplete_rows_are_not_of_the_published_set(gz2):
    """Blank columns are another stratum: the total is then another, though the class is decided."""
    cumulative, classes = table([0, 0, 578, 0, 0, 0, 0], 1000)
    cumulative[np.flatnonzero(classes == 2)[:100], -1] = np.nan
    parts = _parts(cumulative, np.arange(1000), gz2, RECIPE)
    assert counted(parts, classes, "test")[2] == round(47.8) + 10


def test_a_class_of_one_galaxy_and_one_of_none(gz2):
    cumulative, classes = table([40, 40, 1, 0, 2, 5, 3], 120)
    parts = _parts(cumulative, np.arange(120), gz2, RECIPE)
    assert (parts[classes == 2] == "train").all()
    assert set(parts) == {"train", "validation", "test"}


def test_too_few_galaxies_are_told(gz2):
    cumulative, _ = table([2, 1, 0, 0, 0, 0, 0], 4)
    with pytest.raises(TrainError, match="4 galaxies are too few: the validation part is empty"):
        _parts(cumulative, np.arange(4), gz2, RECIPE)


@settings(max_examples=100)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=150),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_groups_stay_whole_and_a_prescribed_number_is_never_passed(rows, seed, data):
    strata = [stratum for stratum, _ in rows]
    groups = np.array([[group for _, group in rows].index(group) for _, group in rows])
    wanted = data.draw(st.integers(0, strata.count(0)))
    parts = split(strata, groups, validation=0.1, test=0.2, seed=seed, tests=lambda s, n: wanted if s == "0" else None)
    for group in set(groups.tolist()):
        assert len(set(parts[groups == group])) == 1
    of_it = np.array(strata) == 0
    assert (of_it & (parts == "test")).sum() <= wanted
    if len(set(groups.tolist())) == len(groups) and wanted:
        assert (of_it & (parts == "test")).sum() == wanted
