"""What leaves a labelling: votes that the other commands read, answers one by one, Zooniverse's manifest."""

import csv
import json
import os

import numpy as np
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tuningfork.labelling.campaign import AnswerRecord, Campaign
from tuningfork.labelling.export import FORMATS, MAX_UPLOAD_BYTES, check_export, export
from tuningfork.labelling.tally import tally, votes_table
from tuningfork.votes.class_labels import class_tree
from tuningfork.votes.fractions import broken_sums, cumulative_from
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.lint import lint
from tuningfork.votes.traversal import next_question
from tuningfork.votes.tree_files import builtin_trees, load_tree

OWN = class_tree(["spiral", "elliptical", "other"])


def said(tree, chooser, people=3, galaxies=4, finished=True):
    """Answers of people who go down the tree as `chooser` picks among a question's answers."""
    out = []
    for galaxy in range(galaxies):
        for person in range(people):
            given = {}
            while (question := next_question(tree, given)) is not None:
                given[question.key] = chooser(question.answers).key
            out += [
                AnswerRecord(f"g{galaxy}", f"p{person}", q, a, "2026-01-01T00:00:00.000Z", "", finished, "")
                for q, a in given.items()
            ]
    return out


@pytest.mark.parametrize("name", builtin_trees())
@settings(max_examples=15)
@given(data=st.data())
def test_votes_of_any_tree_are_read_back_and_all_its_sums_hold(tmp_path_factory, name, data):
    tree = load_tree(name)
    answers = said(tree, lambda options: data.draw(st.sampled_from(options)), people=data.draw(st.integers(1, 4)))
    table, errors = votes_table(tally(answers, tree), tree)
    path = tmp_path_factory.mktemp("votes") / "votes.csv"
    pyarrow.csv.write_csv(table, path)
    read = read_labels(path, tree)
    assert not errors
    assert not read.errors
    assert read.ids == ("g0", "g1", "g2", "g3")
    assert broken_sums(cumulative_from(read.values, tree), tree, 1e-9) == []


def test_cumulative_fractions_are_shares_times_what_reached_them(gz2):
    """Counted by hand: of three people two see features, one of these a bar."""
    ways = iter(
        [
            "smooth",
            "completely_round",
            "no",
            "features_or_disk",
            "no",
            "yes",
            "no",
            "obvious",
            "no",
            "features_or_disk",
            "no",
            "no",
            "no",
            "obvious",
            "no",
        ]
    )

    def pick(options):
        wanted = next(ways)
        return next(answer for answer in options if answer.key == wanted)

    table, _ = votes_table(tally(said(gz2, pick, galaxies=1), gz2), gz2)
    row = table.to_pylist()[0]
    assert row["GalaxyID"] == "g0"
    wanted = {"Class1.1": 1 / 3, "Class1.2": 2 / 3, "Class2.2": 2 / 3, "Class3.1": 1 / 3, "Class3.2": 1 / 3,
              "Class4.2": 2 / 3, "Class5.3": 2 / 3, "Class6.2": 1, "Class7.1": 1 / 3}  # fmt: skip
    assert [row[column] for column in gz2.columns] == pytest.approx([wanted.get(column, 0) for column in gz2.columns])


def test_a_question_that_nobody_came_to_is_blank_where_the_sum_should_be_one(gz2):
    table, _ = votes_table(tally(said(gz2, lambda options: options[-1], galaxies=1, people=2), gz2), gz2)
    row = table.to_pylist()[0]
    assert row["Class1.3"] == 1
    assert row["Class6.1"] is None  # all saw a star: whether it is odd was asked of nobody
    assert row["Class2.1"] == 0


def test_only_those_who_finished_count(gz2):
    answers = said(gz2, lambda options: options[0], people=1, galaxies=1)
    answers += said(gz2, lambda options: options[1], people=1, galaxies=2, finished=False)
    found = tally(answers, gz2)
    assert found.ids == ("g0",)
    assert found.people.tolist() == [1]
    assert found.counts.sum() == 4


def test_own_classes_give_a_label_and_name_ties():
    choices = iter([*"001", *"012", *"11"])
    answers = [
        AnswerRecord(f"g{galaxy}", f"p{person}", "label", OWN.answers[int(next(choices))].key, "", "", True, "")
        for galaxy, people in enumerate((3, 3, 2))
        for person in range(people)
    ]
    table, errors = votes_table(tally(answers, OWN), OWN, "labels.sqlite")
    assert table.to_pylist() == [{"id": "g0", "label": "spiral"}, {"id": "g2", "label": "elliptical"}]
    assert [(error.id, error.column) for error in errors] == [("g1", "label")]
    assert "spiral and elliptical and other" in errors[0].reason


# ------------------------------------------------------------------ files


