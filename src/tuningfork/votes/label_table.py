"""Label tables of campaigns, read cell by cell: the votes of galaxies, and the rows that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..tables import CatalogError, RowError, read_table
from ..tables.columns import about_table
from ..tables.identifiers import exact_ids
from ..tables.numbers import float_column
from .class_labels import tree_of_labels, with_votes
from .fractions import cumulative_from
from .tree import DecisionTree
from .values_kind import COUNTABLE, KINDS
from .vote_table import VoteTable

__all__ = ["TOTAL", "LabelTable", "labels_from_table", "read_labels"]

#: The column of the number of volunteers in exports of our own, whose fractions are counted votes.
TOTAL = "volunteers"

#: Published fractions are rounded; a cell may leave [0, 1] by as much.
RANGE_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class LabelTable:
    """A campaign's label table: the votes of its galaxies, and the rows that cannot be used.

    Parameters
    ----------
    path : str
        The file's name, for messages.
    votes : VoteTable
        The galaxies of all usable rows.
    values : (N, A) float64
        The same numbers as the file has them: cumulative or conditional fractions, or counts; NaN where blank.
    errors : tuple of RowError
        Rows that cannot be used.
    extra_columns : tuple of str
        Columns that are neither the ID nor one of the tree's; they are ignored.
    rows : (N,) tuple of int
        Places of the galaxies in the file, from 0.
    """

    path: str
    votes: VoteTable
    values: NDArray[np.float64]
    errors: tuple[RowError, ...] = ()
    extra_columns: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()

    @property
    def tree(self) -> DecisionTree:
        """The decision tree that the votes are of."""
        return self.votes.tree

    @property
    def ids(self) -> tuple[str, ...]:
        """(N,) identifiers of the usable rows."""
        return self.votes.ids

    def __len__(self) -> int:
        return len(self.votes)

    def __repr__(self) -> str:
        complete = int(self.votes.complete.sum())
        bad = f", {len(self.errors)} unusable rows" if self.errors else ""
        return f"<LabelTable {self.path!r}: {len(self)} galaxies, {complete} complete; {self.tree.title}{bad}>"


def read_labels(
    path: str | os.PathLike[str],
    tree: DecisionTree | str | Path = "gz2",
    *,
    learning: bool = False,
    values_kind: str = "",
) -> LabelTable:
    """Read a campaign's label table: an ID column and all columns of its decision tree, blank cells unknown.

    A row with a number outside its range, a cell that is no number, or an ID that came before is left out and
    reported in `errors`. For a tree of classes a column `label` stands for the votes; see `class_labels`.

    Parameters
    ----------
    path : str or PathLike
        CSV, Parquet, FITS, VOTable or ECSV, also compressed.
    tree : DecisionTree, or what `load_tree` takes
        By its name, a table with a column `label` and none of the tree's gets the tree of its own classes.
    learning : bool
        Whether a model will be trained on it: then a table with both votes and `label` is refused.
    values_kind : str
        What its fractions are: raw, weighted or debiased. Left out: what the table says of itself, else the tree.

    Raises
    ------
    CatalogError
        If the file cannot be read, a column is missing (the most similar name is suggested) or there is no ID column.
    SchemaError
        If there is no such tree.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "labels.csv").write_text("id,label\\n7,spiral\\n8,elliptical\\n")
    >>> read_labels(folder / "labels.csv").votes.fractions
    array([[0., 1.],
           [1., 0.]])
    """
    problems: dict[int, str] = {}
    table = read_table(path, text=True, problems=problems)
    if not isinstance(tree, DecisionTree):
        tree = tree_of_labels(table, tree, path, learning=learning)
    if values_kind:
        tree = tree.with_kind(values_kind, "as given by the user")
    return labels_from_table(table, tree, path, problems, own_kind=not values_kind)


def labels_from_table(
    table: pa.Table,
    tree: DecisionTree,
    path: str | os.PathLike[str],
    problems: Mapping[int, str] | None = None,
    *,
    own_kind: bool = True,
) -> LabelTable:
    """Return the labels of a table that is already in memory; see `read_labels`.

    Parameters
    ----------
    table : Arrow table
    tree : DecisionTree
    path : str or PathLike
        Named in errors.
    problems : mapping of int to str, optional
        Rows, counted from 0, that are known to be unusable, and why.
    own_kind : bool
        Whether the fractions are of the kind that the table states, where it states one; else of the tree's.

    Raises
    ------
    CatalogError
        If a column is missing, or there is no ID column.
    """
    unusable = dict(problems or {})
    tree = _with_own_kind(tree, table) if own_kind else tree
    id_column = tree.id_column(table.column_names)
    ids = [] if id_column is None else exact_ids(table[id_column], id_column, path)
    table = with_votes(table, tree, unusable, ids)
    names = table.column_names
    if id_column is None:
        columns = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise CatalogError(
            f"{path}: no ID column; call it {' or '.join(tree.id_columns)}. A table of classes of your own "
            f"has the columns id and label (the file has {columns})"
        )
    _check_columns(names, tree, path)
    reader = _RowReader(table, ids, str(path))
    for row, reason in unusable.items():
        reader.report(row, "", reason)
    reader.check_ids(id_column)
    counted = tree.values == "counts"
    values = np.column_stack([reader.numbers(column, counted) for column in tree.columns])
    total_column = next((name for name in (tree.total_column, TOTAL) if name in names), None)
    totals = None if total_column is None or counted else reader.numbers(total_column, True)
    good = [row for row in range(len(ids)) if row not in reader.errors]
    usable = values[good]
    cumulative = cumulative_from(usable, tree)
    counts = _counts(usable, cumulative, None if totals is None else totals[good], tree)
    return LabelTable(
        path=str(path),
        votes=VoteTable(tree, tuple(ids[row] for row in good), cumulative, counts),
        values=usable,
        errors=tuple(reader.errors[row] for row in sorted(reader.errors)),
        extra_columns=tuple(n for n in names if n not in (*tree.columns, id_column, total_column)),
        rows=tuple(good),
    )


def _check_columns(names: Sequence[str], tree: DecisionTree, path: str | os.PathLike[str]) -> None:
    """Raise CatalogError, with the most similar name, if a column of the tree is missing."""
    for column in tree.columns:
        if column not in names:
            near = get_close_matches(column, [n for n in names if n not in tree.columns], 1, 0.7)
            hint = f"is {near[0]!r} meant? rename it" if near else "add it, with blank cells where it is unknown"
            raise CatalogError(f"{path}: column {column!r} is missing; {hint}")


class _RowReader:
    """Reads a table's columns, and keeps the first error of each row in `errors`."""

    def __init__(self, table: pa.Table, ids: Sequence[str], path: str) -> None:
        self.table, self.ids, self.path = table, ids, path
        self.errors: dict[int, RowError] = {}

    def report(self, row: int, column: str, reason: str) -> None:
        self.errors.setdefault(row, RowError(self.path, row + 1, self.ids[row], column, reason))

    def check_ids(self, column: str) -> None:
        """Report rows without an ID, and all but the first row of each ID."""
        first: dict[str, int] = {}
        for row, id_ in enumerate(self.ids):
            if not id_:
                self.report(row, column, "no ID; give the galaxy one")
            elif id_ in first:
                self.report(row, column, f"the ID came before, in row {first[id_] + 1}; the first is kept")
            else:
                first[id_] = row

    def numbers(self, column: str, counted: bool) -> NDArray[np.float64]:
        """A column of fractions, or of counts, NaN where blank; others are reported."""
        out, wrong = float_column(self.table[column])
        for row, cell in wrong.items():
            self.report(row, column, f"{cell!r} is not a number; leave the cell blank if it is unknown")
        top = np.finfo(np.float64).max if counted else 1 + RANGE_TOLERANCE
        for row in np.flatnonzero((out < -RANGE_TOLERANCE) | (out > top)).tolist():
            limit = "negative or not finite" if counted else "outside [0, 1]"
            self.report(row, column, f"{out[row]:g} is {limit}; leave the cell blank if it is unknown")
        return np.clip(out, 0, None if counted else 1)


def _with_own_kind(tree: DecisionTree, table: pa.Table) -> DecisionTree:
    """The tree for the kind of fractions that the table says it has, if it says so."""
    about = about_table(table.schema)
    kind = about.get("values_kind", "")
    if kind not in KINDS and TOTAL in table.column_names:  # an export of ours, apart from its metadata
        return tree.with_kind("raw", "counted votes")
    return tree.with_kind(kind, about.get("values_kind_source", "")) if kind in KINDS else tree


def _counts(
    values: NDArray[np.float64],
    cumulative: NDArray[np.float64],
    totals: NDArray[np.float64] | None,
    tree: DecisionTree,
) -> NDArray[np.float64] | None:
    """Votes for each answer (N, A): counted ones, or fractions of counted votes times volunteers; else None."""
    if tree.values == "counts":
        return values
    return None if totals is None or tree.values_kind not in COUNTABLE else totals[:, None] * cumulative
