"""True classes: of no class, undecided, in groups, from a column; and what a selection makes of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tuningfork.evaluation.prediction_table import PredictionTable
from tuningfork.evaluation.select import select_table
from tuningfork.evaluation.true_classes import (
    TrueClasses,
    group_probabilities,
    known_classes,
    known_weights,
    true_classes,
)
from tuningfork.tables import CatalogError, write_table
from tuningfork.votes.clean_samples import classify
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.vote_table import VoteTable

ROUND = {"Class1.1": 0.9, "Class7.1": 0.8, "Class6.2": 0.95}
SPIRAL = {"Class1.2": 0.9, "Class2.2": 0.8, "Class3.1": 0.75, "Class4.1": 0.7}


def cumulative(tree: DecisionTree, **values: float) -> np.ndarray:
    """One row of fractions, 0 where nothing is given."""
    return np.array([values.get(column, 0.0) for column in tree.columns])


def table(tree: DecisionTree, probability: np.ndarray, no_class: np.ndarray | None = None) -> PredictionTable:
    ids = tuple(f"g{i}" for i in range(len(probability)))
    votes = VoteTable(tree, ids, np.full((len(ids), len(tree.columns)), 0.5))
    best = probability.argmax(1)
    return PredictionTable("votes.csv", votes, (), best, probability, no_class_probability=no_class)


def test_what_is_known_of_a_galaxy_is_by_class(gz2: DecisionTree) -> None:
    none, round_, barred = (cumulative(gz2, **each) for each in ({}, ROUND, SPIRAL))
    open_ = barred.copy()  # its bar and spiral are unknown, as in three quarters of the rows that we have
    for column in ("Class3.1", "Class3.2", "Class4.1", "Class4.2"):
        open_[gz2.columns.index(column)] = np.nan
    rows = np.stack([none, round_, barred, open_])
    assert classify(rows, gz2).tolist() == [-1, 0, 4, -2]
    known = known_classes(rows, gz2)
    assert known.tolist() == [[0] * 7, [1, *[0] * 6], [0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, -1, -1, 0]]


def test_a_column_says_no_class_in_words_as_a_number_and_by_its_status(tmp_path, gz2: DecisionTree) -> None:
    path = tmp_path / "classes.csv"
    path.write_text(
        "id,class,status\na,0,classified\nb,,unclassified\nc,,undecided\nd,-1,\ne,none,\nf,7,\ng,5,classified\n"
    )
    truth = true_classes(path, gz2, column="class")
    assert truth.ids == ("a", "b", "d", "e", "g")
    assert truth.no_class.tolist() == [False, True, True, True, False]
    assert not truth.undecided.any()
    assert [(error.id, error.column) for error in truth.errors] == [("f", "class")]
    with pytest.raises(CatalogError, match="no column 'kind'"):
        true_classes(path, gz2, column="kind")


def test_of_repeated_ids_in_a_column_the_first_is_kept_and_the_others_are_reported(tmp_path, gz2: DecisionTree) -> None:
    # A column of classes with a blank cell is one of floats in many programs.
    classes = pa.table({"id": ["a", "b", "a", None, "c"], "class": [0.0, 4.0, 5.0, 1.0, None]})
    write_table(tmp_path / "classes.parquet", classes)
    truth = true_classes(tmp_path / "classes.parquet", gz2, column="class")
    assert truth.ids == ("a", "b")
    assert truth.fits.argmax(1).tolist() == [0, 4]
    assert [(error.row, error.column) for error in truth.errors] == [(3, "id"), (4, "id")]


def test_groups_of_a_table_of_votes_count_as_one_class(tmp_path, gz2: DecisionTree) -> None:
    rows = np.stack([cumulative(gz2, **SPIRAL), cumulative(gz2, **ROUND)])
    rows[0, gz2.columns.index("Class3.1")] = np.nan
    header = ",".join(["GalaxyID", *gz2.columns])
    lines = [",".join([f"g{i}", *("" if np.isnan(v) else str(v) for v in row)]) for i, row in enumerate(rows)]
    (tmp_path / "labels.csv").write_text("\n".join([header, *lines]) + "\n")
    truth = true_classes(tmp_path / "labels.csv", gz2, groups=((4, 5), (6,)))
    assert truth.names == ("barred spiral or unbarred spiral", "irregular")
    # A round galaxy is of neither group, so that accepting it as either is wrong.
    assert truth.fits.tolist() == [[-1, 0], [0, 0]]


def test_known_galaxies_count_for_those_whose_votes_are_blank(gz2: DecisionTree) -> None:
    """A class that blank cells often leave open is not rarer for it: the weights add up to the whole table."""
    rng = np.random.default_rng(0)
    full = np.stack([cumulative(gz2, **(SPIRAL if rng.random() < 0.3 else ROUND)) for _ in range(3000)])
    blank = full.copy()
    hidden = rng.random(3000) < 0.75
    columns = [gz2.columns.index(c) for c in ("Class3.1", "Class3.2", "Class4.1", "Class4.2")]
    blank[np.ix_(hidden, columns)] = np.nan
    groups = ((0,), (4,), (4, 5))
    fits, weights = known_classes(blank, gz2), known_weights(blank, gz2, groups)
    assert (weights[:, 0] == 1).all()  # bars are not asked of it
    np.testing.assert_array_equal(weights[:, 1] > 0, fits[:, 4] >= 0)
    barred = classify(full, gz2) == 4
    assert weights[barred, 1].sum() == pytest.approx(barred.sum(), rel=0.1)
    assert (fits[:, 4] == 1).sum() < 0.3 * barred.sum()
    assert (known_weights(full, gz2, groups) == 1).all()


def test_probabilities_are_of_all_galaxies(gz2: DecisionTree) -> None:
    probability = np.full((1, 7), 1 / 7)
    in_groups, others = group_probabilities(table(gz2, probability, np.array([0.5])), ((0,), (4, 5)))
    assert in_groups.tolist() == [[pytest.approx(1 / 14), pytest.approx(1 / 7)]]
    assert others.shape == (1, 4)
    with pytest.raises(CatalogError, match="no class probabilities"):
        group_probabilities(table(gz2, np.full((1, 7), np.nan)), ((0,),))


def labelled(tree: DecisionTree, fits: np.ndarray) -> TrueClasses:
    groups = tuple((c,) for c in range(7))
    return TrueClasses("labels.csv", tree, tuple(f"g{i}" for i in range(len(fits))), fits.astype(np.int8), groups)


def test_galaxies_of_no_class_are_wrong_and_open_ones_are_left_out(gz2: DecisionTree) -> None:
    # 400 galaxies of class 0, told so with 0.9; 400 of no class, told to be class 0 with 0.8; 100 that may be class 0.
    fits = np.zeros((900, 7))
    fits[:400, 0], fits[800:, 0] = 1, -1
    probability = np.full((900, 7), 0.1 / 6)
    probability[:, 0] = 0.9
    probability[400:800] = np.array([0.8, *[0.2 / 6] * 6])
    found = select_table(table(gz2, probability), labelled(gz2, fits), 0.95)
    assert found.selection.threshold == pytest.approx(0.9)
    assert found.labelled == {"no_class": 400, "undecided": 100, "undecided_accepted": 100}
    assert found.accepted == 500
    text = "\n".join(found.lines())
    assert "400 of these have no class" in text
    assert "of the 100 left out 100 are accepted too" in text
    # Of the galaxies that have a class all would be right: what the promise was before.
    only = labelled(gz2, fits[:400])
    before = select_table(table(gz2, probability), only, 0.95)
    assert before.labelled["no_class"] == 0
    assert "of galaxies that have none the labels say nothing" in "\n".join(before.lines())
    # Equally probable, no threshold tells them apart.
    probability[400:800] = probability[0]
    assert select_table(table(gz2, probability), labelled(gz2, fits), 0.95).selection.threshold is None


def test_a_galaxy_that_is_known_to_be_of_another_class_is_wrong_though_undecided(gz2: DecisionTree) -> None:
    fits = np.zeros((400, 7))
    fits[:, 4:6] = -1  # barred or unbarred or none, but surely not round
    probability = np.tile([0.9, *[0.1 / 6] * 6], (400, 1))
    found = select_table(table(gz2, probability), labelled(gz2, fits), 0.5)
    assert found.selection.threshold is None
    assert found.labelled["undecided"] == 0
    with pytest.raises(CatalogError, match="of no galaxy it is known"):
        select_table(table(gz2, probability[:, [4, 1, 2, 3, 0, 5, 6]]), labelled(gz2, fits), 0.5)


def test_no_class_as_the_most_probable_is_left_to_a_human(gz2: DecisionTree) -> None:
    probability = np.tile([0.9, *[0.1 / 6] * 6], (600, 1))
    fits = np.zeros((600, 7))
    fits[:300, 0] = 1
    no_class = np.where(np.arange(600) < 300, 0.1, 0.7)
    found = select_table(table(gz2, probability, no_class), labelled(gz2, fits), 0.95)
    accepted = found.table["accepted"].to_numpy()
    assert accepted[:300].all()
    assert not accepted[300:].any()
    assert found.table["class_name"].to_pylist()[300:] == [""] * 300
    assert found.selection.threshold == pytest.approx(0.81)
