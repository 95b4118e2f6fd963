"""Lint of label tables: broken sums, unknown cells, rows that fit several classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .clean_samples import class_fits
from .fractions import SUM_TOLERANCE, BrokenSum, broken_sums
from .label_table import LabelTable

__all__ = ["Lint", "lint"]


@dataclass(frozen=True)
class Lint:
    """What is wrong with a label table, and what is only unknown.

    Parameters
    ----------
    labels : LabelTable
        Its `errors` are the rows that cannot be used.
    broken : tuple of BrokenSum
        Questions whose fractions do not sum to their parent's.
    unknown : dict
        Column → number of blank cells, of columns that have any.
    several_classes : dict
        ID → keys of the classes whose rules the galaxy passes, of galaxies that pass more than one.
    """

    labels: LabelTable
    broken: tuple[BrokenSum, ...]
    unknown: dict[str, int]
    several_classes: dict[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Plain types; rows by their ID."""
        return {
            "file": self.labels.path,
            "rows": len(self.labels.ids) + len(self.labels.errors),
            "complete_rows": int((~np.isnan(self.labels.values).any(1)).sum()),
            "unknown_cells": self.unknown,
            "ignored_columns": list(self.labels.extra_columns),
            "unusable_rows": [
                {"row": e.row, "id": e.id, "column": e.column, "reason": e.reason} for e in self.labels.errors
            ],
            "broken_sums": [
                {
                    "id": self.labels.ids[b.row],
                    "question": b.question,
                    "should_equal": b.parent or 1,
                    "off_by": b.off_by,
                }
                for b in self.broken
            ],
            "several_classes": {id_: list(classes) for id_, classes in self.several_classes.items()},
        }


def lint(labels: LabelTable, tolerance: float = SUM_TOLERANCE) -> Lint:
    """Check a label table: broken sums, unknown cells, galaxies that fit several classes.

    Parameters
    ----------
    labels : LabelTable
    tolerance : float
        By how much a sum of fractions may be off.

    Returns
    -------
    Lint
    """
    tree, cumulative = labels.tree, labels.votes.fractions
    fits = class_fits(cumulative, tree) == 1
    names = np.array([rule.key for rule in tree.classes])
    blanks = np.isnan(labels.values).sum(0)
    return Lint(
        labels,
        tuple(broken_sums(cumulative, tree, tolerance)),
        {column: int(n) for column, n in zip(tree.columns, blanks, strict=True) if n},
        {labels.ids[row]: tuple(names[fits[row]].tolist()) for row in np.flatnonzero(fits.sum(1) > 1)},
    )
