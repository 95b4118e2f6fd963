"""Galaxies that a model has seen are left out of its evaluation, and counted."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.evaluation.evaluate import evaluate
from tuningfork.evaluation.prediction_table import PredictionTable
from tuningfork.evaluation.training_overlap import leave_out_training, training_ids_of
from tuningfork.model.bundle import BundleError, open_bundle, write_bundle
from tuningfork.model.training_ids import TrainingIDs
from tuningfork.simulation import answer_probabilities, draw, render
from tuningfork.votes.fractions import cumulative_from_conditional
from tuningfork.votes.label_table import LabelTable
from tuningfork.votes.vote_table import VoteTable

IDS = TrainingIDs.of({"train": ["t1", "t2"], "validation": ["v1"], "calibration": ["v1", "c1"]}, "salt")


def test_hashes_tell_subsets_and_hide_names():
    assert IDS.subsets(["t2", "x", "v1", "c1", ""]) == ["train", "", "validation", "calibration", ""]
    assert IDS.subsets(["t2", "v1"], among=("train",)) == ["train", ""]
    text = json.dumps(IDS.to_dict())
    assert TrainingIDs.from_dict(json.loads(text)) == IDS
    assert not any(name in text for name in ("t1", "v1", "c1"))
    assert TrainingIDs.of({"train": ["t1"]}, "other").hashes["train"].isdisjoint(IDS.hashes["train"])


@pytest.mark.parametrize(
    "wrong",
    [{}, {"salt": 1}, {"salt": "", "train": "?"}, {"salt": "", "train": "QUJD"}, {"salt": "", "test": ""}, None],
)
def test_damaged_hashes_are_refused(wrong):
    with pytest.raises(ValueError, match="training IDs"):
        TrainingIDs.from_dict(wrong)
    with pytest.raises(BundleError, match="training IDs"):
        replace(open_bundle("fast"), training={"id_hashes": wrong}).training_ids  # noqa: B018


def test_they_are_left_out_with_a_warning(caplog):
    caplog.set_level(logging.WARNING)
    rows, counts = leave_out_training(["a", "t1", "v1", "b", "t2"], IDS)
    assert rows == [0, 3]
    assert counts == {"train": 2, "validation": 1}
    assert "3 of 5 galaxies were in the training of the model (2 for train, 1 for validation)" in caplog.text
    assert "--include-training" in caplog.text
    assert leave_out_training(["a", "t1"], IDS, include=True) == ([0, 1], {"train": 1})
    assert leave_out_training(["a", "t1"], None) == ([0, 1], {})


@pytest.fixture
def survey(tmp_path):
    """A model that was trained on galaxies 0 to 4, its predictions of 0 to 9, and their votes."""
    (tmp_path / "images").mkdir()
    for index in range(10):
        Image.fromarray(render(draw(3, index))).save(tmp_path / "images" / f"g{index}.png")
    bundle = open_bundle("fast")
    ids = TrainingIDs.of({"train": [f"g{i}" for i in range(5)]}, "x")
    write_bundle(replace(bundle, training={**bundle.training, "id_hashes": ids.to_dict()}), tmp_path / "model")
    votes = np.stack([answer_probabilities(draw(3, index)) for index in range(10)])
    lines = [",".join(["GalaxyID", *bundle.tree.columns])]
    lines += [",".join([f"g{index}", *map(str, row)]) for index, row in enumerate(votes.tolist())]
    (tmp_path / "votes.csv").write_text("\n".join(lines))
    invoke(tmp_path, "predict", "images", "--model", "model", "-o", "out.csv")
    return tmp_path


def invoke(folder, *words, code=0):
    paths = [str(folder / word) if (folder / word).exists() or word == "out.csv" else word for word in words]
    result = CliRunner().invoke(app, paths)
    assert result.exit_code == code, result.output
    return result


def test_evaluate_leaves_out_what_the_model_learned_from(survey):
    command = ("evaluate", "out.csv", "votes.csv", "--resamples", "10", "--json")
    every = invoke(survey, *command, "--include-training", "--model", "model")
    assert json.loads(every.stdout)["galaxies"] == 10
    assert "better than those of new galaxies" in every.stderr
    told = invoke(survey, *command, "--model", "model")
    assert json.loads(told.stdout)["galaxies"] == 5
    assert json.loads(told.stdout)["left_out"] == {"train": 5}
    assert "5 of 10 galaxies were in the training of the model" in told.stderr
    # A model that is no shipped one is not found by its name.
    unknown = invoke(survey, *command)
    assert json.loads(unknown.stdout)["galaxies"] == 10
    assert "--model" in unknown.stderr


def test_nothing_is_evaluated_if_all_was_trained_on(survey):
    lines = (survey / "votes.csv").read_text().splitlines()
    (survey / "votes.csv").write_text("\n".join(lines[:6]))
    told = invoke(survey, "evaluate", "out.csv", "votes.csv", "--model", "model", code=1)
    assert "--include-training scores them" in told.stderr


def test_a_table_names_its_shipped_model(caplog):
    shipped = open_bundle("fast")
    assert training_ids_of({"model": "fast", "model_sha256": shipped.sha256}) == shipped.training_ids
    assert training_ids_of({"model": "fast", "model_sha256": "0" * 64}) is None
    assert training_ids_of({}) is None
    with pytest.raises(BundleError):
        training_ids_of({}, "no/such/model")


def test_evaluate_in_python_leaves_out_what_a_shipped_model_learned_from(gz2):
    shipped = open_bundle("fast")
    ids = ("100008", "no such galaxy")
    assert [bool(subset) for subset in shipped.training_ids.subsets(ids)] == [True, False]
    votes = VoteTable(gz2, ids, cumulative_from_conditional(np.full((2, 37), 0.3), gz2))
    table = PredictionTable(
        "votes.csv", votes, (), about={"model": "fast", "model_sha256": shipped.sha256}, rows=(0, 1)
    )
    labels = LabelTable("labels.csv", votes, votes.fractions)
    assert evaluate(table, labels, resamples=10).report["galaxies"] == 1
    every = evaluate(table, labels, resamples=10, exclude=None)
    assert every.report["galaxies"] == 2
    assert repr(every) == "<Evaluation: 2 galaxies; all numbers in report>"
