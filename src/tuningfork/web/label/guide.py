"""What the labelling page explains: each question and answer in words, and a simulated galaxy that shows it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from ...images.encode import jpeg
from ...images.preprocess import Preprocess
from ...simulation import render
from ...simulation.examples import answer_example
from ...votes.tree import DecisionTree
from ...votes.tree_files import load_tree

__all__ = ["EXAMPLE_SIDE", "AnswerGuide", "QuestionGuide", "example_jpeg", "guide"]

#: Pixels of an example, and the part of the frame that it shows.
EXAMPLE_SIDE, _CROP = 144, 0.45
#: Questions of other Galaxy Zoo trees → the question of Galaxy Zoo 2 that asks the same.
_QUESTIONS = {
    "smooth_or_featured": "smooth_or_features",
    "disk_edge_on": "edge_on",
    "has_spiral_arms": "spiral",
    "bulge_size": "bulge_prominence",
    "how_rounded": "rounded",
    "edge_on_bulge": "bulge_shape",
    "spiral_winding": "arms_winding",
    "spiral_arm_count": "arms_number",
}
#: Answers of other trees → the same answer of Galaxy Zoo 2; those that differ in degree have none.
_ANSWERS = {
    ("smooth_or_features", "featured_or_disk"): "features_or_disk",
    ("smooth_or_features", "artifact"): "star_or_artifact",
    ("smooth_or_features", "star_or_artifact"): "star_or_artifact",
    ("rounded", "round"): "completely_round",
    ("bar", "strong"): "yes",
    ("bulge_prominence", "none"): "no_bulge",
    ("bulge_shape", "none"): "no_bulge",
    ("odd", "none"): "no",
}


@dataclass(frozen=True, slots=True)
class AnswerGuide:
    """An answer in words ("" where nothing is known), and the column of Galaxy Zoo 2 that has an example, or ""."""

    text: str = ""
    column: str = ""


@dataclass(frozen=True, slots=True)
class QuestionGuide:
    """A question in words, and its answers by key."""

    text: str
    answers: dict[str, AnswerGuide]


@lru_cache(maxsize=8)
def guide(tree: DecisionTree) -> dict[str, QuestionGuide]:
    """Explain the questions of a tree by their keys, as far as they are asked in Galaxy Zoo 2 too.

    Examples
    --------
    >>> guide(load_tree("gz_decals"))["how_rounded"].answers["round"].column
    'Class7.1'
    """
    known = {(q.key, a.key): a.column for q in load_tree("gz2").questions for a in q.answers}
    texts = _explanations()
    out = {}
    for question in tree.questions:
        key = _QUESTIONS.get(question.key, question.key)
        if key not in texts:
            continue
        answers = {}
        for answer in question.answers:
            own = _ANSWERS.get((key, answer.key), answer.key)
            if (key, own) in known:
                answers[answer.key] = AnswerGuide(texts[key].get(own, ""), known[key, own])
        if answers:
            out[question.key] = QuestionGuide(texts[key]["help"], answers)
    return out


@lru_cache(maxsize=64)
def example_jpeg(column: str) -> bytes:
    """The simulated galaxy that shows an answer of Galaxy Zoo 2 most clearly, as a small JPEG file.

    Parameters
    ----------
    column : str
        Such as ``Class3.1``.
    """
    small = Preprocess(crop=_CROP, size=EXAMPLE_SIDE).resized(render(answer_example(column)))
    return jpeg(small, quality=85)


@cache
def _explanations() -> dict[str, dict[str, str]]:
    text = (resources.files("tuningfork.web.label") / "explanations.toml").read_text("utf-8")
    return tomllib.loads(text)
