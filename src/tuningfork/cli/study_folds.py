"""`tuningfork study folds`: cross-validated ablations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import echo, print_json
from .errors import libraries, must_exist, trouble
from .files import cache_folder, writing
from .options import CacheOption, ImagesOption, JsonOption, LabelsOption, NoCacheOption, ThreadsOption, WorkersOption
from .study import study_app

__all__ = ["folds"]


@study_app.command()
def folds(
    plan: Annotated[Path, typer.Argument(help="TOML file of rows, each a recipe that is compared on the same folds.")],
    images: ImagesOption,
    labels: LabelsOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of all trainings, and of the table.")],
    row: Annotated[list[str] | None, typer.Option(help="Train only this row now; may be repeated.")] = None,
    cache: CacheOption = None,
    no_cache: NoCacheOption = False,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare recipes by cross-validation: train each row of a plan on the same folds; needs `pip install '.[study]'`.

    The folder gets a run for each row, fold and seed, and table.json, table.csv, table.md. The same command continues
    an interrupted study; what is trained is not trained again.

    Examples:

        tuningfork study folds plan.toml --images images_training_rev1 --labels training_solutions_rev1.csv -o folds

        tuningfork study folds plan.toml --images images --labels votes.csv -o folds --row tree --row views
    """
    must_exist([plan, *images, labels])
    with (
        trouble("run the same command again to continue"),
        writing(output, [plan, *images, labels], resumable=True, own=("table.json", "*/fold-*")),
    ):
        with libraries("a study", "study"):
            from ..experiments.fold_plan import load_fold_plan
            from ..experiments.folds import fold_table, markdown, run_folds, write_fold_table
            from ..training.options import Hardware
        fold_plan = load_fold_plan(plan)
        hardware = Hardware(workers=workers, threads=threads)
        stored = cache_folder(cache, no_cache)
        run_folds(fold_plan, labels, images, output, only=row or (), cache=stored, hardware=hardware)
        table = fold_table(fold_plan, output)
        write_fold_table(table, output)
        if as_json:
            print_json(table)
        else:
            echo(markdown(table), lines=True)
