"""Raw, weighted and debiased fractions are told apart, and never mixed unsaid."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tuningfork.evaluation.evaluate import evaluate
from tuningfork.evaluation.prediction_table import predictions_from_table
from tuningfork.labelling.records import AnswerRecord
from tuningfork.labelling.tally import tally, votes_table
from tuningfork.model.bundle import builtin_models, open_bundle
from tuningfork.tables import write_table
from tuningfork.tables.columns import about_table
from tuningfork.votes.label_table import TOTAL, labels_from_table, read_labels
from tuningfork.votes.tree import DecisionTree, SchemaError
from tuningfork.votes.tree_files import builtin_trees, load_tree
from tuningfork.votes.values_kind import KINDS, UNKNOWN, common_kind, kind_conflict
from tuningfork.votes.vote_table import VoteTable

GZ1 = load_tree("gz1")


def votes_of(tree: DecisionTree, n: int = 4, seed: int = 0, **more: list) -> pa.Table:
    """A table of conditional fractions of any tree of fractions, with further columns."""
    from tuningfork.votes.fractions import conditional_from_logits, cumulative_from_conditional

    values = conditional_from_logits(np.random.default_rng(seed).normal(size=(n, len(tree.columns))), tree)
    if tree.values == "cumulative":
        values = cumulative_from_conditional(values, tree)
    return pa.table({
        tree.id_columns[0]: [f"g{i}" for i in range(n)],
        **{column: values[:, i] for i, column in enumerate(tree.columns)},
        **more,
    })  # fmt: skip


def test_every_tree_of_the_package_says_what_its_columns_are_and_who_says_so() -> None:
    for name in builtin_trees():
        tree = load_tree(name)
        assert tree.values_kind in KINDS, name
        assert tree.values_kind == UNKNOWN or tree.values_kind_source, name
        assert DecisionTree.from_dict(tree.to_dict()).values_kind == tree.values_kind
    assert load_tree("gz2").values_kind == "debiased"
    assert [load_tree(f"gz2_catalogue{end}").values_kind for end in ("", "_weighted", "_debiased")] == [
        "raw", "weighted", "debiased"
    ]  # fmt: skip


def test_an_unknown_kind_of_a_tree_is_refused() -> None:
    with pytest.raises(SchemaError, match="values_kind must be one of raw, weighted"):
        GZ1.with_kind("cooked")


def test_trees_that_differ_in_the_kind_only_are_equal_and_written_as_before() -> None:
    plain = GZ1.with_kind(UNKNOWN)
    assert plain == GZ1
    assert "values_kind" not in plain.to_dict()


@pytest.mark.parametrize("end", ["csv", "parquet", "fits", "vot", "ecsv"])
def test_a_table_of_any_format_keeps_the_kind(tmp_path: Path, end: str) -> None:
    about = {"values_kind": "weighted", "values_kind_source": "somebody 2020"}
    write_table(tmp_path / f"labels.{end}", votes_of(GZ1).replace_schema_metadata(about))
    tree = read_labels(tmp_path / f"labels.{end}", GZ1).tree
    assert (tree.values_kind, tree.values_kind_source) == ("weighted", "somebody 2020")
    assert read_labels(tmp_path / f"labels.{end}", GZ1, values_kind="debiased").tree.values_kind == "debiased"


def test_what_the_user_says_goes_before_what_a_column_suggests(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    write_table(path, votes_of(GZ1, **{TOTAL: [40, 41, 42, 43]}))
    assert read_labels(path, GZ1).tree.values_kind == "raw"
    assert read_labels(path, GZ1, values_kind="debiased").tree.values_kind == "debiased"


def test_a_table_without_a_word_has_its_trees_kind() -> None:
    assert labels_from_table(votes_of(GZ1), GZ1, "labels.csv").votes.values_kind == "raw"


def test_tables_of_different_kinds_cannot_be_one() -> None:
    one = labels_from_table(votes_of(GZ1), GZ1, "a.csv").votes
    other = labels_from_table(votes_of(GZ1), GZ1.with_kind("debiased"), "b.csv").votes
    with pytest.raises(ValueError, match="debiased and raw, cannot be one table"):
        VoteTable.concatenated([one, other])
    unknown = labels_from_table(votes_of(GZ1), GZ1.with_kind(UNKNOWN), "c.csv").votes
    assert VoteTable.concatenated([one, unknown]).values_kind == UNKNOWN
    assert VoteTable.concatenated([one, one]).values_kind == "raw"


def test_kinds_conflict_only_if_both_are_known() -> None:
    for first in KINDS:
        for second in KINDS:
            found = kind_conflict("A", first, "B", second)
            assert bool(found) == (first != second and UNKNOWN not in (first, second))
    assert common_kind(["raw"]) == "raw"
    assert common_kind([]) == UNKNOWN


def test_counts_follow_from_fractions_and_volunteers_unless_debiased() -> None:
    tree = load_tree("gz2_catalogue_weighted")
    table = votes_of(tree, total_classifications=[40, 41, 42, 43])
    counted = labels_from_table(table, tree, "h16.csv").votes
    assert counted.counts is not None
    first = tree.slices[0]
    np.testing.assert_allclose(counted.counts[:, first].sum(1), [40, 41, 42, 43])
    np.testing.assert_allclose(counted.counts, counted.fractions * np.array([[40], [41], [42], [43]]))
    assert labels_from_table(table, tree.with_kind("debiased"), "h16.csv").votes.counts is None
    assert labels_from_table(votes_of(tree), tree, "h16.csv").votes.counts is None
    np.testing.assert_array_equal(counted.select([2]).counts, counted.counts[[2]])


def test_a_bad_number_of_volunteers_is_an_error_of_its_row() -> None:
    tree = load_tree("gz2_catalogue_weighted")
    table = labels_from_table(votes_of(tree, total_classifications=["40", "many", "-1", "43"]), tree, "h16.csv")
    assert table.ids == ("g0", "g3")
    assert [(error.row, error.column) for error in table.errors] == [
        (2, "total_classifications"), (3, "total_classifications")
    ]  # fmt: skip


def test_an_export_of_our_own_labels_is_raw_and_can_be_counted() -> None:
    tree = load_tree("gz2")
    answers = [
        AnswerRecord(galaxy, person, "smooth_or_features", "star_or_artifact", "", "", True, "")
        for galaxy, people in (("g0", 3), ("g1", 5))
        for person in map(str, range(people))
    ]
    table, _ = votes_table(tally(answers, tree), tree)
    assert about_table(table.schema)["values_kind"] == "raw"
    assert table[TOTAL].to_pylist() == [3, 5]
    for stripped in (table, table.replace_schema_metadata(None)):  # as a download without its metadata
        labels = labels_from_table(stripped, tree, "labels.csv")
        assert labels.votes.values_kind == "raw"
        assert labels.extra_columns == ()
        np.testing.assert_array_equal(labels.votes.counts[:, 2], [3, 5])


@pytest.mark.parametrize("name", builtin_models())
def test_the_shipped_models_learned_debiased_fractions_and_say_so(name: str) -> None:
    bundle = open_bundle(name)
    assert bundle.target.values_kind == "debiased"
    assert bundle.target == bundle.tree


def test_an_evaluation_with_labels_of_another_kind_says_so(caplog: pytest.LogCaptureFixture) -> None:
    tree = GZ1
    predicted = votes_of(tree).replace_schema_metadata({"values_kind": "debiased"})
    table = predictions_from_table(predicted, tree, "votes.parquet")
    labels = labels_from_table(votes_of(tree, seed=1), tree, "labels.csv")
    with caplog.at_level(logging.WARNING, "tuningfork"):
        report = evaluate(table, labels, resamples=10).report
    assert report["values_kind"] == {"predictions": "debiased", "labels": "raw"}
    assert "votes.parquet has debiased vote fractions, labels.csv has raw ones" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "tuningfork"):
        evaluate(
            table,
            labels_from_table(votes_of(tree), tree.with_kind("debiased"), "labels.csv"),
            resamples=10,
            exclude=None,
        )
    assert not caplog.records
