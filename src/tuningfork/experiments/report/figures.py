"""The figures of a report: plots and thumbnails, from its numbers and its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...display import plots
from ...display.purity_plot import purity_panels
from ...images.encode import jpeg, thumbnail
from ..runs import Study, TrainingRun

__all__ = ["figures", "image_reader"]

Numbers = Mapping[str, Any]
#: Task, column of curves.csv, label of its axis, caption.
_CURVES = (
    ("votes", "train_loss", "training loss", "Votes: loss of the training part"),
    ("votes", "val_rmse", "RMSE", "Votes: RMSE of the validation part"),
    ("classes", "train_loss", "training loss", "Classes: loss of the training part"),
    ("classes", "val_loss", "cross-entropy", "Classes: cross-entropy of the validation part"),
    ("classes", "val_accuracy", "accuracy", "Classes: accuracy of the validation part"),
)
_SCORES = {
    "votes": {"rmse_complete_rows": "RMSE, complete rows", "rmse_known_columns": "RMSE, known columns"},
    "classes": {"accuracy": "accuracy", "macro_f1": "macro F1"},
}


def figures(numbers: Numbers, study: Study) -> dict[str, Any]:
    """All plots of the report's templates by name; None where there is nothing to draw."""
    votes = numbers["votes"]
    return {
        "curves": list(_learning_curves(numbers, study)),
        "fractions": _fractions(numbers, study) if votes else [],
        "max_points": plots.MAX_POINTS,
        "question_errors": _question_errors(votes) if votes else None,
        "purity": purity_panels(numbers["classes"]["purity"]) if numbers["classes"] else None,
        "confusions": _confusions(numbers, study) if numbers["classes"] else [],
        "ensemble_curves": _ensemble_curves(numbers),
        "decision_tree": plots.decision_tree(votes["flow"], study.tree) if votes else None,
    }


def image_reader(study: Study) -> Callable[..., bytes | None]:
    """A function of (path, name of a run): the JPEG of the part of an image that the run's network sees."""

    def read(path: str, run: str = "") -> bytes | None:
        small = thumbnail(path, _crop(study, run))
        return None if small is None else jpeg(small)

    return read


def _question_errors(votes: Numbers) -> bytes | None:
    try:
        return plots.question_errors(votes["rmse_per_question"])
    except plots.PlotError:  # no votes are known: the section says so
        return None


def _learning_curves(numbers: Numbers, study: Study) -> Any:
    groups = {run.name: run.group for run in study.everything}
    for task, column, label, caption in _CURVES:
        runs = [run for run in numbers["runs"] if run["curves"] and run.get("task") in (task, "both")]
        if task == "classes" and column == "train_loss":
            runs = [run for run in runs if run.get("task") != "both"]  # it is drawn among the votes
        plot = plots.curves(runs, column, label, [groups[run["name"]] for run in runs])
        if plot is not None:
            yield caption, sum(any(column in row for row in run["curves"]) for run in runs), plot


def _fractions(numbers: Numbers, study: Study) -> list[tuple[str, int, bytes | None]]:
    scores = numbers["votes"]
    run = _run_named(study, scores["run"])
    assert run.predicted is not None
    rows = run.rows(numbers["part"])
    panels = []
    for question in study.tree.questions:
        galaxies = scores["rmse_per_question"][question.key]["galaxies"]
        plot = None
        if galaxies:
            plot = plots.predicted_against_true(
                run.predicted[rows], run.known[rows], study.tree, question.key, scores["volunteers"]
            )
        panels.append((question.text, galaxies, plot))
    return panels


def _confusions(numbers: Numbers, study: Study) -> list[tuple[str, str, bytes]]:
    names = [rule.name for rule in study.tree.classes]
    sources = [("ours", numbers["classes"]["run"], numbers["classes"]["confusion_matrix"])]
    if numbers["paper"]["same_classes"]:
        sources.append(("paper", "EfficientNet-B5 of the paper", numbers["paper"]["confusion_matrix"]))
    return [
        (source, unit, plots.confusion(matrix, names, f"{owner}, {unit}", fractions=fractions))
        for owner, source, matrix in sources
        for fractions, unit in ((False, "counts"), (True, "share of the true class"))
    ]


def _ensemble_curves(numbers: Numbers) -> list[tuple[str, list[Any], bytes | None]]:
    panels = []
    for kind, labels in _SCORES.items():
        curve = numbers[kind]["ensemble_curve"] if numbers[kind] else []
        panels.append((kind, curve, plots.ensemble_size(curve, labels) if len(curve) > 1 else None))
    return panels


def _run_named(study: Study, name: str) -> TrainingRun:
    return next(run for run in study.everything if run.name == name)


def _crop(study: Study, name: str = "") -> float:
    for run in study.runs:
        crop = run.recipe.get("crop")
        if (not name or run.name == name) and isinstance(crop, int | float) and 0 < crop <= 1:
            return float(crop)
    return 0.5
