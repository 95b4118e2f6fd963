"""`tuningfork evaluate`, `classes` and `lint`: what tables of votes are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .._utils.text import counted, decimals
from .command_line import app
from .console import echo, print_json
from .errors import SHOWN_ERRORS, SOME_ROWS_FAILED, must_exist, print_rest, report_rows, trouble
from .files import writing
from .options import (
    IncludeTrainingOption,
    JsonOption,
    LabelsArgument,
    ModelOfTableOption,
    OverwriteOption,
    PartOption,
    PredictionsArgument,
    ResamplesOption,
    SplitOption,
    TreeOption,
    ValuesKindOption,
)
from .screen import print_table

__all__ = ["classes", "evaluate", "lint", "print_coverage"]


@app.command()
def classes(
    labels: LabelsArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Table to write: ID, class (0-6 or empty), status.")
    ] = None,
    tree: TreeOption = "gz2",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sort volunteers' votes into the clean-sample classes and count them.

    Unclassified galaxies pass the thresholds of no class; of undecided ones, blank votes leave it open.

    Examples:

        tuningfork classes training_solutions_rev1.csv

        tuningfork classes training_solutions_rev1.csv -o classes.csv

        tuningfork classes decals.parquet --tree gz_decals --json
    """
    must_exist([labels])
    with trouble(), writing(output, [labels, tree], overwrite) as output:
        from ..tables import table_writer
        from ..votes.class_counts import class_counts, class_table
        from ..votes.label_table import read_labels

        table = read_labels(labels, tree)
        counts = class_counts(table.votes)
        if output:
            rows = class_table(table.votes)
            with table_writer(output, rows.schema) as write:
                write(rows)
        if as_json:
            print_json({"galaxies": len(table), "counts": counts})
        else:
            named = len(table.tree.classes)
            cells = ((n if n < named else "", name, count) for n, (name, count) in enumerate(counts.items()))
            print_table(("class", "", "galaxies"), cells, title=f"{len(table)} galaxies of {labels}")
        report_rows(table.errors)


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
    must_exist([labels])
    with trouble():
        from ..votes.label_table import read_labels
        from ..votes.lint import lint as check

        result = check(read_labels(labels, tree), tolerance)
        report = result.to_dict()
        if as_json:
            print_json(report)
        else:
            echo(f"{labels}: {report['rows']} rows, {report['complete_rows']} complete")
            if result.unknown:
                cells = sum(result.unknown.values())
                echo(f"unknown: {cells} cells in {len(result.unknown)} columns (allowed)")
            if report["ignored_columns"]:
                echo(f"ignored columns: {', '.join(report['ignored_columns'])}")
            echo(f"broken sums: {len(result.broken)} (off by more than {tolerance:g})")
            for entry in report["broken_sums"][:SHOWN_ERRORS]:
                equal = entry["should_equal"]
                echo(f"  {entry['id']}: {entry['question']} should sum to {equal}, off by {entry['off_by']:+.6f}")
            print_rest(len(result.broken))
            echo(f"rows that fit several classes: {len(result.several_classes)}")
            for id_, names in list(result.several_classes.items())[:SHOWN_ERRORS]:
                echo(f"  {id_}: {', '.join(names)} (the first counts)")
            print_rest(len(result.several_classes))
        report_rows(result.labels.errors)
        if result.broken:
            raise typer.Exit(SOME_ROWS_FAILED)


@app.command()
def evaluate(
    predictions: PredictionsArgument,
    labels: LabelsArgument,
    split: SplitOption = None,
    part: PartOption = "test",
    images: Annotated[
        list[Path] | None, typer.Option(help="Images, for the nearest-neighbour baseline (with --split).")
    ] = None,
    tree: TreeOption = "gz2",
    model: ModelOfTableOption = None,
    include_training: IncludeTrainingOption = False,
    values_kind: ValuesKindOption = None,
    resamples: ResamplesOption = 1000,
    as_json: JsonOption = False,
) -> None:
    """Score predictions against volunteers' votes, with bootstrap intervals; with --split also simple baselines.

    Beside the scores of a class, `→ 3` counts its galaxies that were predicted as class 3.

    Examples:

        tuningfork evaluate votes.parquet training_solutions_rev1.csv

        tuningfork evaluate votes.csv training_solutions_rev1.csv --split run/split.csv --images images_training_rev1

        tuningfork evaluate votes.csv training_solutions_rev1.csv --json
    """
    must_exist([predictions, labels, *([split] if split else []), *(images or [])])
    if images and not split:
        raise typer.BadParameter("the baselines need --split, to know the training part", param_hint="--images")
    with trouble():
        from ..evaluation.evaluate import evaluate as score
        from ..evaluation.prediction_table import read_predictions
        from ..evaluation.training_overlap import training_to_exclude
        from ..votes.label_table import read_labels
        from ..votes.split_file import read_split

        votes = read_labels(labels, tree, values_kind=values_kind.value if values_kind else "")
        table = read_predictions(predictions, votes.tree)
        exclude = training_to_exclude(table.ids, table.about, model, include=include_training)
        result = score(
            table,
            votes,
            split=read_split(split) if split else None,
            subset=part,
            images=images or (),
            resamples=resamples,
            exclude=exclude,
        )
        if as_json:
            print_json(result.report)
        else:
            _print_scores(result.report)
        report_rows(result.errors)


