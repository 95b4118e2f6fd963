"""A decision tree in the order in which its branches hang together, a line for each question and answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .tree import DecisionTree

__all__ = ["FlowRow", "flow_rows"]


@dataclass(frozen=True, slots=True)
class FlowRow:
    """A question (`answer` and `column` None) or one of its answers, `depth` branches below the root."""

    depth: int
    text: str
    column: str | None = None
    answer: str | None = None


def flow_rows(tree: DecisionTree) -> list[FlowRow]:
    """Each question stands once, below the answer whose fraction its answers sum to."""

    def below(parent: str | None, depth: int) -> Iterator[FlowRow]:
        for question in tree.questions:
            if question.parent != parent:
                continue
            yield FlowRow(depth, question.key.replace("_", " ") + "?")
            for answer in question.answers:
                yield FlowRow(depth, answer.text, answer.column, answer.key)
                yield from below(answer.column, depth + 1)

    return list(below(None, 0))
