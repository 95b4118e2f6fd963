"""The command line: thin, and the only room that prints."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from . import __version__

if TYPE_CHECKING:
    from .catalog import RowError

__all__ = ["app", "main"]

#: Exit codes; 2, wrong usage, is Typer's own.
WELL, FAILED, SOME_ROWS_FAILED, INTERRUPTED = 0, 1, 3, 130
#: Row errors that are printed one by one; the rest is counted.
SHOWN_ERRORS = 20

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tell the morphology of galaxies from their pictures.\n\n"
    "Exit codes: 0 all well, 1 failed, 2 wrong usage, 3 done but some rows failed.",
)


class Layout(StrEnum):
    """Column layouts of a prediction table."""

    words = "words"
    kaggle = "kaggle"


TreeOption = Annotated[str, typer.Option("--tree", help="Decision tree: gz2, gz_decals, gz1 or a TOML file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for another program.")]
LabelsArgument = Annotated[Path, typer.Argument(help="Table of votes: CSV, Parquet, FITS, VOTable or ECSV.")]


def main() -> None:
    """Entry point of the `tuningfork` command."""
    app()


def _version(value: bool) -> None:
    if value:
        print(f"tuningfork {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


# ------------------------------------------------------------------------------------------ predict


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Table to write: .csv, .parquet, .fits, .vot or .ecsv."),
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name, or a bundle's folder.")] = "default",
    layout: Annotated[
        Layout,
        typer.Option("--format", help="words: named fractions and class; kaggle: GalaxyID and 37 cumulative columns."),
    ] = Layout.words,
    views: Annotated[
        int | None, typer.Option(help="Rotated and reflected views to average: 1, 2, 4 or 8 [default: the model's].")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Pictures at a time.")] = 32,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the network; 0: all cores.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict vote fractions and a class for each picture.

    Examples:

        tuningfork predict galaxy.jpg

        tuningfork predict cutouts/ -o votes.parquet

        tuningfork predict cutouts/ -o votes.parquet --resume

        tuningfork predict images_test_rev1/ -o submission.csv --format kaggle

        tuningfork predict galaxy.jpg --json | jq .class_name
    """
    if views not in (None, 1, 2, 4, 8):
        raise typer.BadParameter("1, 2, 4 or 8", param_hint="--views")
    _must_exist(paths)
    if output is None and resume:
        raise typer.BadParameter("--resume needs the --output of the interrupted run", param_hint="--resume")
    if output is None and layout is Layout.kaggle:
        raise typer.BadParameter("kaggle needs an --output", param_hint="--format")
    with _trouble():
        from .model import load
        from .predict import predict_files

        opened = load(model, threads=threads)
        if output is None:
            _predict_to_terminal(opened, paths, views, batch, as_json)
            return
        with _progress("predicting") as progress:
            summary = predict_files(
                opened,
                paths,
                output,
                kaggle=layout is Layout.kaggle,
                views=views,
                batch=batch,
                resume=resume,
                progress=progress,
            )
        if as_json:
            _print_json({"output": str(output), "rows": summary.rows, "failed": summary.failed})
        else:
            again = f" ({summary.resumed} of them from the interrupted run)" if summary.resumed else ""
            print(f"{output}: {_count(summary.rows, 'galaxy', 'galaxies')}{again}, {summary.failed} failed")
        _report_rows(summary.errors, summary.failed)


def _predict_to_terminal(model: Any, paths: Sequence[Path], views: int | None, batch: int, as_json: bool) -> None:
    from .images import find_pictures
    from .predict import PredictError, predict_batches

    pictures = list(find_pictures(paths))
    if not pictures:
        raise PredictError(f"no picture in {', '.join(map(str, paths))}; is it the right folder?")
    errors = []
    for part in predict_batches(model, pictures, views=views, batch=batch):
        for row, values in enumerate(part.to_table().to_pylist()):
            if values["error"]:
                errors.append(_row_error(values["path"], values["error"]))
            if as_json:
                _print_json(values, indent=None)
            elif not values["error"]:
                print(part[row])
    _report_rows(errors)


# ----------------------------------------------------------------------------------- label tables


