"""`tuningfork score`: what a submission to Kaggle's Galaxy Challenge would have scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._utils.text import bounds_text, decimals
from .command_line import app
from .console import echo, print_json
from .errors import must_exist, trouble
from .options import JsonOption, ResamplesOption, TreeOption
from .screen import print_table

if TYPE_CHECKING:
    from ..evaluation.kaggle import Score
    from ..evaluation.metrics import Interval

__all__ = ["score"]


@app.command()
def score(
    submission: Annotated[Path, typer.Argument(help="CSV: GalaxyID, then the 37 columns in Kaggle's order.")],
    solution: Annotated[Path, typer.Argument(help="Table of the true votes: CSV, Parquet, FITS, VOTable or ECSV.")],
    tree: TreeOption = "gz2",
    resamples: ResamplesOption = 1000,
    as_json: JsonOption = False,
) -> None:
    """Validate a Kaggle submission, and score it by Kaggle's RMSE.

    The first fault is named with its line, ID and column, and the exit code is 1. Rows may stand in any order.

    Examples:

        tuningfork score submission.csv training_solutions_rev1.csv

        tuningfork score submission.csv solution.parquet --json
    """
    must_exist([submission, solution])
    with trouble():
        from ..evaluation.kaggle import score as judge
        from ..votes.tree_files import load_tree

        result = judge(submission, solution, load_tree(tree), resamples=resamples)
        if as_json:
            print_json(result.to_dict())
        else:
            _print_score(result)


def _print_score(score: Score) -> None:
    order = "in the solution's order" if score.rows_in_order else "not in the solution's order, which is allowed"
    echo(f"{score.submission} is valid: {score.rows} galaxies, {order}")
    rows = [("Kaggle's score (complete rows)", score.complete_rows, *_shown(score.complete))]
    if score.complete_rows < score.rows:
        rows.append(("all known columns", score.rows, *_shown(score.known)))
    print_table(("", "galaxies", "RMSE", "95 % interval"), rows)
    per_question = score.to_dict()["rmse_per_question"]
    print_table(
        ("question", "RMSE"),
        ((name, decimals(value, 5)) for name, value in per_question.items()),
    )
    echo(f"largest violation of a sum of the tree: {score.largest_sum_violation:.2g}")


def _shown(interval: Interval) -> tuple[str, str]:
    # Five decimals, as on Kaggle's leaderboard.
    if interval.value != interval.value:
        return "–", ""
    return f"{interval.value:.5f}", bounds_text(interval.low, interval.high, 5)
