"""A submission to Kaggle's Galaxy Challenge: is it valid, and what does it score?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..votes import fractions as votes
from ..votes.label_table import read_labels
from ..votes.tree import DecisionTree
from . import metrics
from .resampling import Resamples, root_mean, squared_errors
from .submission import SubmissionError, read_header, read_rows

__all__ = ["Score", "SubmissionError", "score"]


@dataclass(frozen=True)
class Score:
    """What a valid submission is worth. Fractions and RMSE are dimensionless.

    `complete` is over the galaxies whose answers the solution knows all, `known` over all known cells;
    the same numbers on Kaggle's own table, which has no blank cell. NaN where there is nothing to score.
    """

    submission: str
    solution: str
    rows: int
    complete_rows: int
    complete: metrics.Interval
    known: metrics.Interval
    rmse_per_question: Mapping[str, float]
    largest_sum_violation: float
    #: Kaggle matches rows by their ID, so another order is no fault.
    rows_in_order: bool

    @property
    def rmse(self) -> float:
        """Kaggle's score: √(mean of all squared errors) over complete rows."""
        return self.complete.value

    @property
    def rmse_known(self) -> float:
        """The same over all known cells."""
        return self.known.value

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON, NaN as None; scores under the names that `tuningfork evaluate` gives them."""
        return {
            "submission": self.submission,
            "solution": self.solution,
            "galaxies": self.rows,
            "complete_rows": self.complete_rows,
            "rmse_complete_rows": self.complete.to_dict(),
            "rmse_known_columns": self.known.to_dict(),
            "rmse_per_question": {key: metrics.number_or_none(value) for key, value in self.rmse_per_question.items()},
            "largest_sum_violation": self.largest_sum_violation,
            "rows_in_order": self.rows_in_order,
        }


def score(
    submission: str | os.PathLike[str],
    solution: str | os.PathLike[str],
    tree: DecisionTree,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """Validate a submission as the challenge asks for it, and score it as Kaggle does.

    Parameters
    ----------
    submission : CSV
        The ID column and all of `tree.columns`, in this order: cumulative fractions in [0, 1]. One row
        for each galaxy of the solution, in any order.
    solution : any table that `read_labels` reads
        Blank cells are unknown and not scored.
    resamples, seed
        Of the bootstrap over galaxies.

    Raises
    ------
    SubmissionError
        At the submission's first fault, naming line, ID and column; or if the solution has a row that
        cannot be used, since what is left of it would give another score than Kaggle's.
    CatalogError
        If the solution cannot be used at all.
    """
    columns = read_header(submission, tree)
    truth = read_labels(solution, tree)
    if truth.errors:
        more = f" ({len(truth.errors) - 1} more rows are bad)" if len(truth.errors) > 1 else ""
        raise SubmissionError(f"{truth.errors[0]}{more}; a solution must be sound to score by it")
    if not truth.ids:
        raise SubmissionError(f"{solution}: the solution has no rows, so there is nothing to score")
    # Arrow keeps the freed text of the table, which is larger than all that follows.
    pa.default_memory_pool().release_unused()
    order, predicted = read_rows(submission, columns, truth.votes.row_of)
    known = truth.votes.fractions
    # By question, so that no second table as large as the predictions is in memory.
    sums = np.zeros((len(known), 2))
    per_question = {}
    for question, part in zip(tree.questions, tree.slices, strict=True):
        each = squared_errors(predicted[:, part], known[:, part])
        sums += each
        per_question[question.key] = float(root_mean(each.sum(0)))
    complete = sums[:, 1] == known.shape[1]
    on_complete = Resamples.of(sums[complete], resamples, seed).interval(root_mean)
    return Score(
        submission=str(submission),
        solution=str(solution),
        rows=len(truth.ids),
        complete_rows=int(complete.sum()),
        complete=on_complete,
        known=on_complete if complete.all() else Resamples.of(sums, resamples, seed).interval(root_mean),
        rmse_per_question=per_question,
        largest_sum_violation=float(np.abs(votes.sum_violations(predicted, tree)).max()),
        rows_in_order=bool((order == np.arange(len(order))).all()),
    )
