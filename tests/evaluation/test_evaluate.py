"""Scores of the class: of galaxies that have one, and of all with none among them."""

from __future__ import annotations

import numpy as np
import pytest

from tuningfork import load_tree
from tuningfork.evaluation.evaluate import evaluate
from tuningfork.evaluation.prediction_table import PredictionTable
from tuningfork.model.class_calibration import class_index, class_probabilities
from tuningfork.votes.clean_samples import NO_CLASS, Status, classify
from tuningfork.votes.fractions import conditional_from_logits, cumulative_from_conditional
from tuningfork.votes.label_table import LabelTable
from tuningfork.votes.vote_table import VoteTable

TREE, COUNT = load_tree("gz2"), 3000


def tables(hidden: float = 0.0) -> tuple[PredictionTable, LabelTable]:
    """Predictions and volunteers' fractions; the bar and the spiral arms are unknown of a share `hidden`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (COUNT, 37))
    for column, shift in (("Class6.2", 2.5), ("Class1.3", -4.0), ("Class2.2", 1.5), ("Class4.1", 1.0)):
        logits[:, TREE.columns.index(column)] += shift

    def votes(values: np.ndarray) -> np.ndarray:
        return cumulative_from_conditional(conditional_from_logits(values, TREE), TREE)

    predicted, true = votes(logits), votes(logits + rng.normal(0, 0.4, logits.shape))
    unknown = [at for at, column in enumerate(TREE.columns) if column.startswith(("Class3", "Class4"))]
    true[np.ix_(rng.random(COUNT) < hidden, unknown)] = np.nan
    ids = tuple(f"g{n}" for n in range(COUNT))
    probability, none = class_probabilities(None, TREE, votes=predicted)
    index = class_index(probability, none).astype(int)
    table = PredictionTable(
        "votes.csv", VoteTable(TREE, ids, predicted), (), index, probability, no_class_probability=none
    )
    return table, LabelTable("labels.csv", VoteTable(TREE, ids, true), true)


@pytest.fixture(scope="module")
def complete() -> tuple[PredictionTable, LabelTable, dict]:
    table, labels = tables()
    return table, labels, evaluate(table, labels, resamples=20).report


def test_among_all_galaxies_none_is_a_class(complete) -> None:
    table, labels, report = complete
    scores = report["classes_and_none"]
    true = np.where(labels.votes.classes < 0, 7, labels.votes.classes)
    assert scores["names"][-1] == NO_CLASS
    assert (scores["galaxies"], scores["undecided"]) == (COUNT, 0)
    assert scores["accuracy"]["value"] == pytest.approx((table.classes == true).mean())
    each = list(scores["per_class"].values())
    assert [e["true"] for e in each] == np.bincount(true, minlength=8).tolist()
    assert [e["named"] for e in each] == np.bincount(table.classes, minlength=8).tolist()
    given = table.probability * (1 - table.no_class_probability)[:, None]
    assert [e["expected"] for e in each] == pytest.approx([*given.sum(0), table.no_class_probability.sum()])
    assert np.sum(scores["confusion_matrix"]) == COUNT
    assert scores["reliability"]["galaxies"] == COUNT
    assert scores["reliability"]["mean_probability"] == pytest.approx(
        np.maximum(given.max(1), table.no_class_probability).mean()
    )


def test_of_galaxies_that_have_a_class_the_nearest_is_scored(complete) -> None:
    table, labels, report = complete
    decided = labels.votes.classes >= 0
    right = table.probability.argmax(1)[decided] == labels.votes.classes[decided]
    assert report["classes"]["galaxies"] == decided.sum()
    assert report["classes"]["accuracy"]["value"] == pytest.approx(right.mean())
    assert np.shape(report["classes"]["confusion_matrix"]) == (7, 7)


def test_undecided_galaxies_are_made_up_for(complete) -> None:
    _, _, whole = complete
    table, labels = tables(hidden=0.7)
    scores = evaluate(table, labels, resamples=20).report["classes_and_none"]
    undecided = int((classify(labels.votes.fractions, TREE) == Status.UNDECIDED).sum())
    assert scores["undecided"] == undecided > 100
    assert scores["galaxies"] == COUNT - undecided
    spirals = ("barred_spiral", "unbarred_spiral")
    true, made_up, seen = (
        sum(each["per_class"][key][what] for key in spirals)
        for each, what in ((whole["classes_and_none"], "true"), (scores, "true"), (scores, "galaxies"))
    )
    assert seen < 0.5 * true
    assert made_up == pytest.approx(true, rel=0.3)
    assert scores["accuracy"]["value"] == pytest.approx(whole["classes_and_none"]["accuracy"]["value"], abs=0.03)
