"""A user's own classes: from a table of labels, from folders, as a tree that everything else understands."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.tables import CatalogError
from tuningfork.votes import fractions as votes
from tuningfork.votes.class_labels import MAX_CLASSES, class_tree, read_tree, tree_of_labels, write_folder_labels
from tuningfork.votes.clean_samples import class_fits, classify
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree import DecisionTree, SchemaError
from tuningfork.votes.tree_files import load_tree


def table(path, rows, header=("id", "label")):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


ROWS = [("a", "spiral"), ("b", "smooth"), ("c", "spiral"), ("d", "edge on")]


@pytest.fixture
def labels(tmp_path):
    return table(tmp_path / "my.csv", ROWS)


def test_words_for_nothing_are_no_classes(tmp_path):
    rows = [("a", "spiral"), ("b", "NA"), ("c", "none"), ("d", "nan"), ("e", "<NA>"), ("f", "3.0"), ("g", "3")]
    read = read_labels(table(tmp_path / "t.csv", rows))
    assert (read.tree.columns, read.ids) == (("3", "none", "spiral"), ("a", "c", "f", "g"))
    pa.parquet.write_table(pa.table({"id": [1, 2], "label": [b"spiral", b"smooth"]}), tmp_path / "t.parquet")
    assert read_labels(tmp_path / "t.parquet").tree.columns == ("smooth", "spiral")


# ------------------------------------------------------------------ the tree


def test_labels_become_one_question_whose_answers_are_the_classes(labels):
    tree = read_tree(labels, "gz2")
    assert tree.columns == ("edge on", "smooth", "spiral")  # sorted
    assert tree.fraction_names == ("label_edge_on_fraction", "label_smooth_fraction", "label_spiral_fraction")
    assert [rule.name for rule in tree.classes] == list(tree.columns)
    read = read_labels(labels, tree)
    assert read.ids == ("a", "b", "c", "d")
    np.testing.assert_array_equal(read.values, [[0, 0, 1], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert not read.errors
    assert not read.extra_columns
    np.testing.assert_array_equal(classify(votes.cumulative_from(read.values, tree), tree), [2, 1, 2, 0])


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40).filter(lambda found: len(set(found)) > 1), st.booleans())
def test_every_label_comes_back_as_its_class(tmp_path_factory, found, as_numbers):
    """Also where a label is a number, and the table is not text."""
    names = found if as_numbers else [f"kind {n}" for n in found]
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    pa.parquet.write_table(pa.table({"id": list(map(str, range(len(found)))), "label": names}), path)
    tree = read_tree(path, "gz2")
    classes = classify(read_labels(path, tree).values, tree)
    assert [tree.columns[c] for c in classes] == list(map(str, names))
    assert sum(class_fits(read_labels(path, tree).values, tree).ravel() == 1) == len(found)


def test_whole_numbers_are_in_their_own_order(tmp_path):
    assert read_tree(table(tmp_path / "n.csv", enumerate([10, 9, 2, 10])), "gz2").columns == ("2", "9", "10")
    assert read_tree(table(tmp_path / "n.csv", enumerate([10, 9, "x"])), "gz2").columns == ("10", "9", "x")


def test_a_tree_of_classes_survives_its_plain_form():
    tree = class_tree(["a", "b c", "ü"])
    assert DecisionTree.from_dict(tree.to_dict()) == tree


def test_classes_that_no_column_can_tell_apart_are_refused(tmp_path):
    with pytest.raises(SchemaError, match="appears twice"):
        read_tree(table(tmp_path / "t.csv", [("a", "x y"), ("b", "x-y")]), "gz2")


def test_votes_stay_votes(tmp_path):
    """With any of the tree's columns a column `label` is one more that is ignored, but none to learn beside them."""
    tree = load_tree("gz1")
    path = table(tmp_path / "t.csv", [("1", "x", 1)], ("GalaxyID", "label", tree.columns[0]))
    assert read_tree(path, "gz1") == tree
    with pytest.raises(CatalogError, match=r"t\.csv: has both votes .* and a column 'label'; which should be learned"):
        read_labels(path, "gz1", learning=True)
    assert tree_of_labels(pa.table({"GalaxyID": ["1"], "other": [0.5]}), "gz1", "u.csv", learning=True) == tree


