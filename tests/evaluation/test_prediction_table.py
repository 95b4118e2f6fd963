"""Tables of predictions read back: the class, none, and what an earlier version meant by it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

import tuningfork
from tuningfork.evaluation.evaluate import evaluate
from tuningfork.evaluation.prediction_table import predictions_from_table
from tuningfork.simulation import draw, render
from tuningfork.tables import CatalogError
from tuningfork.votes.label_table import LabelTable


@pytest.fixture(scope="module")
def rows():
    return tuningfork.load("fast").predict([*(render(draw(5, index)) for index in range(8)), b"no image"])


def test_the_class_and_none_come_back(rows):
    table = predictions_from_table(rows.to_table(), rows.tree, "votes.parquet")
    assert table.classes.tolist() == rows.class_index.tolist()
    assert 7 in table.classes.tolist()
    assert table.classes[-1] == -1
    np.testing.assert_allclose(table.no_class_probability, rows.no_class_probability, atol=1e-7)
    np.testing.assert_allclose(table.probability, rows.class_probability, atol=1e-7)


def test_a_table_of_an_earlier_version_is_refused_with_the_remedy(rows):
    new = rows.to_table()
    old = new.drop_columns(["no_class_probability", "clean_class", "nearest_class", "description"])
    old = old.append_column("clean", pa.array([True] * len(rows)))
    with pytest.raises(CatalogError, match=r"votes\.csv: written by an earlier version.*predict again, or drop class"):
        predictions_from_table(old, rows.tree, "votes.csv")
    dropped = [name for name in old.column_names if name.startswith("class") or name == "clean"]
    votes = predictions_from_table(old.drop_columns(dropped), rows.tree, "votes.csv")
    assert votes.classes is None
    np.testing.assert_allclose(votes.votes.fractions[:-1], rows.cumulative[:-1], atol=1e-6)


def test_a_column_of_classes_alone_is_taken_as_it_is(rows):
    table = rows.to_table().select(["id", *rows.tree.fraction_names])
    table = table.append_column("class", pa.array([0, 1, 2, 3, 4, 5, 6, None, None], pa.int8()))
    assert predictions_from_table(table, rows.tree, "own.csv").classes.tolist() == [0, 1, 2, 3, 4, 5, 6, -1, -1]


def test_a_blank_prediction_is_reported_by_its_row_in_the_file(rows):
    """Rows that cannot be used come before it, so its place among the usable ones is another."""
    table = rows.to_table().to_pylist()
    table[1]["id"] = table[0]["id"]  # a repeated ID
    for name in rows.tree.fraction_names:
        table[4][name] = None
    table[5]["class"] = table[5]["no_class_probability"] = None
    predicted = predictions_from_table(pa.Table.from_pylist(table, rows.to_table().schema), rows.tree, "votes.csv")
    votes = rows.votes.select(range(8))
    errors = evaluate(predicted, LabelTable("labels.csv", votes, votes.fractions), resamples=10).errors
    reported = {(error.row, error.id, error.column) for error in errors}
    assert {(5, rows.ids[4], ""), (6, rows.ids[5], "class")} <= reported


def test_a_table_that_other_programs_saved_again(rows):
    """pandas writes integers beside a blank as 3.0, R a blank as NA, and either another name of the column."""
    table = rows.to_table()
    classes = ["NA" if number is None else f"{number}.0" for number in table["class"].to_pylist()]
    at = table.column_names.index("class")
    saved = table.set_column(at, "class", pa.array(classes)).rename_columns(["ID", *table.column_names[1:]])
    name = rows.tree.fraction_names[0]
    texts = [*map(str, saved[name].to_pylist()[:-1]), "NA"]
    saved = saved.set_column(saved.column_names.index(name), name, pa.array(texts))
    read, again = (predictions_from_table(each, rows.tree, "votes.csv") for each in (table, saved))
    assert again.ids == read.ids
    assert again.classes.tolist() == read.classes.tolist()
    np.testing.assert_array_equal(again.votes.fractions, read.votes.fractions)
    wrong = saved.set_column(saved.column_names.index(name), name, pa.array(["0,5"] * len(rows)))
    labels = LabelTable("labels.csv", rows.votes, rows.votes.fractions)
    with pytest.raises(CatalogError, match=f"none of its 8 rows can be used.*row 1 .*column {name}: '0,5' is not"):
        evaluate(predictions_from_table(wrong.slice(0, 8), rows.tree, "votes.csv"), labels, resamples=10)


def test_no_galaxy_in_common_shows_the_identifiers(rows):
    votes = rows.votes.select(range(8))
    renamed = dataclasses.replace(votes, ids=tuple(f"{id_}.jpg" for id_ in votes.ids))
    predictions = predictions_from_table(rows.to_table(), rows.tree, "votes.csv")
    with pytest.raises(CatalogError, match=rf"in common: '{votes.ids[0]}', … and '{votes.ids[0]}\.jpg', …"):
        evaluate(predictions, LabelTable("labels.csv", renamed, renamed.fractions), resamples=10)
