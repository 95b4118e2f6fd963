"""A campaign's label table read cell by cell: the votes of galaxies, and the rows that cannot be used."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..tables import CatalogError, RowError, read_table
from ..tables.identifiers import IdentifierError, exact_id, integer_limit
from .class_labels import with_votes
from .tree import DecisionTree

__all__ = ["VoteTable", "read_votes", "votes_from_table"]

#: Published fractions are rounded; a cell may leave [0, 1] by as much.
RANGE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class VoteTable:
    """Votes of N galaxies: `ids` (N,) text, `values` (N, A) float64 as the file has them, NaN unknown.

    `rows` (N,) are their places in the file, counted from 0; those of `errors` are left out.
    """

    path: str
    ids: tuple[str, ...]
    values: NDArray[np.float64]
    errors: tuple[RowError, ...] = ()
    extra_columns: tuple[str, ...] = field(default=())
    rows: tuple[int, ...] = ()


def read_votes(path: str | os.PathLike[str], tree: DecisionTree) -> VoteTable:
    """A campaign's label table: an ID column and all of `tree.columns`, blank cells unknown.

    A row with a number outside its range, a cell that is no number, or an ID that came before is left
    out and reported in `errors`; other columns are listed in `extra_columns` and ignored. For a tree of
    classes a column `label` stands for the votes; see `classtable.with_votes`.

    Raises
    ------
    CatalogError
        If a column is missing (the nearest name found is suggested) or there is no ID column.
    """
    return votes_from_table(read_table(path, text=True), tree, path)


def votes_from_table(table: pa.Table, tree: DecisionTree, path: str | os.PathLike[str]) -> VoteTable:
    """`read_votes` on a table that is already in memory; `path` is named in errors."""
    table = with_votes(table, tree)
    names = table.column_names
    id_column = next((name for name in tree.id_columns if name in names), None)
    if id_column is None:
        found = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise CatalogError(f"{path}: no ID column; call it {' or '.join(tree.id_columns)} (the file has {found})")
    for column in tree.columns:
        if column not in names:
            near = get_close_matches(column, [n for n in names if n not in tree.columns], 1, 0.7)
            hint = f"is {near[0]!r} meant? rename it" if near else "add it, with blank cells where it is unknown"
            raise CatalogError(f"{path}: column {column!r} is missing; {hint}")
    try:
        limit = integer_limit(table.schema.field(id_column).type)
        ids = [exact_id(value, limit) for value in table[id_column].to_pylist()]
    except IdentifierError as error:
        raise CatalogError(f"{path}: column {id_column!r}: {error}") from None
    values = np.empty((len(ids), len(tree.columns)))
    errors: dict[int, RowError] = {}

    def report(row: int, column: str, reason: str) -> None:
        errors.setdefault(row, RowError(str(path), row + 1, ids[row], column, reason))

    ragged = (table.schema.metadata or {}).get(b"ragged", b"{}")
    for row, reason in json.loads(ragged).items():
        report(int(row), "", reason)
    first: dict[str, int] = {}
    for row, id_ in enumerate(ids):
        if not id_:
            report(row, id_column, "no ID; give the galaxy one")
        elif id_ in first:
            report(row, id_column, f"the ID came before, in row {first[id_] + 1}; the first is kept")
        else:
            first[id_] = row
    top = np.finfo(np.float64).max if tree.values == "counts" else 1 + RANGE_TOLERANCE
    for number, column in enumerate(tree.columns):
        cells = table[column]
        try:
            values[:, number] = pc.fill_null(cells.cast(pa.float64()), math.nan).to_numpy()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            for row, cell in enumerate(cells.to_pylist()):
                try:
                    values[row, number] = float("nan" if cell is None else str(cell).strip() or "nan")
                except ValueError:
                    values[row, number] = math.nan
                    report(row, column, f"{cell!r} is not a number; leave the cell blank if it is unknown")
        for row in np.flatnonzero((values[:, number] < -RANGE_TOLERANCE) | (values[:, number] > top)):
            limit = "negative or not finite" if tree.values == "counts" else "outside [0, 1]"
            report(int(row), column, f"{values[row, number]:g} is {limit}; leave the cell blank if it is unknown")
    good = [row for row in range(len(ids)) if row not in errors]
    return VoteTable(
        path=str(path),
        ids=tuple(ids[row] for row in good),
        values=np.clip(values[good], 0, None if tree.values == "counts" else 1),
        errors=tuple(errors[row] for row in sorted(errors)),
        extra_columns=tuple(n for n in names if n not in tree.columns and n != id_column),
        rows=tuple(good),
    )
