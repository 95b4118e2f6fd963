"""Vote counts of a campaign, and the label table that follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..tables import Column, RowError, arrow_schema
from ..votes.class_labels import LABEL, OWN
from ..votes.fractions import conditional_from_counts
from ..votes.label_table import TOTAL
from ..votes.tree import DecisionTree
from ..votes.vote_table import VoteTable
from .records import AnswerRecord

__all__ = ["Tally", "tally", "votes_table"]


@dataclass(frozen=True, eq=False)
class Tally:
    """Vote counts of N galaxies, in the order of their first answer.

    Parameters
    ----------
    votes : VoteTable
        With the number of people who gave each answer.
    people : (N,) int64
        Number of people who answered all their questions; only these are counted.
    """

    votes: VoteTable
    people: NDArray[np.int64]

    @property
    def ids(self) -> tuple[str, ...]:
        """(N,) identifiers of the galaxies."""
        return self.votes.ids

    @property
    def counts(self) -> NDArray[np.int64]:
        """(N, A) number of people who gave each answer of the tree."""
        assert self.votes.counts is not None
        return self.votes.counts


def tally(answers: Iterable[AnswerRecord], tree: DecisionTree) -> Tally:
    """Count the valid answers of all who finished the galaxy."""
    columns = {
        (question.key, answer.key): tree.positions[answer.column]
        for question in tree.questions
        for answer in question.answers
    }
    counts: dict[str, NDArray[np.int64]] = {}
    people: dict[str, set[str]] = {}
    for each in answers:
        if each.finished:
            row = counts.setdefault(each.galaxy, np.zeros(len(tree.columns), np.int64))
            row[columns[each.question, each.answer]] += 1
            people.setdefault(each.galaxy, set()).add(each.person)
    return Tally(
        VoteTable.from_counts(tree, tuple(counts), list(counts.values())),
        np.array([len(people[id_]) for id_ in counts], np.int64),
    )


def votes_table(counted: Tally, tree: DecisionTree, source: str = "") -> tuple[pa.Table, list[RowError]]:
    """The label table that `train`, `lint` and `evaluate` read, in the kind of numbers that the tree declares.

    Cumulative fractions as in the table of Galaxy Zoo 2: the conditional fractions of each question times the
    fraction that reached it; 0 below an answer that nobody gave, blank where a question without parent was answered
    by nobody; and the number of volunteers. A tree of a user's own classes gives an ID and the `label` that most
    people chose instead.

    Returns
    -------
    table : Arrow table
    errors : list of RowError
        Galaxies whose class is tied; they are left out.
    """
    id_column = Column(tree.id_columns[0], pa.string(), "Identifier of the galaxy: the image file's name")
    if tree.name == OWN:
        return _class_table(counted, tree, id_column, source)
    if tree.values == "cumulative":
        numbers, description = counted.votes.fractions, "Cumulative fraction of {}, 0 to 1"
    elif tree.values == "conditional":
        numbers = conditional_from_counts(counted.counts, tree)
        description = "Share of {} among those who reached the question, 0 to 1"
    else:
        numbers, description = counted.counts.astype(np.float64), "People who answered {}"
    columns = [
        Column(answer.column, pa.float64(), description.format(f'"{answer.text}" to "{question.text}"'))
        for question in tree.questions
        for answer in question.answers
    ]
    values = [pa.array(column, mask=np.isnan(column)) for column in numbers.T]
    ids, people = pa.array(counted.ids, pa.string()), pa.array(counted.people, pa.int64())
    total = Column(TOTAL, pa.int64(), "People who answered all their questions; only these are counted")
    about = {"values_kind": counted.votes.values_kind, "values_kind_source": counted.votes.tree.values_kind_source}
    return pa.table([ids, *values, people], schema=arrow_schema([id_column, *columns, total], about)), []


def _class_table(counted: Tally, tree: DecisionTree, id_column: Column, source: str) -> tuple[pa.Table, list[RowError]]:
    rows, errors = [], []
    for id_, counts in zip(counted.ids, counted.counts, strict=True):
        names = [tree.columns[column] for column in np.flatnonzero(counts == counts.max())]
        if len(names) == 1:
            rows.append((id_, names[0]))
        else:
            errors.append(RowError(source, 0, id_, LABEL, f"a tie of {' and '.join(names)}; ask one more person"))
    schema = arrow_schema([id_column, Column(LABEL, pa.string(), "The class that most people chose")])
    return pa.table([[row[at] for row in rows] for at in (0, 1)], schema=schema), errors
