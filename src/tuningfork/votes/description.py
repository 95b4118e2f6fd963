"""Descriptions in words: what the majority of the volunteers say of a galaxy, such as "smooth, completely round".

Each answer of a tree has a phrase, part of the tree's data; those of the answers on the majority's path are joined by
commas. A phrase may have places for others: with ``phrase = "{bar} spiral"`` the answer to the question `bar` is not
listed by itself but put there, "barred spiral"; nothing if `bar` is not on the path. An empty phrase says nothing.
Without a phrase, an answer is described by its text, or, if that says nothing by itself (yes, no, none, a number), by
its question's key, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .questions import PLACE, Answer, Question
from .traversal import majority_answers, majority_path
from .tree import DecisionTree

__all__ = ["describe", "descriptions", "phrase_of"]


def phrase_of(question: Question, answer: Answer) -> str:
    """Return what an answer adds to a description: its phrase, or what its text suggests.

    Examples
    --------
    >>> from tuningfork.votes.tree import Answer, Question
    >>> question = Question("tidal_debris", "Is there tidal debris?", (Answer("y", "yes", "Y"), Answer("n", "no", "N")))
    >>> [phrase_of(question, answer) for answer in question.answers]
    ['tidal debris', 'no tidal debris']
    """
    if answer.phrase is not None:
        return answer.phrase
    topic, text = question.key.replace("_", " "), answer.text.strip()
    if text.casefold() == "yes":
        return topic
    if text.casefold() in ("no", "none"):
        return f"no {topic}"
    return text if any(map(str.isalpha, text)) else f"{topic}: {text}"


def describe(steps: Sequence[tuple[Question, Answer]]) -> str:
    """Return the description of a path: questions and the answers to them, each question at most once."""
    phrases = {question.key: phrase_of(question, answer) for question, answer in steps}
    used = {name for phrase in phrases.values() for name in PLACE.findall(phrase)}

    def filled(phrase: str) -> str:
        return " ".join(PLACE.sub(lambda place: filled(phrases.get(place[1], "")), phrase).split())

    return ", ".join(filter(None, (filled(phrase) for key, phrase in phrases.items() if key not in used)))


def descriptions(tree: DecisionTree, fractions: NDArray[np.float64]) -> tuple[str, ...]:
    """Return the description of each galaxy by the path of its most frequent answers.

    Parameters
    ----------
    fractions : (N, A) in [0, 1]
        Cumulative or conditional fractions.

    Returns
    -------
    (N,) texts
        "" of a galaxy with a NaN.

    Examples
    --------
    >>> from tuningfork.votes.tree_files import load_tree
    >>> tree = load_tree("gz2")
    >>> smooth = [[float(a.key in ("smooth", "in_between", "no")) for a in tree.answers]]
    >>> descriptions(tree, np.array(smooth))
    ('smooth, in between, nothing odd',)
    """
    texts: dict[bytes, str] = {}
    out = []
    for row, chosen in enumerate(majority_answers(tree, fractions)):
        key = chosen.tobytes()
        if key not in texts:
            steps = [(question, tree.answers[at]) for question, at in majority_path(tree, fractions[row])]
            texts[key] = describe(steps)
        out.append(texts[key])
    return tuple(out)
