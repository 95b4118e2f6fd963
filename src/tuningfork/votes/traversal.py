"""Traversal of a decision tree: the questions that a volunteer, or the majority, is led to, and their order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .tree import DecisionTree, Question

__all__ = [
    "OutlineRow",
    "majority_answers",
    "majority_path",
    "next_question",
    "outline",
    "path",
    "question_sources",
    "topological_order",
    "with_parents",
]


def path(tree: DecisionTree, answers: Mapping[str, str]) -> Iterator[Question]:
    """Iterate over the questions that these answers lead to, up to the first without an answer on each branch.

    The path begins with the first question and follows `Answer.next`. A question that no answer leads to is a
    beginning of its own; if it has a parent, once that answer is on the path.

    Parameters
    ----------
    answers : mapping of question key → answer key

    Examples
    --------
    >>> from tuningfork.votes.tree_files import load_tree
    >>> [question.key for question in path(load_tree("gz2"), {"smooth_or_features": "smooth"})]
    ['smooth_or_features', 'rounded']
    """
    targets = {answer.next for answer in tree.answers}
    chosen_columns: set[str] = set()
    visited: set[str] = set()
    for number, beginning in enumerate(tree.questions):
        if number and (beginning.key in targets or beginning.parent not in (None, *chosen_columns)):
            continue
        key: str | None = beginning.key
        while key is not None and key not in visited:
            visited.add(key)
            question = tree.question(key)
            yield question
            chosen = next((answer for answer in question.answers if answer.key == answers.get(key)), None)
            if chosen:
                chosen_columns.add(chosen.column)
            key = chosen.next if chosen else None


def next_question(tree: DecisionTree, answers: Mapping[str, str]) -> Question | None:
    """Return the question to ask after these answers (question key → answer key), or None at the end."""
    return next((question for question in path(tree, answers) if question.key not in answers), None)


def majority_path(tree: DecisionTree, fractions: NDArray[np.float64]) -> list[tuple[Question, int]]:
    """Return the questions on the path of the most frequent answers, each with its answer's position on the axis.

    Parameters
    ----------
    fractions : (A,) in [0, 1]
        Of one galaxy, cumulative or conditional: within a question they are proportional. With a NaN the path is
        empty.
    """
    if np.isnan(fractions).any():
        return []
    best = {
        question.key: part.start + int(np.argmax(fractions[part]))
        for question, part in zip(tree.questions, tree.slices, strict=True)
    }
    answers = {key: tree.answers[position].key for key, position in best.items()}
    return [(question, best[question.key]) for question in path(tree, answers)]


def majority_answers(tree: DecisionTree, fractions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether each answer is on the path of the most frequent answers, of many galaxies at once.

    Parameters
    ----------
    fractions : (N, A) in [0, 1]
        Cumulative or conditional: within a question they are proportional.

    Returns
    -------
    (N, A) bool
        The answers of `majority_path`; none of a galaxy with a NaN.

    Examples
    --------
    >>> from tuningfork.votes.tree_files import load_tree
    >>> tree = load_tree("gz2")
    >>> smooth = np.array([[float(a.key in ("smooth", "in_between", "no")) for a in tree.answers]])
    >>> [tree.answers[at].text for at in np.flatnonzero(majority_answers(tree, smooth)[0])]
    ['smooth', 'no', 'in between']
    """
    known = np.logical_not(np.isnan(fractions).any(-1))
    chosen = np.zeros(fractions.shape, bool)
    rows = np.arange(len(fractions))
    for part in tree.slices:
        chosen[rows, part.start + np.argmax(np.where(known[:, None], fractions[:, part], 0), -1)] = known
    for number, sources in question_sources(tree):
        chosen[:, tree.slices[number]] &= chosen[:, sources].any(-1, keepdims=True)
    return chosen


@lru_cache(maxsize=8)
def question_sources(tree: DecisionTree) -> tuple[tuple[int, list[int]], ...]:
    """Return the questions that not everybody reaches, by their positions, each with the answers that lead to it.

    A question comes after those whose answers lead to it. One that no answer leads to is reached by its parent.
    """
    sources: list[list[int]] = []
    for question, parent in zip(tree.questions, tree.parents, strict=True):
        leading = [position for position, answer in enumerate(tree.answers) if answer.next == question.key]
        sources.append(leading or ([] if parent is None else [parent]))
    sources[0] = []  # the first question is the beginning
    done: list[int] = []

    def visit(number: int, above: frozenset[int]) -> None:
        for before in (tree.question_numbers[position] for position in sources[number]):
            if before not in (*done, *above):
                visit(before, above | {number})
        if number not in done:
            done.append(number)

    for number in range(len(tree.questions)):
        visit(number, frozenset({number}))
    return tuple((number, sources[number]) for number in done if sources[number])


def topological_order(tree: DecisionTree) -> list[int]:
    """Return the questions' positions in an order in which each comes after all questions that lead to it."""
    position = {question.key: number for number, question in enumerate(tree.questions)}
    done: list[int] = []

    def visit(number: int) -> None:
        if number not in done:
            for answer in tree.questions[number].answers:
                if answer.next is not None:
                    visit(position[answer.next])
            done.append(number)

    for number in range(len(tree.questions)):
        visit(number)
    return done[::-1]


def with_parents(tree: DecisionTree, questions: Collection[str]) -> set[str]:
    """Return the keys of these questions and of all whose answers are their parents, up to the root.

    Examples
    --------
    >>> from tuningfork.votes.tree_files import load_tree
    >>> sorted(with_parents(load_tree("gz2"), ["bar"]))
    ['bar', 'edge_on', 'smooth_or_features']
    """
    out = set(questions)
    for question, parent in zip(reversed(tree.questions), reversed(tree.parents), strict=True):
        if question.key in out and parent is not None:
            out.add(tree.questions[tree.question_numbers[parent]].key)
    return out


@dataclass(frozen=True, slots=True)
class OutlineRow:
    """A question (`answer` and `column` None) or one of its answers, `depth` branches below the root."""

    depth: int
    text: str
    column: str | None = None
    answer: str | None = None


def outline(tree: DecisionTree) -> list[OutlineRow]:
    """Return the tree as indented rows: each question once, below its parent, the answer that it refines."""

    def below(parent: str | None, depth: int) -> Iterator[OutlineRow]:
        for question in tree.questions:
            if question.parent != parent:
                continue
            yield OutlineRow(depth, question.key.replace("_", " ") + "?")
            for answer in question.answers:
                yield OutlineRow(depth, answer.text, answer.column, answer.key)
                yield from below(answer.column, depth + 1)

    return list(below(None, 0))
