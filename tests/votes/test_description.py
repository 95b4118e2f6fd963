"""Descriptions in words: every path of every tree of the package reads as an astronomer would say it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tuningfork import load_tree
from tuningfork.votes.class_labels import class_tree
from tuningfork.votes.description import describe, descriptions, phrase_of
from tuningfork.votes.fractions import conditional_from_logits, cumulative_from_conditional
from tuningfork.votes.traversal import majority_answers, majority_path, next_question
from tuningfork.votes.tree import Answer, DecisionTree, Question, SchemaError
from tuningfork.votes.tree_files import builtin_trees


def paths(tree: DecisionTree) -> list[list[tuple[Question, Answer]]]:
    """All ways through a tree: questions and answers."""
    done, begun = [], [{}]
    while begun:
        answers = begun.pop()
        question = next_question(tree, answers)
        if question is None:
            steps = [(tree.question(key), answer) for key, answer in answers.items()]
            done.append([(q, next(a for a in q.answers if a.key == key)) for q, key in steps])
            continue
        begun += [{**answers, question.key: answer.key} for answer in question.answers]
    return done


def of(tree: DecisionTree, *answers: str) -> str:
    """The description of a galaxy of which all volunteers give these answers, written ``question.answer``."""
    fractions = [[float(f"{q.key}.{a.key}" in answers) for q in tree.questions for a in q.answers]]
    (text,) = descriptions(tree, np.array(fractions))
    return text


@pytest.mark.parametrize("name", builtin_trees())
def test_every_path_is_described_without_gaps_and_repetitions(name: str) -> None:
    tree = load_tree(name)
    every = paths(tree)
    assert len(every) >= len(tree.questions[0].answers)
    texts = [describe(steps) for steps in every]
    for text in texts:
        assert text
        assert text == text.strip()
        parts = text.split(", ")
        assert all(parts)
        assert len(set(parts)) == len(parts), text
        assert not re.search(r"\b(\w+) \1\b", text), text
        assert not re.search(r"[{}_]|  |\b(yes|no|none)(,|$)", text), text
    # Whoever answers otherwise describes another galaxy.
    assert len(set(texts)) == len(texts)


def test_galaxy_zoo_2_in_words(gz2: DecisionTree) -> None:
    disk = ("smooth_or_features.features_or_disk", "edge_on.no")
    spiral = (*disk, "bar.yes", "spiral.yes", "arms_winding.medium", "arms_number.2", "bulge_prominence.obvious")
    assert of(gz2, *spiral, "odd.no") == "barred spiral, two medium arms, obvious bulge, nothing odd"
    assert of(gz2, *spiral, "odd.yes", "odd_feature.ring") == "barred spiral, two medium arms, obvious bulge, ring"
    many = ("bar.no", "spiral.yes", "arms_winding.tight", "arms_number.cant_tell", "bulge_prominence.no_bulge")
    assert of(gz2, *disk, *many, "odd.no") == "unbarred spiral, tight arms of unclear number, no bulge, nothing odd"
    plain = ("bar.yes", "spiral.no", "bulge_prominence.dominant", "odd.no")
    assert of(gz2, *disk, *plain) == "barred disk without spiral arms, dominant bulge, nothing odd"
    edge = ("smooth_or_features.features_or_disk", "edge_on.yes", "bulge_shape.rounded")
    assert of(gz2, *edge, "odd.no") == "edge-on disk, rounded bulge, nothing odd"
    smooth = "smooth_or_features.smooth"
    assert of(gz2, smooth, "rounded.in_between", "odd.no") == "smooth, in between, nothing odd"
    assert of(gz2, smooth, "rounded.completely_round", "odd.yes", "odd_feature.merger") == (
        "smooth, completely round, merger"
    )
    assert of(gz2, "smooth_or_features.star_or_artifact", "odd.no") == "star or artifact"


def test_other_trees_in_words() -> None:
    decals = load_tree("gz_decals")
    disk = ("smooth_or_featured.featured_or_disk", "disk_edge_on.no", "bar.weak", "has_spiral_arms.yes")
    arms = ("spiral_winding.loose", "spiral_arm_count.3", "bulge_size.small", "merging.none")
    assert of(decals, *disk, *arms) == "weakly barred spiral, three loose arms, small bulge, undisturbed"
    gz1 = load_tree("gz1")
    assert of(gz1, "morphology.clockwise_spiral") == "clockwise spiral"
    assert of(gz1, "morphology.dont_know") == "type unclear"
    assert of(class_tree(["ring galaxy", "disc"]), "label.ring_galaxy") == "ring galaxy"


def test_without_a_phrase_the_text_or_the_question_is_said() -> None:
    answers = (("y", "yes"), ("n", "no"), ("z", "None"), ("two", "2"), ("faint", "faint halo"))
    question = Question("tidal_tail", "?", tuple(Answer(key, text, key) for key, text in answers))
    assert [phrase_of(question, answer) for answer in question.answers] == [
        "tidal tail", "no tidal tail", "no tidal tail", "tidal tail: 2", "faint halo",
    ]  # fmt: skip


def test_a_galaxy_without_votes_has_none(gz2: DecisionTree) -> None:
    fractions = np.random.default_rng(0).random((3, 37))
    fractions[1, 4] = np.nan
    texts = descriptions(gz2, fractions)
    assert [bool(text) for text in texts] == [True, False, True]
    assert descriptions(gz2, fractions[:0]) == ()


@pytest.mark.parametrize("name", ["gz2", "gz_decals", "gz1"])
def test_many_galaxies_at_once_take_the_path_of_each(name: str) -> None:
    tree = load_tree(name)
    logits = np.random.default_rng(1).normal(0, 2, (300, len(tree.columns)))
    fractions = cumulative_from_conditional(conditional_from_logits(logits, tree), tree)
    fractions[0] = 0  # ties
    fractions[1, 2] = np.nan
    at_once = majority_answers(tree, fractions)
    for row, chosen in zip(fractions, at_once, strict=True):
        assert np.flatnonzero(chosen).tolist() == sorted(at for _, at in majority_path(tree, row))


def test_a_question_with_a_parent_is_reached_by_it_alone(gz2: DecisionTree) -> None:
    """A tree whose table has parents but no order of questions, as a catalogue's may be."""
    bare = tuple(replace(q, answers=tuple(replace(a, next=None) for a in q.answers)) for q in gz2.questions)
    tree = replace(gz2, questions=bare)
    fractions = np.random.default_rng(2).random((200, 37))
    for row, chosen in zip(fractions, majority_answers(tree, fractions), strict=True):
        assert np.flatnonzero(chosen).tolist() == sorted(at for _, at in majority_path(tree, row))