@pytest.fixture
def labelled(tmp_path, gz2):
    """Pictures of which one is broken and two are not for Zooniverse; two people have looked at all but the last."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(folder / f"{number}.png")
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "6.tif")
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "7.png")
    assert (folder / "7.png").stat().st_size > MAX_UPLOAD_BYTES
    with Campaign(tmp_path / "labels.sqlite", gz2, tree_name="gz2", votes_each=2) as campaign:
        paths = sorted(folder.iterdir())
        campaign.update_galaxies([(path.stem, path.name) for path in paths], "gone")
        campaign.set_order([path.stem for path in paths])
        campaign.exclude(2, "damaged")
        for name in ("Ada", "Ben"):
            place = campaign.join(name)
            while place.id != "5":
                asked = place.question
                place = campaign.answer(
                    place.person, place.galaxy, asked.key, asked.answers[-1].key, version=place.version,
                    key=f"{place.version}",
                )  # fmt: skip
        yield campaign, folder


def test_lint_has_no_complaint_of_exported_votes(labelled, tmp_path, gz2):
    campaign, folder = labelled
    rows, errors = export(campaign, folder, tmp_path / "votes.csv", "kaggle")
    found = lint(read_labels(tmp_path / "votes.csv", gz2))
    assert rows == len(found.labels.ids) == 4
    assert [(error.id, error.reason) for error in errors] == [("1", "damaged")]
    assert not found.broken
    assert not found.labels.errors
    assert found.labels.extra_columns == ()


def test_every_answer_is_told_with_who_and_when(labelled, tmp_path):
    campaign, folder = labelled
    place = campaign.join("Ada")
    campaign.undo(place.person, version=place.version, key="u")
    rows, _ = export(campaign, folder, tmp_path / "answers.csv", "answers")
    with open(tmp_path / "answers.csv", newline="") as file:
        told = list(csv.DictReader(file))
    assert rows == len(told) == 8
    assert {(row["id"], row["person"]) for row in told} == {(id_, who) for id_ in "0234" for who in ("Ada", "Ben")}
    assert sum(bool(row["undone"]) for row in told) == 1
    assert [row["finished"] for row in told if row["undone"]] == ["false"]
    assert all(row["given"].endswith("Z") and len(row["tree"]) == 64 for row in told)
    about = json.loads((tmp_path / "answers.csv-metadata.json").read_text())
    assert about["tableSchema"]["columns"][1]["dc:description"] == "Who answered"


def test_the_manifest_is_one_that_the_uploader_takes(labelled, tmp_path):
    """Read as panoptes-cli reads it: a cell that names a file beside the manifest is a picture to upload."""
    campaign, folder = labelled
    rows, errors = export(campaign, folder, tmp_path / "manifest.csv", "zooniverse")
    assert sorted(error.id for error in errors) == ["1", "6", "7"]
    with open(tmp_path / "manifest.csv", newline="") as file:
        header, *subjects = csv.reader(file, skipinitialspace=True)
    assert header == ["filename", "GalaxyID", "#priority", "!people", "!answers"]
    assert rows == len(subjects) == 5
    for row in subjects:
        files = [cell for cell in row if os.path.exists(os.path.join(tmp_path, cell))]
        assert files == [row[0]]
        assert 0 < os.path.getsize(tmp_path / row[0]) <= MAX_UPLOAD_BYTES
    assert [int(row[2]) for row in subjects] == sorted(int(row[2]) for row in subjects)
    assert subjects[0][3:] == ["2", "star or artifact 2"]
    assert subjects[-1][3:] == ["0", "none yet"]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_appears_whole_or_not_at_all(labelled, tmp_path, kind):
    campaign, folder = labelled
    with pytest.raises(FileNotFoundError, match="no such folder"):
        check_export(tmp_path / "none" / "x.csv", kind)
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(OSError, match=r"x\.csv"):
        export(campaign, folder, tmp_path / "none" / "x.csv", kind)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_exported_classes_are_a_tree_of_their_own(tmp_path):
    with Campaign(tmp_path / "labels.sqlite", OWN) as campaign:
        campaign.update_galaxies([(f"g{n}", f"g{n}.png") for n in range(4)], "gone")
        place = campaign.join("Ada")
        while place.question:
            answer = place.question.answers[place.galaxy % 3].key
            place = campaign.answer(
                place.person, place.galaxy, "label", answer, version=place.version, key=f"{place.version}"
            )
        export(campaign, tmp_path, tmp_path / "labels.csv", "kaggle")
    tree = read_labels(tmp_path / "labels.csv", "gz2", learning=True).tree
    assert set(tree.columns) == {"spiral", "elliptical", "other"}
    assert len(read_labels(tmp_path / "labels.csv", tree).ids) == 4
