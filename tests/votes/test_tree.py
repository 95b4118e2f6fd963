"""Trees as data: what ships is right, and what is wrong is refused."""

import csv
import json
from dataclasses import replace

import pytest

from tuningfork.labelling.database import tree_digest
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.tree import DecisionTree, SchemaError
from tuningfork.votes.tree_files import builtin_trees, load_tree


@pytest.fixture(params=builtin_trees())
def tree(request):
    return load_tree(request.param)


def test_gz2_has_kaggles_columns_in_kaggles_order(gz2):
    answers = [3, 2, 2, 2, 4, 2, 3, 7, 3, 3, 6]
    assert gz2.columns == tuple(f"Class{q}.{a}" for q, n in enumerate(answers, 1) for a in range(1, n + 1))
    assert len(gz2.columns) == 37
    assert len(gz2.classes) == 7


def test_gz2_leads_as_willett_et_al_2013_say(gz2):
    number = {question.key: n for n, question in enumerate(gz2.questions, 1)}
    leads = [[number.get(answer.next, "end") for answer in question.answers] for question in gz2.questions]
    assert leads == [
        [7, 2, "end"],
        [9, 3],
        [4, 4],
        [10, 5],
        [6] * 4,
        [8, "end"],
        [6] * 3,
        ["end"] * 7,
        [6] * 3,
        [11] * 3,
        [5] * 6,
    ]


def test_another_campaign_is_only_another_file():
    decals = load_tree("gz_decals")
    assert len(decals.columns) == 34
    assert decals.values == "conditional"
    assert "bar_strong_fraction" in decals.fraction_names


def test_names_in_words_are_unique_and_plain(tree):
    assert len(set(tree.fraction_names)) == len(tree.columns)
    assert all(name.isidentifier() or name[0].isdigit() for name in tree.fraction_names)


def test_every_question_but_the_first_is_reached(tree):
    reached = {answer.next for answer in tree.answers}
    assert all(question.key in reached for question in tree.questions[1:])


def test_a_tree_survives_json(tree):
    assert DecisionTree.from_dict(json.loads(json.dumps(tree.to_dict()))) == tree


def test_a_tree_can_be_read_from_a_file(tree, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\ntitle = "Mine"\n[[questions]]\nkey = "q"\ntext = "Smooth?"\n'
        'answers = [{key="yes", text="yes", column="Y"}, {key="no", text="no", column="N"}]\n'
    )
    assert load_tree(file).fraction_names == ("q_yes_fraction", "q_no_fraction")


def _edited(tree, edit):
    data = tree.to_dict()
    edit(data)
    return DecisionTree.from_dict(data)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda d: d["questions"][0]["answers"][0].update(next="nowhere"), "nowhere"),
        (lambda d: d["questions"][1].update(parent="Class11.1"), "not a column of an earlier question"),
        (lambda d: d["questions"][1].update(key="smooth_or_features"), "appears twice"),
        (lambda d: d["questions"][1]["answers"][0].update(column="Class1.1"), "appears twice"),
        (lambda d: d["questions"][5]["answers"][1].update(next="smooth_or_features"), "leads back to itself"),
        (lambda d: d["questions"][2].update(answers=[]), "no answers"),
        (lambda d: d["classes"][0].update(all_of={"Class99.1": 0.5}), "Class99.1"),
        (lambda d: d["classes"][0].update(all_of={}), "no threshold"),
        (lambda d: d.update(values="votes"), "values"),
        (lambda d: d.pop("questions"), "questions"),
        (lambda d: d["questions"][0].pop("text"), "text"),
        (lambda d: d.update(questions=3), "wrong form"),
    ],
)
def test_a_wrong_tree_is_refused_by_name(gz2, edit, told):
    with pytest.raises(SchemaError, match=told):
        _edited(gz2, edit)


def test_a_missing_tree_names_those_there_are():
    with pytest.raises(SchemaError, match="gz2"):
        load_tree("gz3")


def test_a_file_that_is_no_tree_is_refused(tmp_path):
    file = tmp_path / "tree.toml"
    file.write_text("name = [")
    with pytest.raises(SchemaError, match="TOML"):
        load_tree(file)
    file.write_bytes(b"x" * 1_000_001)
    with pytest.raises(SchemaError, match="larger"):
        load_tree(file)