@app.command()
def classes(
    labels: LabelsArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Table to write: ID, class (0-6 or empty), status.")
    ] = None,
    tree: TreeOption = "gz2",
    as_json: JsonOption = False,
) -> None:
    """Sort volunteers' votes into the clean-sample classes and count them.

    Examples:

        tuningfork classes training_solutions_rev1.csv

        tuningfork classes training_solutions_rev1.csv -o classes.csv

        tuningfork classes decals.parquet --tree gz_decals --json
    """
    _must_exist([labels])
    with _trouble():
        from .catalog import table_writer
        from .files import check_writable
        from .labels import class_counts
        from .schema import load_tree

        if output:
            check_writable(output)
        result = class_counts(labels, load_tree(tree))
        if output:
            table = result.to_table()
            with table_writer(output, table.schema) as write:
                write(table)
        if as_json:
            _print_json({"galaxies": len(result.ids), "counts": result.counts()})
        else:
            table = Table("class", "", "galaxies", title=f"{len(result.ids)} galaxies of {labels}")
            table.columns[2].justify = "right"
            named = len(result.tree.classes)
            for number, (name, count) in enumerate(result.counts().items()):
                table.add_row(str(number) if number < named else "", name, str(count))
            _console().print(table)
        _report_rows(result.errors)


