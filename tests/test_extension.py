"""Another package adds a table format, a survey and a decision tree, each in one file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tuningfork
from tuningfork.simulation import simulate
from tuningfork.votes.description import descriptions

PACKAGE = Path(__file__).parent / "extension"
TREE = PACKAGE / "tuningfork_example" / "bars.toml"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("extension") / "sim", 2, seed=1, workers=1) / "images_training_rev1"


def _tuningfork(*words, code=0):
    """Run the command line with the example package installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-m", "tuningfork", *map(str, words)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_table_format_of_another_package(images, tmp_path):
    _tuningfork("predict", images, "-o", tmp_path / "votes.jsonl", "--model", "fast")
    rows = [json.loads(line) for line in (tmp_path / "votes.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 2
    assert all(0 <= row["bar_yes_fraction"] <= 1 for row in rows)


def test_the_format_is_unknown_without_the_package(images, tmp_path):
    with pytest.raises(tuningfork.TuningforkError, match=r"\.jsonl is none of"):
        tuningfork.predict_files(tuningfork.load("fast"), [images], tmp_path / "votes.jsonl")


def test_a_decision_tree_is_one_file(tmp_path):
    tree = tuningfork.load_tree(TREE)
    assert tree.columns == ("bar_yes", "bar_no")
    assert descriptions(tree, np.array([[0.75, 0.25], [0.25, 0.75]])) == ("barred", "no bar")
    (tmp_path / "labels.csv").write_text("id,bar_yes,bar_no\na,0.25,0.75\n", "utf-8")
    assert "1" in _tuningfork("lint", tmp_path / "labels.csv", "--tree", TREE)


def test_a_survey_of_another_package(tmp_path):
    (tmp_path / "galaxies.csv").write_text("id,ra,dec\na,10,2\nb,50,2\n", "utf-8")
    words = ("cutouts", tmp_path / "galaxies.csv", "--size", "60", "--pixels", "32", "-o", tmp_path / "out")
    _tuningfork(*words, "--source", "painted")
    assert [file.name for file in sorted((tmp_path / "out" / "00000").iterdir())] == ["a.png", "b.png"]
    assert "painted" in _tuningfork("cutouts", "--help")