def test_too_many_answers_are_refused(gz2):
    many = tuple(replace(gz2.questions[0].answers[0], key=f"a{i}", column=f"c{i}", next=None) for i in range(1001))
    with pytest.raises(SchemaError, match="1001 answers"):
        replace(gz2, questions=(replace(gz2.questions[0], answers=many),), classes=())


@pytest.mark.parametrize(
    ("name", "base", "column", "values"),
    [
        ("gz2_catalogue", "gz2", "t01_smooth_or_features_a01_smooth_fraction", "conditional"),
        ("gz2_catalogue_weighted", "gz2", "t01_smooth_or_features_a01_smooth_weighted_fraction", "conditional"),
        ("gz2_catalogue_debiased", "gz2", "t01_smooth_or_features_a01_smooth_debiased", "conditional"),
        ("gz_decals_counts", "gz_decals", "smooth-or-featured_smooth", "counts"),
    ],
)
def test_catalogues_of_a_campaign_have_its_questions_under_their_own_columns(name, base, column, values):
    tree, original = load_tree(name), load_tree(base)
    assert tree.columns[0] == column
    assert tree.values == values
    assert tree.fraction_names == original.fraction_names
    assert tree.parents == original.parents
    assert [rule.key for rule in tree.classes] == [rule.key for rule in original.classes]
    assert DecisionTree.from_dict(tree.to_dict()) == tree


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('base = "nowhere"\n', "base 'nowhere' is none of"),
        ('base = "gz1"\n[columns]\nx = "y"\n', "is missing, or no QUESTION_ANSWER"),
        ('base = "gz1"\nvalues = "votes"\n', "values must be one of"),
    ],
)
def test_a_derived_tree_that_fits_not_is_refused(tmp_path, text, match):
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(SchemaError, match=match):
        load_tree(tmp_path / "t.toml")


def test_the_real_catalogue_is_read(shared):
    labels = read_labels(shared / "data/gz2_hart16/catalog.csv", "gz2_catalogue_debiased")
    assert len(labels) == 1000
    assert not labels.errors
    with open(shared / "data/gz2_hart16/catalog.csv", encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert labels.votes.fractions[0, 0] == float(row["t01_smooth_or_features_a01_smooth_debiased"])


def test_classes_say_what_their_names_do_not(gz2: DecisionTree) -> None:
    """Another wording is not another tree: models and databases of before stay of this one."""
    meanings = {rule.key: rule.meaning for rule in gz2.classes}
    assert "not Hubble type S0" in meanings["lenticular"]
    assert "merging" in meanings["irregular"]
    assert "dust lane" in meanings["irregular"]
    assert meanings["barred_spiral"] == "barred spiral"
    silent = replace(gz2, classes=tuple(replace(rule, description="") for rule in gz2.classes))
    assert silent == gz2
    assert tree_digest(silent) == tree_digest(gz2)
    assert DecisionTree.from_dict(gz2.to_dict()).classes[3].meaning == meanings["lenticular"]
    assert all("description" not in rule for rule in silent.to_dict()["classes"])
    with pytest.raises(SchemaError, match="'description' must be a text"):
        DecisionTree.from_dict({**gz2.to_dict(), "classes": [{"key": "a", "name": "a", "description": 1}]})


def test_trees_and_tables_are_short_in_a_terminal(gz2, tmp_path):
    assert repr(gz2) == "<DecisionTree 'gz2': Galaxy Zoo 2; 11 questions, 37 answers, 7 classes>"
    lines = str(gz2).splitlines()
    assert len(lines) == 1 + 11 + 37
    assert lines[1:3] == [f"smooth_or_features: {gz2.questions[0].text}", "  smooth → rounded"]
    (tmp_path / "labels.csv").write_text("id,label\n7,spiral\n8,elliptical\n")
    labels = read_labels(tmp_path / "labels.csv")
    assert repr(labels).endswith("labels.csv': 2 galaxies, 2 complete; classes of the label table>")
    assert repr(labels.votes) == "<VoteTable: 2 galaxies × 2 answers of classes of the label table>"