def _print_scores(report: dict[str, Any]) -> None:
    echo(f"{report['galaxies']} galaxies (part: {report['part']}), {report['complete_rows']} with complete votes")
    if "rmse_per_question" in report:
        _print_votes(report)
    else:
        echo("no votes to score: these predictions tell classes only")
    intervals, rmse = report.get("intervals"), report.get("rmse_per_question", {})
    if intervals:
        title = f"By question; volunteers' fractions within their intervals, promised: {intervals['level']:.3g}"
        print_coverage(intervals["per_question"], title, rmse)
    else:
        if rmse:
            print_table(("question", "RMSE"), ((name, decimals(value, 4)) for name, value in rmse.items()))
        echo("no intervals to judge: Kaggle's layout, or a model without calibration (tuningfork calibrate), has none")
    if "classes" not in report:
        echo("no class to score: predictions in Kaggle's layout, or of votes only, have none")
        return
    scores = report["classes"]
    _print_classes(scores, f"{counted(scores['galaxies'], 'galaxy', 'galaxies')} whose votes pass the rule of a class")
    if "classes_and_none" in report:
        scores = report["classes_and_none"]
        undecided = f"; {scores['undecided']} undecided ones are left out, others weighted to stand for them"
        left_out = undecided if scores["undecided"] else ""
        galaxies = counted(scores["galaxies"], "galaxy", "galaxies")
        _print_classes(scores, f"{galaxies} of any class and none{left_out}")


def _print_votes(report: dict[str, Any]) -> None:
    from ..model.card import interval_text

    keys = ("rmse_complete_rows", "rmse_known_columns")
    models = {"predictions": report, **report.get("baselines", {})}
    rows = ((name.replace("_", " "), *(interval_text(each[key]) for key in keys)) for name, each in models.items())
    print_table(("RMSE (95 % interval)", "complete rows", "known columns"), rows)
    echo(f"largest violation of a sum of the tree: {report['largest_sum_violation']:.2g}")


def print_coverage(per_question: dict[str, Any], title: str, rmse: dict[str, float | None] | None = None) -> None:
    """Print how often intervals hold, as `reliability.coverage` gives it: all answers to a question, and the shown one.

    Parameters
    ----------
    rmse : dict, optional
        Of each question, to stand beside it.
    """
    from ..model.card import coverage_cells

    rows = []
    for name, each in per_question.items():
        halves = (decimals(each[half] and each[half]["joint"], 2) for half in ("small_reach", "large_reach"))
        of_all, of_shown = coverage_cells(each, 3)
        scored = [decimals(rmse.get(name), 4)] if rmse else []
        rows.append((name, each["galaxies"], *scored, *of_all, *halves, *of_shown))
    columns = ("all answers", "width", "few asked", "many asked", "shown answer", "width")
    print_table(("question", "galaxies", *(["RMSE"] if rmse else []), *columns), rows, title=title)


def _print_classes(scores: dict[str, Any], heading: str) -> None:
    from ..model.card import interval_text

    names = scores["names"]
    has_none = len(names) > 0 and "expected" in next(iter(scores["per_class"].values()))
    counts = ("true", "named", "expected") if has_none else ("galaxies",)
    matrix = scores["confusion_matrix"]
    rows = [
        (
            f"{number} {names[number]}",
            *(f"{values[key]:.0f}" for key in counts),
            *(decimals(values[key], 3) for key in ("precision", "recall", "f1")),
            *(f"{count:.0f}" for count in matrix[number]),
        )
        for number, values in enumerate(scores["per_class"].values())
    ]
    predicted = [f"→ {number}" for number in range(len(names))]
    print_table(("class", *counts, "precision", "recall", "F1", *predicted), rows, title=heading)
    text = ", ".join(
        f"{name.replace('_', ' ').replace('f1', 'F1')} {interval_text(scores[name])}"
        for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1")
    )
    echo(text)
    if reliability := scores["reliability"]:
        perfect = reliability["if_perfect"]
        echo(
            f"calibration error {reliability['calibration_error']:.4f} (10 bins of equally many; a perfectly "
            f"calibrated model would show {perfect['mean']:.4f} with so few, below {perfect['quantile_95']:.4f} "
            "19 times of 20)"
        )
