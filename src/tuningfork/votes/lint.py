"""What a label table is worth: its broken sums, unknown columns and classes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..tables import Column, RowError, arrow_schema, ucd
from . import fractions as votes
from .label_table import VoteTable, read_votes
from .tree import DecisionTree

__all__ = ["ClassCounts", "Lint", "class_counts", "lint"]


@dataclass(frozen=True)
class Lint:
    """What is wrong with a label table, and what is merely unknown."""

    table: VoteTable
    broken: tuple[votes.BrokenSum, ...]
    unknown: dict[str, int]
    several_classes: dict[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Plain types; rows by their ID."""
        return {
            "file": self.table.path,
            "rows": len(self.table.ids) + len(self.table.errors),
            "complete_rows": int((~np.isnan(self.table.values).any(1)).sum()),
            "unknown_cells": self.unknown,
            "ignored_columns": list(self.table.extra_columns),
            "unusable_rows": [
                {"row": e.row, "id": e.id, "column": e.column, "reason": e.reason} for e in self.table.errors
            ],
            "broken_sums": [
                {"id": self.table.ids[b.row], "question": b.question, "should_equal": b.parent or 1, "off_by": b.off_by}
                for b in self.broken
            ],
            "several_classes": {id_: list(classes) for id_, classes in self.several_classes.items()},
        }


def lint(path: str | os.PathLike[str], tree: DecisionTree, tolerance: float = votes.SUM_TOLERANCE) -> Lint:
    """Read a label table and judge it. Raises CatalogError if it cannot be read as one."""
    table = read_votes(path, tree)
    cumulative = votes.cumulative_from(table.values, tree)
    fits = votes.class_fits(cumulative, tree) == 1
    names = np.array([rule.key for rule in tree.classes])
    blanks = np.isnan(table.values).sum(0)
    return Lint(
        table,
        tuple(votes.broken_sums(cumulative, tree, tolerance)),
        {column: int(n) for column, n in zip(tree.columns, blanks, strict=True) if n},
        {table.ids[row]: tuple(names[fits[row]].tolist()) for row in np.flatnonzero(fits.sum(1) > 1)},
    )


@dataclass(frozen=True)
class ClassCounts:
    """The class of every galaxy of a label table by the tree's rules: `classes` (N,) as `votes.classify` gives."""

    tree: DecisionTree
    ids: tuple[str, ...]
    classes: NDArray[np.int8]
    errors: tuple[RowError, ...]

    def counts(self) -> dict[str, int]:
        """Galaxies by class, in the rules' order, then unclassified and undecided."""
        out = {rule.name: int((self.classes == c).sum()) for c, rule in enumerate(self.tree.classes)}
        for status in (votes.Status.UNCLASSIFIED, votes.Status.UNDECIDED):
            out[status.label] = int((self.classes == status).sum())
        return out

    def to_table(self) -> pa.Table:
        """ID, `class` (null if there is none) and `status`."""
        schema = arrow_schema(
            [
                Column(self.tree.id_columns[0], pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER),
                Column("class", pa.int8(), "Class by the clean-sample rules: "
                       + ", ".join(f"{c} {rule.name}" for c, rule in enumerate(self.tree.classes)), ucd=ucd.CLASS),
                Column("status", pa.string(), "classified; unclassified: fits no rule; undecided: a rule over "
                       "unknown columns may fit", ucd=ucd.STATUS),
            ]
        )  # fmt: skip
        words = [votes.Status(min(int(c), 0)).label for c in self.classes]
        numbers = pa.array(self.classes, mask=self.classes < 0)
        return pa.table([pa.array(list(self.ids)), numbers, pa.array(words)], schema=schema)


def class_counts(path: str | os.PathLike[str], tree: DecisionTree) -> ClassCounts:
    """Classes of a label table. Raises CatalogError if it cannot be read as one."""
    table = read_votes(path, tree)
    return ClassCounts(tree, table.ids, votes.classify(votes.cumulative_from(table.values, tree), tree), table.errors)
