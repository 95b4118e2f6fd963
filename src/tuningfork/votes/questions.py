"""Questions, answers and clean-sample rules of a decision tree: as data, from TOML, and whether they fit together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._utils.errors import TuningforkError

__all__ = [
    "PLACE",
    "Answer",
    "ClassRule",
    "Question",
    "SchemaError",
    "check_flow",
    "check_phrases",
    "class_rule_from_dict",
    "question_from_dict",
    "required_text",
]

#: In an answer's phrase, the place of the phrase of another question's answer.
PLACE = re.compile(r"\{(\w+)\}")


class SchemaError(TuningforkError, ValueError):
    """A tree description that cannot be used; the message names the entry and the remedy."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `column` is its name in the campaign's label table, `next` the question it leads to.

    `phrase` is what it adds to a description of the galaxy, see `description`; None: what its text suggests.
    Two trees that differ in nothing else are the same tree.
    """

    key: str
    text: str
    column: str
    next: str | None = None
    phrase: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Question:
    """One question. Its answers' *cumulative* fractions sum to that of the column `parent`, or to 1."""

    key: str
    text: str
    answers: tuple[Answer, ...]
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class ClassRule:
    """A clean-sample rule on cumulative columns: every threshold of `all_of`, and one of `any_of` if there is one.

    `description` says what the name means where it is not what an astronomer expects; "": the name says it.
    """

    key: str
    name: str
    all_of: tuple[tuple[str, float], ...]
    any_of: tuple[tuple[str, float], ...] = ()
    description: str = field(default="", compare=False)

    @property
    def meaning(self) -> str:
        """The name, and what it means."""
        return f"{self.name} ({self.description})" if self.description else self.name


def required_text(entry: Mapping[str, Any], key: str) -> str:
    """An entry that must be a text. Raises KeyError without it, SchemaError if it is no text or empty."""
    value = entry[key]
    if not isinstance(value, str) or not value:
        raise SchemaError(f"tree: {key!r} must be a text that is not empty, not {value!r}")
    return value


def _phrase(entry: Mapping[str, Any]) -> str | None:
    value = entry.get("phrase")
    if value is not None and not isinstance(value, str):
        raise SchemaError(f"tree: 'phrase' must be a text, not {value!r}")
    return value


def question_from_dict(entry: Mapping[str, Any]) -> Question:
    """A question of a tree's TOML file. Raises KeyError without a required entry, SchemaError for a wrong one."""
    return Question(
        key=required_text(entry, "key"),
        text=required_text(entry, "text"),
        parent=entry.get("parent"),
        answers=tuple(
            Answer(
                required_text(a, "key"), required_text(a, "text"), required_text(a, "column"), a.get("next"), _phrase(a)
            )
            for a in entry["answers"]
        ),
    )


def class_rule_from_dict(entry: Mapping[str, Any]) -> ClassRule:
    """A class of a tree's TOML file. Raises KeyError without a required entry, SchemaError for a wrong one."""

    def thresholds(part: str) -> tuple[tuple[str, float], ...]:
        return tuple((str(column), float(least)) for column, least in entry.get(part, {}).items())

    description = entry.get("description", "")
    if not isinstance(description, str):
        raise SchemaError(f"tree: 'description' must be a text, not {description!r}")
    key, name = required_text(entry, "key"), required_text(entry, "name")
    return ClassRule(key, name, thresholds("all_of"), thresholds("any_of"), description)


def check_flow(questions: Sequence[Question]) -> None:
    """Walk the questions in the order of `next`. Raises SchemaError if one leads back to itself."""
    by_key = {question.key: question for question in questions}
    state: dict[str, int] = {}

    def visit(key: str) -> None:
        if state.get(key) == 1:
            raise SchemaError(f"question {key!r} leads back to itself")
        if state.get(key) == 2:
            return
        state[key] = 1
        for answer in by_key[key].answers:
            if answer.next is not None:
                visit(answer.next)
        state[key] = 2

    for question in questions:
        visit(question.key)


def check_phrases(questions: Sequence[Question]) -> None:
    """Raise SchemaError if a place of a phrase is no question's, or its phrases lead back to it."""
    keys = {question.key for question in questions}
    places: dict[str, set[str]] = {key: set() for key in keys}
    for question in questions:
        for answer in question.answers:
            if answer.phrase is None:
                continue
            names = set(PLACE.findall(answer.phrase))
            where = f"{question.key}/{answer.key}: phrase {answer.phrase!r}"
            if names - keys:
                raise SchemaError(f"{where}: there is no question {min(names - keys)!r}")
            if set("{}") & set(PLACE.sub("", answer.phrase)):
                raise SchemaError(f"{where}: a place is written {{question}}, with the key of a question")
            places[question.key] |= names
    reached = {key: set(names) for key, names in places.items()}
    for _ in keys:
        reached = {key: names.union(*(places[name] for name in names)) for key, names in reached.items()}
    circular = sorted(key for key, names in reached.items() if key in names)
    if circular:
        raise SchemaError(f"question {circular[0]!r}: its phrases lead back to themselves")
