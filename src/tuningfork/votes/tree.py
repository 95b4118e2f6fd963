"""Decision trees as data: a campaign's questions, their answers and its clean-sample rules, frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .._utils.text import counted
from .questions import (
    Answer,
    ClassRule,
    Question,
    SchemaError,
    check_flow,
    check_phrases,
    class_rule_from_dict,
    question_from_dict,
    required_text,
)
from .values_kind import KINDS, UNKNOWN

__all__ = ["Answer", "ClassRule", "DecisionTree", "Question", "SchemaError"]

#: What the columns of a campaign's label table hold.
VALUES = ("cumulative", "conditional", "counts")
MAX_ANSWERS = 1_000


@dataclass(frozen=True, repr=False)
class DecisionTree:
    """A decision tree of questions. Axes of length A follow the order of `columns` everywhere.

    Parameters
    ----------
    name, title, reference : str
        Its short name, its full name, and the paper that describes it.
    questions : tuple of Question
        A parent comes before its question.
    classes : tuple of ClassRule
        The clean-sample classes, if there are any.
    values : str
        What a label table of this tree contains: "cumulative", "conditional" or "counts".
    id_columns : tuple of str
        Names that the identifier's column may have.
    total_column : str
        The column of the number of volunteers, where a table of fractions has one: with it votes can be counted.
    values_kind, values_kind_source : str
        What the fractions of the columns are, one of `values_kind.KINDS`, and who says so. Trees that differ in
        nothing else are equal.

    Raises
    ------
    SchemaError
        If keys or columns repeat, a reference points nowhere, a parent does not come before its
        question, or the flow of questions has a cycle.

    Examples
    --------
    >>> from tuningfork import load_tree
    >>> tree = load_tree("gz2")
    >>> [answer.text for answer in tree.question("bar").answers]
    ['yes', 'no']
    """

    name: str
    title: str
    reference: str
    questions: tuple[Question, ...]
    classes: tuple[ClassRule, ...] = ()
    values: str = "cumulative"
    id_columns: tuple[str, ...] = ("GalaxyID", "GalaxyId")
    total_column: str = field(default="", compare=False)
    values_kind: str = field(default=UNKNOWN, compare=False)
    values_kind_source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check(self)

    def __repr__(self) -> str:
        counts = (counted(len(self.questions), "question"), counted(len(self.answers), "answer"))
        classes = f", {counted(len(self.classes), 'class', 'classes')}" if self.classes else ""
        return f"<DecisionTree {self.name!r}: {self.title}; {', '.join(counts)}{classes}>"

    def __str__(self) -> str:
        lines = [f"{self.title} ({self.name}): {self.reference}".removesuffix(": ")]
        for question in self.questions:
            lines.append(f"{question.key}: {question.text}")
            lines += [f"  {each.text}" + (f" → {each.next}" if each.next else "") for each in question.answers]
        return "\n".join(lines)

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """All answers of all questions, in column order."""
        return tuple(answer for question in self.questions for answer in question.answers)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The label table's column names, in order."""
        return tuple(answer.column for answer in self.answers)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Column of the label table → its position on the answer axis."""
        return {column: position for position, column in enumerate(self.columns)}

    @cached_property
    def answer_names(self) -> tuple[str, ...]:
        """Names in words of the answers, such as ``bar_yes``."""
        return tuple(f"{question.key}_{answer.key}" for question in self.questions for answer in question.answers)

    @cached_property
    def fraction_names(self) -> tuple[str, ...]:
        """Names in words of the conditional fractions, such as ``bar_yes_fraction``."""
        return tuple(f"{name}_fraction" for name in self.answer_names)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """For each question, where its answers stand on the answer axis."""
        out, start = [], 0
        for question in self.questions:
            out.append(slice(start, start + len(question.answers)))
            start = out[-1].stop
        return tuple(out)

    @cached_property
    def parents(self) -> tuple[int | None, ...]:
        """For each question, the position of its parent column on the answer axis, or None."""
        return tuple(
            None if question.parent is None else self.positions[question.parent] for question in self.questions
        )

    @cached_property
    def question_numbers(self) -> tuple[int, ...]:
        """For each answer, the number of its question."""
        return tuple(number for number, question in enumerate(self.questions) for _ in question.answers)

    @cached_property
    def levels(self) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
        """Answers below others, level by level (their positions on the answer axis, and their parents' positions)."""
        depths: list[int] = []
        for part, parent in zip(self.slices, self.parents, strict=True):
            depths += [0 if parent is None else depths[parent] + 1] * (part.stop - part.start)
        levels = []
        for depth in range(1, max(depths) + 1):
            places = tuple(place for place, each in enumerate(depths) if each == depth)
            above = (self.parents[self.question_numbers[place]] for place in places)
            levels.append((places, tuple(parent for parent in above if parent is not None)))
        return tuple(levels)

    def question(self, key: str) -> Question:
        """Return a question by its key.

        Parameters
        ----------
        key : str
            Such as ``bar``.

        Raises
        ------
        KeyError
            If there is no such question.
        """
        for question in self.questions:
            if question.key == key:
                return question
        raise KeyError(key)

    def with_kind(self, kind: str, source: str = "") -> DecisionTree:
        """Return the tree for vote fractions of another kind.

        Parameters
        ----------
        kind : str
            One of `values_kind.KINDS`.
        source : str
            Who says so.
        """
        return replace(self, values_kind=kind, values_kind_source=source)

    def id_column(self, names: Sequence[str], *first: str) -> str | None:
        """The column of identifiers of a table with the columns `names`, in any case where none is spelled so.

        Parameters
        ----------
        first : str
            Names that are looked for before those of the campaign.
        """
        wanted = (*first, *self.id_columns)
        exact = [name for name in wanted if name in names]
        lowered = [name for each in wanted for name in names if name.strip().lower() == each.lower()]
        return next(iter([*exact, *lowered]), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, the same form as a tree's TOML file; `from_dict` reads it back."""
        return {
            "name": self.name,
            "title": self.title,
            "reference": self.reference,
            "values": self.values,
            "id_columns": list(self.id_columns),
            # Only where they are known, so that trees written before still have their digest.
            **({"total_column": self.total_column} if self.total_column else {}),
            **({"values_kind": self.values_kind} if self.values_kind != UNKNOWN else {}),
            **({"values_kind_source": self.values_kind_source} if self.values_kind_source else {}),
            "questions": [
                {
                    "key": question.key,
                    "text": question.text,
                    **({"parent": question.parent} if question.parent else {}),
                    "answers": [
                        {
                            "key": answer.key,
                            "text": answer.text,
                            "column": answer.column,
                            **({"next": answer.next} if answer.next else {}),
                            **({} if answer.phrase is None else {"phrase": answer.phrase}),
                        }
                        for answer in question.answers
                    ],
                }
                for question in self.questions
            ],
            "classes": [
                {
                    "key": rule.key,
                    "name": rule.name,
                    "all_of": dict(rule.all_of),
                    "any_of": dict(rule.any_of),
                    **({"description": rule.description} if rule.description else {}),
                }
                for rule in self.classes
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DecisionTree:
        """Make a tree from plain lists and dicts.

        Parameters
        ----------
        data : mapping
            As `to_dict` returns it, or a TOML file of a tree.

        Raises
        ------
        SchemaError
            If it is not a valid tree; the message names the entry.
        """
        try:
            return cls(
                name=required_text(data, "name"),
                title=required_text(data, "title"),
                reference=str(data.get("reference", "")),
                values=str(data.get("values", "cumulative")),
                id_columns=tuple(str(c) for c in data.get("id_columns", ("GalaxyID", "GalaxyId"))),
                total_column=str(data.get("total_column", "")),
                values_kind=str(data.get("values_kind", UNKNOWN)),
                values_kind_source=str(data.get("values_kind_source", "")),
                questions=tuple(question_from_dict(entry) for entry in data["questions"]),
                classes=tuple(class_rule_from_dict(entry) for entry in data.get("classes", ())),
            )
        except KeyError as error:
            raise SchemaError(f"tree: entry {error} is missing") from None
        except (TypeError, AttributeError) as error:
            raise SchemaError(f"tree: an entry has the wrong form ({error})") from None


def _check(tree: DecisionTree) -> None:
    if tree.values not in VALUES:
        raise SchemaError(f"tree {tree.name}: values must be one of {', '.join(VALUES)}, not {tree.values!r}")
    if tree.values_kind not in KINDS:
        raise SchemaError(f"tree {tree.name}: values_kind must be one of {', '.join(KINDS)}, not {tree.values_kind!r}")
    if not 0 < len(tree.answers) <= MAX_ANSWERS:
        raise SchemaError(f"tree {tree.name}: {len(tree.answers)} answers; between 1 and {MAX_ANSWERS} are allowed")
    for what, names in (
        ("question", [question.key for question in tree.questions]),
        ("column", list(tree.columns)),
        ("fraction", list(tree.fraction_names)),
        ("class", [rule.key for rule in tree.classes]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SchemaError(f"tree {tree.name}: {what} {twice[0]!r} appears twice")
    earlier: set[str] = set()
    keys = {question.key for question in tree.questions}
    for question in tree.questions:
        if not question.answers:
            raise SchemaError(f"question {question.key!r} has no answers")
        if question.parent is not None and question.parent not in earlier:
            raise SchemaError(
                f"question {question.key!r}: parent {question.parent!r} is not a column of an earlier question"
            )
        for answer in question.answers:
            earlier.add(answer.column)
            if answer.next is not None and answer.next not in keys:
                raise SchemaError(f"{question.key}/{answer.key}: next question {answer.next!r} does not exist")
    for rule in tree.classes:
        for column, _ in (*rule.all_of, *rule.any_of):
            if column not in earlier:
                raise SchemaError(f"class {rule.key!r}: column {column!r} does not exist")
        if not rule.all_of and not rule.any_of:
            raise SchemaError(f"class {rule.key!r} has no threshold, so every galaxy would fit it")
    check_flow(tree.questions)
    check_phrases(tree.questions)
