"""Tables with the columns of each campaign's catalogue are read: made-up votes that walk down each tree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from tuningfork.tables import write_table
from tuningfork.votes.clean_samples import Status
from tuningfork.votes.fractions import SUM_TOLERANCE, broken_sums, conditional_from_counts
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.tree_files import builtin_trees, load_tree

VOLUNTEERS = 30
#: The questions of a campaign that each tree is of: a table of counts has the same as one of fractions.
SIZES = {"gz1": (1, 6), "gz2": (11, 37), "gz_decals": (10, 34), "gz_desi": (10, 34), "gz_hubble": (18, 57),
         "gz_candels": (17, 50), "gz_euclid": (13, 46)}  # fmt: skip


def walked(tree: DecisionTree, n: int, seed: int) -> NDArray[np.int64]:
    """Votes (n, A) of volunteers who are asked only what their answers lead to."""
    rng = np.random.default_rng(seed)
    reached = {answer.next for question in tree.questions for answer in question.answers}
    starts = [question.key for question in tree.questions if question.key not in reached]
    counts = np.zeros((n, len(tree.columns)), np.int64)
    place = {column: i for i, column in enumerate(tree.columns)}
    for row in range(n):
        for _ in range(VOLUNTEERS):
            pending = list(starts)
            while pending:
                answers = tree.question(pending.pop()).answers
                chosen = answers[rng.integers(len(answers))]
                counts[row, place[chosen.column]] += 1
                if chosen.next:
                    pending.append(chosen.next)
    return counts


def catalogue(tree: DecisionTree, counts: NDArray[np.int64]) -> pa.Table:
    """The table that a campaign would publish of these votes, blank where nobody was asked."""
    if tree.values == "counts":
        values = counts.astype(float)
    else:
        values = conditional_from_counts(counts, tree)
        if tree.values == "cumulative":
            values = np.nan_to_num(counts / VOLUNTEERS)
    columns = {column: pa.array(values[:, i], mask=np.isnan(values[:, i])) for i, column in enumerate(tree.columns)}
    ids = {tree.id_columns[0]: [f"g{i}" for i in range(len(counts))]}
    totals = {tree.total_column: [VOLUNTEERS] * len(counts)} if tree.total_column else {}
    return pa.table({**ids, "ra": [1.0] * len(counts), **columns, **totals})


@pytest.mark.parametrize("name", builtin_trees())
def test_a_table_of_each_campaign_is_read(tmp_path: Path, name: str) -> None:
    tree = load_tree(name)
    counts = walked(tree, 8, seed=1)
    write_table(tmp_path / "labels.csv", catalogue(tree, counts))
    labels = read_labels(tmp_path / "labels.csv", name)
    assert not labels.errors
    assert labels.ids == tuple(f"g{i}" for i in range(8))
    assert "ra" in labels.extra_columns
    assert labels.votes.values_kind == tree.values_kind
    # Shares of those asked come back; where nobody was asked, the reach is 0 or the share unknown.
    asked = conditional_from_counts(counts, tree)
    known = ~np.isnan(asked) & ~np.isnan(labels.votes.conditional)
    np.testing.assert_allclose(labels.votes.conditional[known], asked[known], atol=1e-9)
    first = tree.slices[0]
    np.testing.assert_allclose(labels.votes.fractions[:, first], counts[:, first] / VOLUNTEERS, atol=1e-9)
    if tree.name != "gz2":  # whose challenge renormalised the odd question
        assert broken_sums(labels.votes.fractions, tree, SUM_TOLERANCE) == []
    if not tree.classes:
        assert (labels.votes.classes == Status.UNCLASSIFIED).all()
    countable = tree.values == "counts" or (tree.total_column and tree.values_kind in ("raw", "weighted"))
    assert (labels.votes.counts is not None) == bool(countable)


def test_the_trees_have_the_sizes_of_their_campaigns() -> None:
    for name, size in SIZES.items():
        for variant in (
            each for each in builtin_trees() if each == name or each.startswith((f"{name}_c", f"{name}_w"))
        ):
            tree = load_tree(variant)
            assert (len(tree.questions), len(tree.columns)) == size, variant


def test_a_table_of_counts_and_its_fractions_have_one_tree() -> None:
    for name in builtin_trees():
        if name.endswith("_counts"):
            counts, fractions = load_tree(name), load_tree(name.removesuffix("_counts"))
            assert counts.fraction_names == fractions.fraction_names
            assert counts.parents == fractions.parents


def test_what_a_tree_asks_follows_from_its_answers() -> None:
    """A question below another is asked of those who gave some answer that leads there, at once or later."""
    for name in builtin_trees():
        tree = load_tree(name)
        owner = {answer.column: question.key for question in tree.questions for answer in question.answers}
        for question in tree.questions:
            if question.parent is None:
                continue
            pending, below = [owner[question.parent]], Counter[str]()
            start = next(a for a in tree.question(pending[0]).answers if a.column == question.parent)
            pending = [start.next] if start.next else []
            while pending:
                key = pending.pop()
                if not below[key]:
                    pending += [answer.next for answer in tree.question(key).answers if answer.next]
                below[key] += 1
            assert question.key in below, f"{name}: {question.key} is not asked after {question.parent}"
