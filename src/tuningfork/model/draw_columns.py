"""Draws of the vote fractions as columns of a table: a vector for each answer."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..tables import Column, arrow_schema, ucd
from ..tables.arrow import vector_array
from ..votes.tree import DecisionTree

if TYPE_CHECKING:
    from .predictions import Predictions

__all__ = ["MAX_DRAWS", "draw_columns", "draw_schema"]

#: 16 bits tell fractions 0.0005 apart, a tenth of what 40 volunteers can.
_TYPE, _ARROW_TYPE = np.float16, pa.float16()
#: 37 answers of so many draws are 74 kB a galaxy.
MAX_DRAWS = 1000
#: Galaxies that are drawn together.
_BLOCK = 64


@lru_cache(maxsize=8)
def draw_schema(tree: DecisionTree, k: int) -> pa.Schema:
    """Return the columns ``bar_yes_draws``, …: lists of k float16."""
    columns = []
    for name, answer, question in zip(tree.answer_names, tree.answers, tree.question_numbers, strict=True):
        text = (
            f'{k} draws from the posterior of the share of all volunteers who answer "{answer.text}" to '
            f'"{tree.questions[question].text}", 0 to 1; the same draw of all answers belongs together; '
            "null: no prediction, or no posterior"
        )
        kind = pa.list_(_ARROW_TYPE, k)
        columns.append(Column(f"{name}_draws", kind, text, "", ucd.FRACTION))
    return arrow_schema(columns)


def draw_columns(predictions: Predictions, k: int) -> list[pa.Array]:
    """Return the columns of `draw_schema` of N predictions: `Predictions.draws` with seed 0."""
    out = np.empty((len(predictions.tree.columns), len(predictions), k), _TYPE)
    for first in range(0, len(predictions), _BLOCK):
        rows = slice(first, first + _BLOCK)
        out[:, rows] = predictions.select(rows).draws(k).transpose(2, 1, 0)
    return [vector_array(column) for column in out]