def changed(tree: DecisionTree, phrases: dict[str, object]) -> DecisionTree:
    data = tree.to_dict()
    for question in data["questions"]:
        for answer in question["answers"]:
            if (name := f"{question['key']}.{answer['key']}") in phrases:
                answer["phrase"] = phrases[name]
    return DecisionTree.from_dict(data)


def test_phrases_come_back_and_make_no_other_tree(gz2: DecisionTree) -> None:
    assert DecisionTree.from_dict(gz2.to_dict()).to_dict() == gz2.to_dict()
    other = changed(gz2, {"bar.yes": "with a bar", "odd.no": ""})
    assert other == gz2
    assert of(other, "smooth_or_features.smooth", "rounded.in_between", "odd.no") == "smooth, in between"


@pytest.mark.parametrize(("phrases", "message"), [
    ({"bar.yes": "{colour} bar"}, "bar/yes: phrase '{colour} bar': there is no question 'colour'"),
    ({"bar.yes": "{bar"}, "a place is written {question}"),
    ({"bar.yes": "bar}"}, "a place is written {question}"),
    ({"bar.yes": "{}"}, "a place is written {question}"),
    ({"bar.yes": "{bar} bar"}, "question 'bar': its phrases lead back to themselves"),
    ({"bar.yes": "{odd}", "odd.no": "{spiral}"}, "its phrases lead back to themselves"),
    ({"bar.yes": 5}, "'phrase' must be a text, not 5"),
])  # fmt: skip
def test_phrases_that_cannot_be_are_refused(gz2: DecisionTree, phrases: dict[str, object], message: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(message)):
        changed(gz2, phrases)
