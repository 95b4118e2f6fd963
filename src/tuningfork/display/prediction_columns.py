"""The columns of a prediction table that plots and galleries show, whatever version or model wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from .._utils.text import nearest
from ..tables.columns import is_true
from ..tables.numbers import float_column
from ..votes.clean_samples import NO_CLASS
from ..votes.fractions import cumulative_from_conditional, reach_probability
from ..votes.tree import DecisionTree
from ..votes.tree_files import builtin_trees, load_tree

__all__ = ["ColumnError", "ShownColumns", "absent_column", "numbers", "texts", "tree_of_columns"]

Floats = NDArray[np.float64]
#: Columns that an error names.
MAX_LISTED = 30


class ColumnError(TuningforkError, ValueError):
    """A table without the columns of predictions, or one of them cannot be read; the message names it."""


@dataclass(frozen=True, eq=False)
class ShownColumns:
    """The predictions of N rows of a table.

    Parameters
    ----------
    tree : DecisionTree
    fractions : (N, A) float64 in [0, 1]
        Conditional fractions; NaN without a prediction, or where nobody would reach the question.
    class_index : (N,) int64
        Most probable class, 0…C-1; C: none of them; -1 without a prediction or without classes.
    class_probability : (N, C + 1) float64 or None
        Of the classes and, last, of none of them; sums to 1. NaN without a prediction; None if not in the table.
    clean_index : (N,) int64
        The class whose clean-sample thresholds the votes pass, -1 if none.
    """

    tree: DecisionTree
    fractions: Floats
    class_index: NDArray[np.int64]
    class_probability: Floats | None
    clean_index: NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table, tree: DecisionTree) -> ShownColumns:
        """Read them from a prediction table.

        Raises
        ------
        ColumnError
            If a column of a fraction is missing, or one holds no numbers.
        """
        missing = [name for name in tree.fraction_names if name not in table.column_names]
        if missing:
            raise ColumnError(
                f"no column {missing[0]!r}, which predictions of {tree.title} have; is it a table of "
                "`tuningfork predict`, and --tree its decision tree?"
            )
        fractions = np.column_stack([numbers(table, name) for name in tree.fraction_names])
        names = {rule.name: number for number, rule in enumerate(tree.classes)}
        words = texts(table, "class_name")
        named = np.array([names.get(word, len(names) if word == NO_CLASS else -1) for word in words], np.int64)
        clean = np.array([names.get(word, -1) for word in texts(table, "clean_class")], np.int64)
        if "clean" in table.column_names:  # tables of earlier versions
            passes = [is_true(value) for value in table["clean"].to_pylist()]
            clean = np.where(passes, named, -1)
        return cls(tree, fractions, named, _class_probability(table, tree), clean)

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """(N,) whether there is any prediction."""
        return np.isfinite(self.fractions).any(1) | (self.class_index >= 0)

    @property
    def reach(self) -> Floats:
        """(N, Q) predicted share of the volunteers who reach each question."""
        cumulative = cumulative_from_conditional(self.fractions, self.tree)
        with np.errstate(invalid="ignore"):
            shares = [reach_probability(cumulative, self.tree, number) for number in range(len(self.tree.questions))]
        out: Floats = np.stack(shares, 1)
        out[np.isnan(self.fractions).all(1)] = np.nan
        return out


def _class_probability(table: pa.Table, tree: DecisionTree) -> Floats | None:
    names = [f"class_{number}_probability" for number in range(len(tree.classes))]
    if not names or not set(names) <= set(table.column_names):
        return None
    columns = np.column_stack([numbers(table, name) for name in names])
    has_none = "no_class_probability" in table.column_names
    # Networks of classes alone know only galaxies that have one.
    none = np.nan_to_num(numbers(table, "no_class_probability")) if has_none else np.zeros(len(columns))
    none[np.isnan(columns).any(1)] = np.nan
    return np.column_stack([columns * (1 - none)[:, None], none])


def numbers(table: pa.Table, name: str) -> Floats:
    """A column as (N,) float64, NaN where blank. Raises ColumnError if it holds no numbers."""
    values, wrong = float_column(table[name])
    for row, cell in wrong.items():
        raise ColumnError(f"column {name!r} holds no numbers: {cell!r} in row {row + 1}")
    return values


def absent_column(name: str, names: Sequence[str]) -> str:
    """Say that a table has no such column, and which it has: all but the fractions and their intervals, which are many.

    Examples
    --------
    >>> absent_column("redshit", ["id", "bar_yes_fraction", "bar_yes_low", "redshift"])
    "no column 'redshit'; did you mean 'redshift'?; beside fractions the table has id, redshift"
    """
    others = [each for each in names if not each.endswith(("_fraction", "_low", "_high"))]
    listed = ", ".join(others[:MAX_LISTED]) + (", …" if len(others) > MAX_LISTED else "")
    return f"no column {name!r}{nearest(name, names)}; beside fractions the table has {listed}"


def texts(table: pa.Table, name: str) -> list[str]:
    """A column as texts, "" where blank or where there is no such column."""
    if name not in table.column_names:
        return [""] * table.num_rows
    return ["" if value is None else str(value) for value in table[name].to_pylist()]


def tree_of_columns(names: list[str]) -> DecisionTree:
    """The decision tree of the package whose fractions these columns are.

    Raises
    ------
    ColumnError
        If there is none: a tree of the user's own has to be named.
    """
    for name in ("gz2", *builtin_trees()):
        tree = load_tree(name)
        if set(tree.fraction_names) <= set(names):
            return tree
    raise ColumnError(
        f"its columns are those of no decision tree of tuningfork ({', '.join(builtin_trees())}); "
        "is it a table of `tuningfork predict`? For a tree of your own name its file or model with --tree"
    )
