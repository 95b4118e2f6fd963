"""Traversal of a decision tree: the questions that a volunteer, or the majority, is led to, and their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tree import DecisionTree, Question

__all__ = ["OutlineRow", "majority_path", "next_question", "outline", "path", "topological_order"]


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
