"""One person's way down a decision tree: which question comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .tree import DecisionTree, Question

__all__ = ["next_question", "way"]


def next_question(tree: DecisionTree, given: Mapping[str, str]) -> Question | None:
    """The question to ask whoever gave these answers (question's key → answer's key), or None at the end."""
    return next((question for question in way(tree, given) if question.key not in given), None)


def way(tree: DecisionTree, given: Mapping[str, str]) -> Iterator[Question]:
    """The questions on the way of these answers, in the order asked, up to the first without an answer of each branch.

    The way begins with the first question and follows `Answer.next`. A question that no answer leads to is a
    beginning of its own, once its parent, if it has one, is among the answers.
    """
    led_to = {answer.next for answer in tree.answers}
    columns = {
        answer.column
        for question in tree.questions
        for answer in question.answers
        if given.get(question.key) == answer.key
    }
    seen: set[str] = set()
    for number, begin in enumerate(tree.questions):
        if number and (begin.key in led_to or begin.parent not in (None, *columns)):
            continue
        key: str | None = begin.key
        while key is not None and key not in seen:
            seen.add(key)
            question = tree.question(key)
            yield question
            key = next((answer.next for answer in question.answers if answer.key == given.get(key)), None)
