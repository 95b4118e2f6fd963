"""`tuningfork study`: many trainings and what they tell."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .options import (
    CacheOption,
    ImagesOption,
    JsonOption,
    LabelsArgument,
    LabelsOption,
    NoCacheOption,
    OverwriteOption,
    ThreadsOption,
    TreeOption,
    WorkersOption,
    app,
    cache_folder,
    echo,
    libraries,
    must_exist,
    print_json,
    progress_bar,
    report_rows,
    say,
    screen,
    trouble,
    writing,
)

if TYPE_CHECKING:
    from ..experiments.search.output import Search

__all__ = ["folds", "search", "study_app", "trust"]

study_app = typer.Typer(no_args_is_help=True, help="The paper's experiments, and searches.")
app.add_typer(study_app, name="study")


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
        int | None, typer.Option(min=1, help="Of each trial; warm-up, patience and averaging shrink with it.")
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option(min=16, help="An input size in pixels to choose from; may be repeated.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Once they are over, no further trial begins.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the proposals; trainings keep the recipe's.")] = 0,
    init: Annotated[Path | None, typer.Option(help="The file of weights that the recipe begins with.")] = None,
    cache: CacheOption = None,
    no_cache: NoCacheOption = False,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Search a recipe's settings with many short trainings, judged by the validation part; needs `tuningfork[study]`.

    The folder gets search.sqlite3 (optuna's), trials.csv, best.toml, README.md, trials.png, importance.png, and what
    each trial was. The same command goes on where an interrupted one was; with more --trials it adds to them.

    Examples:

        tuningfork study search --images images_training_rev1 --labels training_solutions_rev1.csv -o search

        tuningfork study search --images pictures --labels votes.csv -o search --trials 40 --epochs 5 --minutes 60

        tuningfork study search --images pictures --labels votes.csv -o search --size 48 --size 64 --size 96

        tuningfork train --images pictures --labels votes.csv -o run --recipe search/best.toml
    """
    must_exist([*images, labels, *([init] if init else [])])
    with (
        trouble("the same command goes on where it was"),
        writing(output, [*images, labels, init, recipe], resumable=True),
        progress_bar("reading pictures") as progress,
    ):
        with libraries("a search", "study"):
            from ..experiments.search.run import search as seek
            from ..training.recipe import load_recipe
        words: list[object] = ["tuningfork", "study", "search"]
        for folder in images:
            words += ["--images", folder]
        words += ["--labels", labels, "-o", output, "--recipe", recipe, "--trials", trials]
        words += ["--epochs", epochs] if epochs else []
        for each in size or ():
            words += ["--size", each]
        words += ["--seed", seed, *(["--init", init] if init else [])]
        found = seek(
            labels,
            images,
            output,
            load_recipe(recipe),
            trials=trials,
            epochs=epochs,
            sizes=size or (),
            minutes=minutes,
            seed=seed,
            init=init,
            cache=cache_folder(cache, no_cache),
            workers=workers,
            threads=threads,
            command=shlex.join(map(str, words)),
            say=say,
            progress=progress,
        )
        if as_json:
            print_json({"folder": str(output), **found.to_dict()})
        else:
            _show(output, found)
        report_rows(found.errors)


def _show(output: Path, found: Search) -> None:
    # Eight digits under eleven letters: names are broken, so that all columns have room.
    names = (name.replace("_", "\n") for name in (found.monitor, *found.names))
    table = Table("trial", "state", *names, "epochs", "s", box=None, collapse_padding=True)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in found.rows:
        table.add_row(
            f"{row.number}{' *' if row.best else ''}",
            row.state,
            "" if row.value is None else f"{row.value:.4f}",
            *(f"{row.values[name]:.3g}" if name in row.values else "" for name in found.names),
            str(row.epochs),
            "" if row.seconds is None else f"{row.seconds:.0f}",
            style="bold" if row.best else "",
        )
    screen().print(table)
    for row in found.rows:
        if row.reason and row.value is None:  # the reason of the others is their value
            echo(f"trial {row.number}: {row.reason}")
    if found.importances:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in found.importances.items())
        echo(f"importance: {shares}")
    else:
        echo("importance: not told, the trials are too few")
    if found.best:
        echo(f"{output / 'best.toml'}: trial {found.best.number} *, {found.monitor} {found.best.value:.4f}")
    else:
        echo(f"{output}: no trial is complete yet")


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
    """Tell what helps: train each row of a plan on the same folds, and write one table; needs `tuningfork[study]`.

    The folder gets a run for each row, fold and seed, and table.json, table.csv, table.md. The same command goes
    on where an interrupted one was; what is trained is not trained again.

    Examples:

        tuningfork study folds plan.toml --images images_training_rev1 --labels training_solutions_rev1.csv -o folds

        tuningfork study folds plan.toml --images pictures --labels votes.csv -o folds --row tree --row views
    """
    must_exist([plan, *images, labels])
    with trouble("give the same command again to go on"), writing(output, [plan, *images, labels], resumable=True):
        with libraries("a study", "study"):
            from ..experiments.folds import fold_table, load_fold_plan, markdown, run_folds, write_fold_table
        planned = load_fold_plan(plan)
        run_folds(
            planned,
            labels,
            images,
            output,
            only=row or (),
            cache=cache_folder(cache, no_cache),
            workers=workers,
            threads=threads,
            say=say,
        )
        table = fold_table(planned, output)
        write_fold_table(table, output)
        if as_json:
            print_json(table)
        else:
            echo(markdown(table), lines=True)


@study_app.command()
def trust(
    predictions: Annotated[Path, typer.Argument(help="Table of predictions with intervals.")],
    labels: LabelsArgument,
    images: ImagesOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of trust.json, trust.csv and trust.svg.")],
    split: Annotated[Path | None, typer.Option(help="CSV of id,part: judge one part only.")] = None,
    part: Annotated[str, typer.Option(help="That part.")] = "test",
    tree: TreeOption = "gz2",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell how far intervals and probabilities hold, by the galaxies' size and brightness; needs `tuningfork[study]`.

    Examples:

        tuningfork study trust votes.parquet training_solutions_rev1.csv --images images_training_rev1 -o trust

        tuningfork study trust votes.parquet votes.csv --images pictures --split run/split.csv -o trust
    """
    must_exist([predictions, labels, *images, *([split] if split else [])])
    with (
        trouble(),
        writing(output, [predictions, labels, *images, split, tree], overwrite, folder=True) as output,
        progress_bar("reading pictures") as progress,
    ):
        with libraries("a study", "study"):
            from ..experiments.trust import trust as judge
            from ..votes.tree_files import load_tree
        report, errors = judge(
            predictions, labels, images, load_tree(tree), output, split=split, part=part, progress=progress
        )
        if as_json:
            print_json(report)
        else:
            _show_trust(report)
            echo(f"{output}: trust.svg, trust.csv, trust.json")
        report_rows(errors)


def _show_trust(report: dict[str, Any]) -> None:
    table = Table("galaxies", "number", f"hold ({report['level']:g} promised)", "95 %", "decided", "right", "told")
    for row in report["groups"]:
        cells = ["–" if row[k] is None else f"{row[k]:.3f}" for k in ("coverage", "low", "high")]
        table.add_row(
            row["group"],
            str(row["galaxies"]),
            cells[0],
            f"{cells[1]}…{cells[2]}",
            str(row["decided"]),
            *("–" if row[k] is None else f"{row[k]:.3f}" for k in ("accuracy", "probability")),
        )
    screen().print(table)
