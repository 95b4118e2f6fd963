"""All numbers of a report in one dict of plain values: those of the page, and of ``metrics.json``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import __version__
from ...evaluation import metrics
from ...evaluation.prediction_table import PredictionTable
from ...evaluation.purity import purity
from ...evaluation.true_classes import TrueClasses
from ...training.recipe import RecipeError, builtin_recipes, load_recipe
from ...votes.vote_table import VoteTable
from ..published import errata, load_published
from ..runs import Study, TrainingRun
from ..scores import (
    VOLUNTEERS,
    Draws,
    best_run,
    ensemble_curve,
    noise_floor,
    repeats,
    run_scores,
    tree_flow,
    validation_score,
    wilson,
)
from .examples import class_examples, remarkable_classes, remarkable_votes

__all__ = ["SCORES", "gather"]

logger = logging.getLogger(__name__)

#: The scores of a table of networks, the first one ordering it.
SCORES = {
    "votes": ("rmse_complete_rows", "rmse_known_columns"),
    "classes": ("accuracy", "macro_precision", "macro_recall", "macro_f1"),
}
_RESULT_KEYS = (
    "seed", "size", "task", "initial_weights", "epochs", "epochs_planned", "best_epoch", "parameters", "counts",
    "seconds", "galaxies_per_second", "peak_memory_mb", "device", "processes", "cores", "versions",
)  # fmt: skip


def gather(study: Study, part: str = "test", *, resamples: int = 1000) -> dict[str, Any]:
    """Score all runs of a study on one part; plain values with None for what is unknown."""
    scores: dict[str, dict[str, Any]] = {}
    draws: dict[str, dict[str, Draws]] = {}
    for run in study.everything:
        logger.info("scoring %s", run.name)
        scores[run.name], draws[run.name] = run_scores(run, part, resamples=resamples)
    return {
        "format": "tuningfork-report",
        "version": 1,
        "tuningfork": __version__,
        "source": str(study.folder),
        "part": part,
        "resamples": resamples,
        "paper": _paper(study),
        "errata": errata(),
        "study": dict(study.about),
        "networks": {kind: _networks(study, kind, part, scores, draws) for kind in SCORES},
        "votes": _votes(study, part, scores, resamples),
        "classes": _classes(study, part, scores, resamples),
        "galaxies": {"examples": class_examples(study.everything)},
        "runs": [_run(run, study, part, scores[run.name]) for run in study.everything],
        "broken": [{"name": each.name, "reason": each.reason} for each in study.broken],
    }


def _paper(study: Study) -> dict[str, Any]:
    paper = load_published()
    each = metrics.per_class(paper.confusion)
    fits = [entry["key"] for entry in paper.classes] == [rule.key for rule in study.tree.classes]
    return {
        "reference": paper.reference,
        "galaxies": paper.galaxies,
        "size": paper.size,
        "class_galaxies": paper.class_galaxies,
        "regression": list(paper.regression),
        "classification": list(paper.classification),
        "anchors": list(paper.anchors),
        "classes": list(paper.classes),
        "same_classes": fits,
        "confusion_network": paper.confusion_network,
        "confusion_matrix": paper.confusion.tolist(),
        "per_class": {
            entry["key"]: {
                "galaxies": entry["test"],
                **{name: float(values[c]) for name, values in each.items()},
                "recall_wilson": wilson(int(paper.confusion[c, c]), int(paper.confusion[c].sum())),
            }
            for c, entry in enumerate(paper.classes)
        },
    }


def _networks(study: Study, kind: str, part: str, scores: Any, draws: Any) -> list[dict[str, Any]]:
    """One row for each recipe or ensemble that predicts this kind, the best first."""
    paper = load_published()
    groups: dict[tuple[bool, str], list[TrainingRun]] = {}
    for run in study.everything:
        if scores[run.name][kind]:
            groups.setdefault((bool(run.members), run.group), []).append(run)
    rows = []
    for (ensemble, group), runs in groups.items():
        first = runs[0]
        same_galaxies = len({tuple(run.ids[row] for row in run.rows(part)) for run in runs}) == 1
        each = [scores[run.name][kind] for run in runs]
        run_draws = [draws[run.name][kind] for run in runs] if same_galaxies else []
        rows.append(
            {
                "group": group,
                "network": first.network,
                "ensemble": ensemble,
                "members": sorted({member for run in runs for member in run.members}),
                "runs": [run.name for run in runs],
                "size": first.result.get("size"),
                "galaxies": each[0]["galaxies"],
                **({"complete_rows": each[0]["complete_rows"]} if kind == "votes" else {}),
                "train_galaxies": _train_galaxies(first),
                "scores": {name: repeats(each, name, run_draws) for name in SCORES[kind]},
                "paper": paper.rmse_of(first.network) if kind == "votes" else paper.classes_of(first.network),
                "initial_weights": ", ".join(
                    dict.fromkeys(str(run.result.get("initial_weights") or "?") for run in runs)
                ),
                "epochs": [run.result.get("epochs") for run in runs],
                "epochs_planned": [run.result.get("epochs_planned") for run in runs],
                "recipe_epochs": _recipe_epochs(first, study),
                "trained": _training_extent(runs, study),
                "seconds": _mean([run.result.get("seconds") for run in runs]),
                "galaxies_per_second": _mean([run.result.get("galaxies_per_second") for run in runs]),
                "peak_memory_mb": max((run.result.get("peak_memory_mb") or 0 for run in runs), default=0) or None,
                "parameters": first.result.get("parameters"),
            }
        )
    sign = 1 if kind == "votes" else -1

    def order(row: dict[str, Any]) -> tuple[float, ...]:
        means = [row["scores"][name]["mean"] for name in SCORES[kind]]
        return tuple(float("inf") if mean is None else sign * mean for mean in means)

    return sorted(rows, key=order)


def _votes(study: Study, part: str, scores: Any, resamples: int) -> dict[str, Any] | None:
    run = best_run([run for run in study.everything if scores[run.name]["votes"]], "votes")
    if run is None:
        return None
    assert run.predicted is not None
    rows = run.rows(part)
    rows = rows[~np.isnan(run.predicted[rows]).any(1)]
    logger.info("averaging the best runs' votes")
    return {
        "run": run.name,
        **scores[run.name]["votes"],
        "volunteers": VOLUNTEERS,
        "noise_floor": noise_floor(run.known[rows], run.tree),
        "flow": tree_flow(run.predicted[rows], run.known[rows], run.tree),
        "ensemble_curve": ensemble_curve(study.runs, "votes", part, resamples=resamples),
        "remarkable": remarkable_votes(run, study.runs, part),
    }


def _classes(study: Study, part: str, scores: Any, resamples: int) -> dict[str, Any] | None:
    run = best_run([run for run in study.everything if scores[run.name]["classes"]], "classes")
    if run is None:
        return None
    logger.info("averaging the best runs' classes")
    return {
        "run": run.name,
        **scores[run.name]["classes"],
        "purity": _purity(run, part),
        "ensemble_curve": ensemble_curve(study.runs, "classes", part, resamples=resamples),
        "remarkable": remarkable_classes(run, part),
    }


def _purity(run: TrainingRun, part: str) -> dict[str, Any]:
    """Purity, completeness and yield of samples of each class, by all galaxies of the part, of no class or not."""
    rows = run.rows(part)
    ids = tuple(run.ids[row] for row in rows)
    votes = run.predicted if run.predicted is not None else np.full_like(run.known, np.nan)
    assert run.probability is not None
    table = PredictionTable(
        run.name,
        VoteTable(run.tree, ids, votes[rows]),
        (),
        probability=run.probability[rows],
        no_class_probability=None if run.no_class is None else run.no_class[rows],
    )
    truth = TrueClasses.of_votes(VoteTable(run.tree, ids, run.known[rows]), "truth")
    return purity(table, truth).report


def _run(run: TrainingRun, study: Study, part: str, scores: dict[str, Any]) -> dict[str, Any]:
    hashes = {key: value for key, value in run.about.items() if key.endswith("_sha256") and value}
    validation = {kind: validation_score(run, kind) for kind in SCORES}
    return {
        "name": run.name,
        "network": run.network,
        "members": list(run.members),
        **{key: run.result[key] for key in _RESULT_KEYS if key in run.result},
        "trained": _training_extent([run], study),
        "notes": [str(note) for note in run.result.get("notes") or ()],
        "hashes": hashes,
        "recipe": dict(run.recipe),
        "judged": len(run.rows(part)),
        "validation_score": {kind: metrics.number_or_none(value) for kind, value in validation.items()},
        "scores": scores,
        "curves": list(run.curves),
    }


def _train_galaxies(run: TrainingRun) -> int | None:
    counts = run.result.get("counts")
    galaxies = counts.get("galaxies") if isinstance(counts, dict) else None
    return galaxies.get("train") if isinstance(galaxies, dict) else None


def _recipe_epochs(run: TrainingRun, study: Study) -> int | None:
    """Epochs that the recipe asks for when no budget cuts it short."""
    planned = study.about.get("trainings")
    entry = planned.get(f"runs/{run.name}") if isinstance(planned, dict) else None
    if isinstance(entry, dict) and isinstance(entry.get("full_epochs"), int):
        return entry["full_epochs"]
    for name in builtin_recipes():
        if name.replace("/", "-") == run.group:
            try:
                return load_recipe(name).epochs
            except RecipeError:
                return None
    return None


def _training_extent(runs: Sequence[TrainingRun], study: Study) -> str:
    """ "fully" if each ran all epochs of its recipe or was stopped by its patience, else "partly"; "" unknown."""
    if any(run.members for run in runs):
        by_name = {run.name: run for run in study.runs}
        names = [member.removeprefix("runs/") for run in runs for member in run.members]
        if not all(name in by_name for name in names):
            return ""
        runs = [by_name[name] for name in names]
    for run in runs:
        epochs, planned, best = (run.result.get(key) for key in ("epochs", "epochs_planned", "best_epoch"))
        if not (isinstance(epochs, int) and isinstance(planned, int)):
            return ""
        full = _recipe_epochs(run, study) or planned
        patience = run.recipe.get("patience")
        stopped = isinstance(best, int) and isinstance(patience, int) and epochs < planned and epochs - best >= patience
        if min(epochs, planned) < full and not (stopped and planned >= full):
            return "partly"
    return "fully"


def _mean(values: Sequence[Any]) -> float | None:
    known = [value for value in values if isinstance(value, int | float)]
    return float(np.mean(known)) if known else None
