"""`tuningfork study search`: hyperparameter search."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import echo, print_json, print_result
from .errors import libraries, must_exist, report_rows, trouble
from .files import cache_folder, writing
from .options import CacheOption, ImagesOption, JsonOption, LabelsOption, NoCacheOption, ThreadsOption, WorkersOption
from .progress import progress_bar
from .screen import print_table
from .study import study_app

if TYPE_CHECKING:
    from ..experiments.search.output import SearchReport

__all__ = ["search"]


@study_app.command()
def search(
    images: ImagesOption,
    labels: LabelsOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the search.")],
    recipe: Annotated[str, typer.Option(help="Search around it: a shipped recipe's name, or a TOML file.")] = (
        "efficientnet_b0"
    ),
    trials: Annotated[int, typer.Option(min=1, help="Trainings in all, of this command and earlier ones.")] = 20,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of each trial; warm-up, patience and averaging shrink with them.")
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option(min=16, help="An input size in pixels to choose from; may be repeated.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="After that time no further trial begins.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the proposals; trainings keep the recipe's.")] = 0,
    init: Annotated[Path | None, typer.Option(help="The file of initial weights that the recipe begins with.")] = None,
    cache: CacheOption = None,
    no_cache: NoCacheOption = False,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Search a recipe's settings (hyperparameters) with many short trainings; needs `pip install '.[study]'`.

    Trials are compared on the validation part. The folder gets search.sqlite3 (optuna's), trials.csv, best.toml,
    README.md, history.png, slices.png, importance.png, and small files of each trial. The same command continues an
    interrupted search; with more --trials it adds to it.

    Examples:

        tuningfork study search --images images_training_rev1 --labels training_solutions_rev1.csv -o search

        tuningfork study search --images images --labels votes.csv -o search --trials 40 --epochs 5 --minutes 60

        tuningfork study search --images images --labels votes.csv -o search --size 48 --size 64 --size 96

        tuningfork train --images images --labels votes.csv -o run --recipe search/best.toml
    """
    must_exist([*images, labels, *([init] if init else [])])
    with (
        trouble("run the same command again to continue"),
        writing(output, [*images, labels, init, recipe], resumable=True, own=("search.sqlite3",)),
        progress_bar("reading images") as progress,
    ):
        with libraries("a search", "study"):
            from ..experiments.search.run import SearchOptions
            from ..experiments.search.run import search as run_search
            from ..training.options import Hardware, TrainingOptions
            from ..training.recipe import load_recipe
        words: list[object] = ["tuningfork", "study", "search"]
        for folder in images:
            words += ["--images", folder]
        words += ["--labels", labels, "-o", output, "--recipe", recipe, "--trials", trials]
        words += ["--epochs", epochs] if epochs else []
        for each in size or ():
            words += ["--size", each]
        words += ["--seed", seed, *(["--init", init] if init else [])]
        report = run_search(
            labels,
            images,
            output,
            load_recipe(recipe),
            SearchOptions(trials, epochs, tuple(size or ()), minutes, seed, shlex.join(map(str, words))),
            training=TrainingOptions(init=init, cache=cache_folder(cache, no_cache)),
            hardware=Hardware(workers=workers, threads=threads),
            progress=progress,
        )
        if as_json:
            print_json({"folder": str(output), **report.to_dict()})
        else:
            _print_trials(output, report)
        report_rows(report.errors)


def _print_trials(output: Path, report: SearchReport) -> None:
    # Eight digits under eleven letters: names are broken, so that all columns have room.
    names = (name.replace("_", "\n") for name in (report.monitor, *report.names))
    rows = [
        (
            f"{row.number}{' *' if row.best else ''}",
            row.state,
            "" if row.value is None else f"{row.value:.4f}",
            *(f"{row.values[name]:.3g}" if name in row.values else "" for name in report.names),
            row.epochs,
            "" if row.seconds is None else f"{row.seconds:.0f}",
        )
        for row in report.rows
    ]
    print_table(("trial", "state", *names, "epochs", "s"), rows, best=[row.best for row in report.rows])
    for row in report.rows:
        if row.reason and row.value is None:  # the reason of the others is their value
            echo(f"trial {row.number}: {row.reason}")
    if report.importances:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in report.importances.items())
        echo(f"importance: {shares}")
    else:
        echo("importance: unknown, the trials are too few")
    if report.best:
        echo(f"{output / 'best.toml'}: trial {report.best.number} *, {report.monitor} {report.best.value:.4f}")
    else:
        print_result(f"{output}: no trial is complete yet")
