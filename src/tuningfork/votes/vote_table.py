"""Vote table: the vote fractions of N galaxies for the A answers of a decision tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .clean_samples import classify
from .fractions import conditional_from_counts, conditional_from_cumulative, cumulative_from_conditional
from .tree import DecisionTree
from .values_kind import common_kind

__all__ = ["VoteTable"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class VoteTable:
    """Vote fractions of N galaxies, of volunteers or of a model.

    Parameters
    ----------
    tree : DecisionTree
        The answer axis follows its `columns`; its `values_kind` is that of the fractions.
    ids : (N,) texts
    fractions : (N, A) float64 in [0, 1]
        Cumulative fractions: the share of all volunteers who gave each answer. NaN where unknown.
    counts : (N, A) int64 or float64, or None
        How many volunteers gave each answer: whole numbers, but where votes are weighted; NaN where unknown. None if
        no galaxy's are known.

    Raises
    ------
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> from tuningfork.votes.tree_files import load_tree
    >>> table = VoteTable(load_tree("gz1"), ("a", "b"), np.full((2, 6), 1 / 6))
    >>> len(table), table.select([1]).ids
    (2, ('b',))
    """

    tree: DecisionTree
    ids: tuple[str, ...]
    fractions: Floats
    counts: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.tree.columns))
        for name, array in (("fractions", self.fractions), ("counts", self.counts)):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} of {shape[0]} galaxies and {shape[1]} answers have shape {array.shape}")

    def __repr__(self) -> str:
        counted = ", with counts" if self.counts is not None else ""
        return f"<VoteTable: {len(self)} galaxies × {len(self.tree.columns)} answers of {self.tree.title}{counted}>"

    @classmethod
    def from_counts(cls, tree: DecisionTree, ids: Sequence[str], counts: ArrayLike) -> VoteTable:
        """Return the table of counted votes (N, A), raw; NaN where nobody answered a question without parent."""
        counts = np.asarray(counts, np.int64).reshape(-1, len(tree.columns))
        tree = tree.with_kind("raw", "counted votes")
        return cls(tree, tuple(ids), cumulative_from_conditional(conditional_from_counts(counts, tree), tree), counts)

    @classmethod
    def concatenated(cls, tables: Sequence[VoteTable]) -> VoteTable:
        """Return one or more tables of one tree as one; counts are kept if all have them.

        Raises
        ------
        ValueError
            If their fractions are of different kinds.
        """
        kind = common_kind(table.values_kind for table in tables)
        tree = next((table.tree for table in tables if table.values_kind == kind), tables[0].tree)
        counts = [table.counts for table in tables if table.counts is not None]
        return cls(
            tree,
            tuple(id_ for table in tables for id_ in table.ids),
            np.concatenate([table.fractions for table in tables]),
            np.concatenate(counts) if len(counts) == len(tables) else None,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def values_kind(self) -> str:
        """What the fractions are: raw, weighted, debiased or unknown."""
        return self.tree.values_kind

    @cached_property
    def row_of(self) -> dict[str, int]:
        """ID → row."""
        return {id_: row for row, id_ in enumerate(self.ids)}

    @cached_property
    def conditional(self) -> Floats:
        """(N, A) fraction of those who reached the question that gave each answer; NaN where nobody did."""
        return conditional_from_cumulative(self.fractions, self.tree)

    @cached_property
    def classes(self) -> NDArray[np.int8]:
        """(N,) class by the clean-sample rules; negative where they decide none, see `clean_samples.Status`."""
        return classify(self.fractions, self.tree)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """(N,) whether all fractions of the galaxy are known."""
        return np.logical_not(np.any(np.isnan(self.fractions), 1))

    def select(self, rows: Sequence[int] | NDArray[np.integer] | slice) -> VoteTable:
        """Return the table of these rows, in this order."""
        at = np.arange(len(self))[rows]
        counts = None if self.counts is None else self.counts[at]
        return VoteTable(self.tree, tuple(self.ids[row] for row in at), self.fractions[at], counts)