@app.command()
def lint(
    labels: LabelsArgument,
    tree: TreeOption = "gz2",
    tolerance: Annotated[float, typer.Option(min=0, help="A sum off by more than this is broken.")] = 1e-3,
    as_json: JsonOption = False,
) -> None:
    """Check a label table: broken sums, bad cells, unknown columns, rows that fit two classes.

    Examples:

        tuningfork lint training_solutions_rev1.csv

        tuningfork lint training_solutions_rev1.csv --tolerance 1e-5 --json
    """
    _must_exist([labels])
    with _trouble():
        from .labels import lint as judge
        from .schema import load_tree

        result = judge(labels, load_tree(tree), tolerance)
        told = result.to_dict()
        if as_json:
            _print_json(told)
        else:
            print(f"{labels}: {told['rows']} rows, {told['complete_rows']} complete")
            if result.unknown:
                cells = sum(result.unknown.values())
                print(f"unknown: {cells} cells in {len(result.unknown)} columns (allowed)")
            if told["ignored_columns"]:
                print(f"ignored columns: {', '.join(told['ignored_columns'])}")
            print(f"broken sums: {len(result.broken)} (off by more than {tolerance:g})")
            for entry in told["broken_sums"][:SHOWN_ERRORS]:
                equal = entry["should_equal"]
                print(f"  {entry['id']}: {entry['question']} should sum to {equal}, off by {entry['off_by']:+.6f}")
            _rest(len(result.broken))
            print(f"rows that fit several classes: {len(result.several_classes)}")
            for id_, names in list(result.several_classes.items())[:SHOWN_ERRORS]:
                print(f"  {id_}: {', '.join(names)} (the first counts)")
            _rest(len(result.several_classes))
        _report_rows(result.table.errors)
        if result.broken:
            raise typer.Exit(SOME_ROWS_FAILED)


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Table written by `tuningfork predict`.")],
    labels: LabelsArgument,
    split: Annotated[
        Path | None, typer.Option(help="split.csv of a training; scores one part, and adds baselines.")
    ] = None,
    part: Annotated[str, typer.Option(help="The part to score: train, validation or test.")] = "test",
    images: Annotated[
        list[Path] | None, typer.Option(help="Pictures, for the nearest-neighbour baseline (with --split).")
    ] = None,
    tree: TreeOption = "gz2",
    resamples: Annotated[int, typer.Option(min=10, max=100_000, help="Bootstrap resamples.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Score predictions against volunteers' votes, with bootstrap intervals.

    Examples:

        tuningfork evaluate votes.parquet training_solutions_rev1.csv

        tuningfork evaluate votes.csv training_solutions_rev1.csv --split run/split.csv --images images_training_rev1

        tuningfork evaluate votes.csv training_solutions_rev1.csv --json
    """
    _must_exist([predictions, labels, *([split] if split else []), *(images or [])])
    if images and not split:
        raise typer.BadParameter("the baselines need --split, to know the training part", param_hint="--images")
    with _trouble():
        from .evaluate import evaluate as score
        from .evaluate import read_split
        from .schema import load_tree

        result = score(
            predictions,
            labels,
            load_tree(tree),
            split=read_split(split) if split else None,
            part=part,
            images=images or (),
            resamples=resamples,
        )
        if as_json:
            _print_json(result.report)
        else:
            _print_scores(result.report)
        _report_rows(result.errors)


def _print_scores(report: dict[str, Any]) -> None:
    def shown(interval: dict[str, float | None]) -> str:
        if interval["value"] is None:
            return "-"
        if interval["low"] is None:
            return f"{interval['value']:.4f}"
        return f"{interval['value']:.4f} ({interval['low']:.4f}…{interval['high']:.4f})"

    console = _console()
    print(f"{report['galaxies']} galaxies (part: {report['part']}), {report['complete_rows']} with complete votes")
    table = Table("RMSE (95 % interval)", "complete rows", "known columns")
    table.add_row("predictions", shown(report["rmse_complete_rows"]), shown(report["rmse_known_columns"]))
    for name, scores in report.get("baselines", {}).items():
        table.add_row(name.replace("_", " "), shown(scores["rmse_complete_rows"]), shown(scores["rmse_known_columns"]))
    console.print(table)
    table = Table("question", "RMSE")
    for name, value in report["rmse_per_question"].items():
        table.add_row(name, "-" if value is None else f"{value:.4f}")
    console.print(table)
    print(f"largest violation of a sum of the tree: {report['largest_sum_violation']:.2g}")
    if "classes" not in report:
        print("no classes in this table: write it without --format kaggle to score them")
        return
    scores = report["classes"]
    print(f"{scores['galaxies']} galaxies whose class the votes decide")
    for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1"):
        print(f"  {name.replace('_', ' ')}: {shown(scores[name])}")
    names = scores["names"]
    table = Table("class", "galaxies", "precision", "recall", "F1")
    for number, values in enumerate(scores["per_class"].values()):
        each = ["-" if values[k] is None else f"{values[k]:.3f}" for k in ("precision", "recall", "f1")]
        table.add_row(f"{number} {names[number]}", str(values["galaxies"]), *each)
    console.print(table)
    table = Table("true \\ predicted", *map(str, range(len(names))), title="confusion matrix")
    for number, row in enumerate(scores["confusion_matrix"]):
        table.add_row(f"{number} {names[number]}", *map(str, row))
    console.print(table)


# ------------------------------------------------------------------------------ simulate and train


@app.command()
def simulate(
    output: Annotated[Path, typer.Argument(help="Folder to fill, in the layout of Kaggle's challenge.")],
    n: Annotated[int, typer.Option("--n", min=1, max=10_000_000, help="How many galaxies.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same galaxies.")] = 0,
    volunteers: Annotated[int, typer.Option(min=1, max=10_000, help="Votes for each galaxy.")] = 45,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: as many as cores.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make pictures of galaxies of known shape, and the votes that a crowd would give them.

    An interrupted run goes on when the same command is given again.

    Examples:

        tuningfork simulate galaxies/ --n 1000 --seed 1

        tuningfork train --images galaxies/images_training_rev1 --labels galaxies/training_solutions_rev1.csv -o run
    """
    with _trouble():
        from .simulate import simulate as make

        with _progress("simulating") as progress:
            make(output, n, seed, volunteers=volunteers, workers=workers or None, progress=progress)
        if as_json:
            _print_json({"folder": str(output), "galaxies": n, "seed": seed})
        else:
            print(f"{output}: {_count(n, 'galaxy', 'galaxies')}; pictures in images_training_rev1, "
                  "votes in training_solutions_rev1.csv, shapes in truth.csv")  # fmt: skip


@app.command()
def train(
    images: Annotated[list[Path], typer.Option("--images", help="Folder of pictures named by ID; may be repeated.")],
    labels: Annotated[Path, typer.Option("--labels", help="Table of votes: CSV, Parquet, FITS, VOTable or ECSV.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run: logs, checkpoints, bundle.")],
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, or a TOML file.")] = "default",
    start: Annotated[Path | None, typer.Option(help="The file of weights that the recipe begins with.")] = None,
    network: Annotated[str | None, typer.Option(help="Any network of timm, instead of the recipe's.")] = None,
    size: Annotated[int | None, typer.Option(help="Input size in pixels, instead of the recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Instead of the recipe's.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of weights, order and views; the split keeps its own.")
    ] = None,
    tree: Annotated[str | None, typer.Option(help="Decision tree, instead of the recipe's.")] = None,
    name: Annotated[str, typer.Option(help="The model's name.")] = "model",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 1,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the network; 0: all cores.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network on pictures and votes; blank columns cost nothing. Needs `tuningfork[train]`.

    Examples:

        tuningfork train --images images_training_rev1 --labels training_solutions_rev1.csv -o run

        tuningfork train --images images_training_rev1 --labels training_solutions_rev1.csv -o run --resume

        tuningfork train --images pictures --labels votes.csv -o run --recipe efficientnet_b0 --epochs 20 --size 64

        tuningfork predict images_test_rev1 -o votes.csv --model run/bundle
    """
    _must_exist([*images, labels, *([start] if start else [])])
    with _trouble():
        try:
            from .train.fit import train as fit
            from .train.recipe import load_recipe
        except ImportError as error:
            raise _fail(f"training needs more libraries ({error.name}): pip install 'tuningfork[train]'") from None
        chosen = load_recipe(recipe).changed(
            network=network, size=size, epochs=epochs, batch=batch, seed=seed, tree=tree
        )
        report = fit(
            labels,
            images,
            output,
            chosen,
            name=name,
            resume=resume,
            start=start,
            workers=workers,
            threads=threads,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
        if as_json:
            _print_json(
                {"bundle": str(report.bundle), "best": report.best, "onnx_deviation": report.deviation,
                 "left_out": len(report.errors), "seconds": report.seconds}
            )  # fmt: skip
        else:
            print(f"{report.bundle}: best epoch {report.epochs}, validation RMSE {report.best['val_rmse']:.4f}")
        _report_rows(report.errors)


# ------------------------------------------------------------------------------- models and demo


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show this model's whole card.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models that come with tuningfork, or show one's card.

    Examples:

        tuningfork models

        tuningfork models default

        tuningfork models --json
    """
    with _trouble():
        from .bundle import builtin_models, open_bundle
        from .card import model_card

        if name:
            bundle = open_bundle(name)
            if as_json:
                _print_json(bundle.to_dict())
            else:
                print(model_card(bundle))
            return
        bundles = {each: open_bundle(each) for each in builtin_models()}
        if as_json:
            _print_json([bundle.to_dict() for bundle in bundles.values()])
            return
        table = Table("model", "what it is", "MB", "networks", "views", "licence")
        for each, bundle in bundles.items():
            size = sum(len(network.onnx) for network in bundle.networks) / 1e6
            table.add_row(
                each, bundle.title, f"{size:.1f}", str(len(bundle.networks)), str(bundle.views), bundle.licence
            )
        _console().print(table)
        print("tuningfork models NAME shows a model's card")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path("tuningfork-demo.html"),
    n: Annotated[int, typer.Option("--n", min=1, max=100, help="How many galaxies.")] = 8,
    seed: Annotated[int, typer.Option(min=0)] = 3,
    model: Annotated[str, typer.Option(help="A shipped model's name, or a bundle's folder.")] = "default",
) -> None:
    """Simulate a handful of galaxies, predict them, and write a page with pictures and votes.

    Examples:

        tuningfork demo

        tuningfork demo --n 20 --seed 7 -o page.html
    """
    with _trouble():
        from .demo import write_demo
        from .files import check_writable

        check_writable(output)
        for line in write_demo(output, n=n, seed=seed, model=model):
            print(line)
        print(f"\n{output.resolve()}: open this page in a browser")


# ---------------------------------------------------------------------------------------- helpers


@contextmanager
def _trouble() -> Iterator[None]:
    """Turn what can go wrong into one clear line and an exit code."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        print("interrupted; give the same command with --resume to go on", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            where = f" ({error.filename})" if error.filename else ""
            raise _fail(
                f"no space left on the disk{where}; make room, then give the same command with --resume"
            ) from None
        raise _fail(str(error)) from None
    except ValueError as error:  # all of our own errors are ValueErrors with a message for people
        raise _fail(str(error)) from None


def _fail(message: str) -> typer.Exit:
    print(f"error: {message}", file=sys.stderr)
    return typer.Exit(FAILED)


def _must_exist(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise typer.BadParameter(f"{path}: no such file or folder")


def _row_error(path: str, reason: str) -> RowError:
    from .catalog import RowError

    return RowError(path, 0, "", "", reason)


def _report_rows(errors: Sequence[RowError], total: int | None = None) -> None:
    """Print the rows that failed, and leave with exit code 3 if there are any."""
    if not errors:
        return
    for error in errors[:SHOWN_ERRORS]:
        print(f"failed: {error}", file=sys.stderr)
    _rest(len(errors) if total is None else total, file=sys.stderr)
    raise typer.Exit(SOME_ROWS_FAILED)


def _rest(total: int, file: Any = None) -> None:
    if total > SHOWN_ERRORS:
        print(f"  … and {total - SHOWN_ERRORS} more", file=file or sys.stdout)


def _print_json(value: Any, indent: int | None = 1) -> None:
    print(json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False))


def _console() -> Console:
    # A pipe has no width of its own; rich would fold tables at 80 columns.
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on stderr; nothing at all where stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
