"""Example galaxies: each answer's and each class's is what it should be; the field guide's pictures are drawn."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuningfork.simulation import answer_probabilities, simulate
from tuningfork.simulation.examples import answer_example, answer_examples, class_examples
from tuningfork.votes.clean_samples import classify
from tuningfork.votes.fractions import cumulative_from_conditional

GUIDE = Path(__file__).parents[2] / "docs/figures/field_guide.py"
#: Answers that no simulated galaxy gives with a clear majority of those who reach them.
FAINT = {"Class8.5", "Class11.6"}  # "other" and "can't tell" are what is left


def test_most_volunteers_would_give_the_answer(gz2):
    unclear = []
    for question, part in zip(gz2.questions, gz2.slices, strict=True):
        for answer, column in zip(question.answers, range(part.start, part.stop), strict=True):
            (galaxy,) = answer_examples(answer.column)
            assert galaxy == answer_example(answer.column)
            shares = answer_probabilities(galaxy)[part]
            if shares.argmax() != column - part.start and answer.column not in FAINT:
                unclear.append((answer.column, shares.round(2).tolist()))
    assert not unclear


def test_the_class_follows_from_the_votes(gz2):
    for number in range(len(gz2.classes)):
        galaxies = class_examples(number, 2)
        votes = cumulative_from_conditional(np.stack([answer_probabilities(galaxy) for galaxy in galaxies]), gz2)
        assert classify(votes, gz2).tolist() == [number, number]


def test_an_unknown_column():
    with pytest.raises(KeyError, match=r"Class12\.1"):
        answer_examples("Class12.1")


def test_the_field_guide_of_own_images(tmp_path, monkeypatch, gz2):
    data = simulate(tmp_path / "sim", 5, seed=3, workers=1)
    words = ["--images", data / "images_training_rev1", "--labels", data / "training_solutions_rev1.csv"]
    monkeypatch.setattr(sys, "argv", [str(GUIDE), *map(str, words), "--out", str(tmp_path / "guide"), "--rows", "1"])
    runpy.run_path(str(GUIDE), run_name="__main__")
    assert {path.stem for path in (tmp_path / "guide").iterdir()} == {"classes", *(q.key for q in gz2.questions)}
    assert np.asarray(Image.open(tmp_path / "guide/bar.jpg")).std() > 5