def test_a_model_brings_its_classes_to_a_table_that_lacks_some(tmp_path, labels):
    tree = class_tree(["edge on", "smooth", "spiral"])
    few = table(tmp_path / "few.csv", [("a", "spiral"), ("b", "spiral"), ("c", "ring")])
    assert read_tree(few, "gz2").columns == ("ring", "spiral")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/bundle.json").write_text(__import__("json").dumps({"tree": tree.to_dict()}))
    assert read_tree(few, tmp_path / "bundle") == tree
    read = read_labels(few, tree)
    assert read.ids == ("a", "b")
    assert "'ring' is none of edge on, smooth, spiral" in str(read.errors[0])
    (tmp_path / "bundle/bundle.json").write_text("[]")
    with pytest.raises(SchemaError, match="holds no tree"):
        load_tree(tmp_path / "bundle")


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("a", "x"), ("b", "x")], "every label is 'x'; at least two classes"),
        ([("a", ""), ("b", " ")], "every cell of column 'label' is empty"),
        ([], "every cell of column 'label' is empty"),
        ([(n, n) for n in range(MAX_CLASSES + 1)], "101 different labels"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, rows, told):
    with pytest.raises(CatalogError, match=rf"t\.csv: {told}"):
        read_tree(table(tmp_path / "t.csv", rows), "gz2")


def test_a_table_without_labels_says_so(tmp_path):
    with pytest.raises(CatalogError, match="column 'label' is missing"):
        read_tree(table(tmp_path / "t.csv", [("a", "x")], ("id", "kind")), "labels")


def test_contradictory_and_empty_labels_are_left_out_by_name(tmp_path):
    rows = [*ROWS, ("c", "smooth"), ("e", ""), ("b", "smooth"), ("d", ""), ("", "spiral")]
    path = table(tmp_path / "t.csv", rows)
    read = read_labels(path, read_tree(path, "gz2"))
    assert read.ids == ("a", "b", "d")
    told = {(error.row, error.id): error.reason for error in read.errors}
    assert set(told) == {(3, "c"), (5, "c"), (6, "e"), (7, "b"), (8, "d"), (9, "")}
    assert "contradictory labels smooth and spiral; all rows of this ID are left out" in told[3, "c"]
    assert told[3, "c"] == told[5, "c"]
    assert "label is empty" in told[6, "e"]
    assert "came before, in row 2" in told[7, "b"]


# ------------------------------------------------------------------ folders


def test_a_folder_for_each_class(tmp_path):
    for name in ("round/1.jpg", "round/deep/2.png", "flat/3.webp", "flat/1.jpg", "4.jpg", "flat/note.txt"):
        (tmp_path / "D" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "D" / name).write_bytes(b"x")
    path = tmp_path / "labels.csv"
    write_folder_labels([tmp_path / "D"], path)
    assert path.read_text().splitlines() == ["id,label", "1,flat", "3,flat", "1,round", "2,round"]
    read = read_labels(path, read_tree(path, "gz2"))
    assert read.ids == ("3", "2")
    assert all("contradictory labels flat and round" in error.reason for error in read.errors)
    with pytest.raises(CatalogError, match="no sub-folders of images"):
        write_folder_labels([tmp_path / "D/flat"], path)


# ------------------------------------------------------------------ commands


def test_lint_classes_and_evaluate_understand_them(tmp_path, labels):
    run = CliRunner().invoke
    result = run(app, ["lint", str(labels)])
    assert result.exit_code == 0, result.output
    assert "4 rows, 4 complete" in result.output
    result = run(app, ["classes", str(labels), "--json"])
    assert '"edge on": 1' in result.output
    assert '"spiral": 2' in result.output
    result = run(app, ["lint", str(table(tmp_path / "bad.csv", [*ROWS, ("a", "smooth")]))])
    assert result.exit_code == 3
    assert "(a): contradictory labels" in result.output
