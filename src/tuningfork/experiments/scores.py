"""Scores of training runs with bootstrap intervals: of one run, of repeats of a recipe, of averaged runs.

All results are plain dicts and lists, as JSON holds them: None where there was nothing to score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.binomial import binomial_interval
from ..evaluation import metrics
from ..evaluation.metrics import Interval
from ..evaluation.resampling import RESAMPLES, Resamples, confusion_cells, intervals_of, root_mean, squared_errors
from ..votes.tree import DecisionTree
from .runs import TrainingRun

__all__ = [
    "VOLUNTEERS",
    "best_run",
    "class_scores",
    "ensemble_curve",
    "noise_floor",
    "predicted_rows",
    "repeats",
    "run_scores",
    "tree_flow",
    "validation_score",
    "vote_scores",
    "wilson",
]

Floats = NDArray[np.float64]
#: The values of a score in each bootstrap resample, by the score's name.
Draws = dict[str, Floats]
#: About as many looked at each galaxy of Galaxy Zoo 2 (Willett et al. 2013, section 2).
VOLUNTEERS = 40


def vote_scores(
    predicted: Floats, known: Floats, tree: DecisionTree, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[dict[str, Any], Draws]:
    """RMSE on complete rows (Kaggle's) and over all known columns, and of each question beside the noise floor.

    Parameters
    ----------
    predicted, known : (N, A)
        Cumulative fractions, NaN in `known` where unknown.

    Returns
    -------
    scores : dict
    draws : dict of (resamples,)
        The bootstrap's values of the two scores over all questions.
    """
    # (N, Q + 1, 2): by question, then in all.
    parts = [*tree.slices, slice(None)]
    errors = np.stack([squared_errors(predicted[:, part], known[:, part]) for part in parts], 1)
    counts = errors[..., 1]
    complete = counts[:, -1] == known.shape[1]

    def resampled(rows: Any) -> tuple[list[dict[str, float | None]], Floats]:
        sums = Resamples.of(errors[rows].reshape(-1, 2 * len(parts)), resamples, seed)
        scores = sums.scores(lambda each: root_mean(each.reshape(-1, 2)))
        return [interval.to_dict() for interval in intervals_of(*scores)], scores[1]

    on_complete, complete_draws = resampled(complete)
    on_known, known_draws = resampled(slice(None))
    floor = noise_floor(known, tree)
    scores = {
        "galaxies": len(known),
        "complete_rows": int(complete.sum()),
        "rmse_complete_rows": on_complete[-1],
        "rmse_known_columns": on_known[-1],
        "rmse_per_question": {
            question.key: {**score, "noise_floor": floor["per_question"][question.key], "galaxies": int(galaxies)}
            for question, score, galaxies in zip(tree.questions, on_known, (counts > 0).sum(0), strict=False)
        },
        "noise_floor_known_columns": floor["known_columns"],
        "noise_floor_complete_rows": noise_floor(known[complete], tree)["known_columns"],
    }
    return scores, {"rmse_complete_rows": complete_draws[:, -1], "rmse_known_columns": known_draws[:, -1]}


def noise_floor(known: Floats, tree: DecisionTree, volunteers: int = VOLUNTEERS) -> dict[str, Any]:
    """RMSE that a perfect prediction would still have, for `volunteers` independent votes a galaxy.

    The share of n votes for an answer of probability p scatters binomially, by sqrt(p (1 − p) / n); the
    observed fraction stands for p. Real votes are weighted and not independent, so this is a guide.
    """
    variance = known * (1 - known) / volunteers

    def root(values: Floats) -> float | None:
        cells = values[~np.isnan(values)]
        return float(np.sqrt(max(cells.mean(), 0.0))) if cells.size else None

    return {
        "volunteers": volunteers,
        "known_columns": root(variance),
        "per_question": {q.key: root(variance[:, part]) for q, part in zip(tree.questions, tree.slices, strict=True)},
    }


def class_scores(
    probability: Floats, classes: NDArray[np.int64], tree: DecisionTree, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[dict[str, Any], Draws]:
    """Accuracy, precision, recall, F1 of each class and their means, and the confusion matrix.

    Parameters
    ----------
    probability : (N, C)
    classes : (N,) in 0…C−1

    Returns
    -------
    scores : dict
    draws : dict of (resamples,)
        The bootstrap's values of accuracy and of the macro scores.
    """
    n_classes = len(tree.classes)
    predicted = probability.argmax(1) if len(classes) else classes
    matrix = metrics.confusion_matrix(classes, predicted, n_classes)
    resampled = Resamples.of(confusion_cells(classes, predicted, n_classes), resamples, seed)

    names = [*metrics.overall(matrix)]

    def all_scores(sums: Floats) -> Floats:
        one = sums.reshape(matrix.shape)
        return np.concatenate([[*metrics.overall(one).values()], *metrics.per_class(one).values()])

    values, drawn, left_out = resampled.scores(all_scores)
    intervals = intervals_of(values, drawn, left_out)
    draws = dict(zip(names, drawn.T, strict=False))
    of_classes = np.reshape(np.array(intervals[len(names) :], object), (len(metrics.SCORES), n_classes))
    scores = {
        "galaxies": len(classes),
        **{name: interval.to_dict() for name, interval in zip(names, intervals, strict=False)},
        "per_class": {
            rule.key: {
                "name": rule.name,
                "galaxies": int(matrix[c].sum()),
                **{name: of_classes[k, c].to_dict() for k, name in enumerate(metrics.SCORES)},
                "recall_wilson": wilson(int(matrix[c, c]), int(matrix[c].sum())),
            }
            for c, rule in enumerate(tree.classes)
        },
        "confusion_matrix": matrix.tolist(),
    }
    return scores, draws


def wilson(hits: int, count: int) -> dict[str, float | None]:
    """A share with its 95 % Wilson interval, `binomial_interval`; None throughout without galaxies.

    Examples
    --------
    >>> {key: round(value, 3) for key, value in wilson(7, 10).items()}
    {'value': 0.7, 'low': 0.397, 'high': 0.892}
    """
    if not count:
        return Interval.of(math.nan, ()).to_dict()
    low, high = binomial_interval(hits, count)
    return {"value": hits / count, "low": low, "high": high}


def run_scores(
    run: TrainingRun, part: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[dict[str, Any], dict[str, Draws]]:
    """Scores and bootstrap draws of a run by kind: ``votes`` and ``classes``; None where there is nothing to score."""
    scores: dict[str, Any] = {"votes": None, "classes": None}
    draws: dict[str, Draws] = {}
    options = {"resamples": resamples, "seed": seed}
    if run.predicted is not None:
        rows = predicted_rows(run.predicted, run.rows(part))
        if len(rows):
            scores["votes"], draws["votes"] = vote_scores(run.predicted[rows], run.known[rows], run.tree, **options)
    if run.probability is not None:
        rows = predicted_rows(run.probability, run.class_rows(part))
        if len(rows):
            scores["classes"], draws["classes"] = class_scores(
                run.probability[rows], run.classes[rows], run.tree, **options
            )
    return scores, draws


def repeats(scores: Sequence[Mapping[str, Any]], name: str, draws: Sequence[Draws] = ()) -> dict[str, Any]:
    """Mean and spread (sample standard deviation) of one score over repeats of a recipe.

    `draws` holds each repeat's bootstrap values; as all draw the same galaxies, their mean gives the interval of the
    mean over galaxies. The spread is over seeds: a different uncertainty.
    """
    values = [s[name]["value"] for s in scores if s[name]["value"] is not None]
    mean = float(np.mean(values)) if values else math.nan
    same_galaxies = len(draws) == len(values) and len({len(d[name]) for d in draws}) == 1
    interval = Interval.of(mean, np.mean([d[name] for d in draws], axis=0) if same_galaxies else ()).to_dict()
    return {
        "mean": interval.pop("value"),
        **interval,
        "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "runs": len(values),
    }


def validation_score(run: TrainingRun, kind: str) -> float:
    """The score that orders runs, lower is better: RMSE of the votes, or mean −log probability of the class."""
    if kind == "votes":
        rows = run.rows("validation")
        return metrics.rmse(run.predicted[rows], run.known[rows]) if run.predicted is not None else math.nan
    rows = run.class_rows("validation")
    if run.probability is None or not len(rows):
        return math.nan
    return float(-np.log(np.maximum(run.probability[rows, run.classes[rows]], 1e-12)).mean())


def best_run(runs: Iterable[TrainingRun], kind: str) -> TrainingRun | None:
    """The best run by `validation_score`; one without a score comes last."""
    return min((run for run in runs if _values(run, kind) is not None), key=_by_validation(kind), default=None)


def ensemble_curve(
    runs: Sequence[TrainingRun], kind: str, part: str = "test", *, resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Any]]:
    """Scores of the average of the k best runs, k = 1, 2, …, in the order of `validation_score`.

    Only runs of the same galaxies can be averaged: of several sets, that with the most runs counts.
    """
    by_galaxies: dict[frozenset[tuple[str, str]], list[TrainingRun]] = {}
    for run in runs:
        if _values(run, kind) is not None:
            by_galaxies.setdefault(frozenset(zip(run.ids, run.parts.tolist(), strict=True)), []).append(run)
    if not by_galaxies:
        return []
    most = max(by_galaxies.values(), key=len)
    chosen = sorted(most, key=_by_validation(kind))
    first = chosen[0]
    rows = first.rows(part) if kind == "votes" else first.class_rows(part)
    if not len(rows):
        return []
    total: Any = 0.0
    curve = []
    for k, run in enumerate(chosen, 1):
        position = {id_: row for row, id_ in enumerate(run.ids)}
        values = _values(run, kind)
        assert values is not None  # as `by_galaxies` has only such runs
        total = total + values[[position[first.ids[row]] for row in rows]]
        if kind == "votes":
            scores, _ = vote_scores(total / k, first.known[rows], first.tree, resamples=resamples, seed=seed)
            names = ("rmse_complete_rows", "rmse_known_columns")
        else:
            scores, _ = class_scores(total / k, first.classes[rows], first.tree, resamples=resamples, seed=seed)
            names = ("accuracy", "macro_f1")
        score = metrics.number_or_none(validation_score(run, kind))
        curve.append(
            {"size": k, "added": run.name, "validation_score": score, **{name: scores[name] for name in names}}
        )
    return curve


def tree_flow(predicted: Floats, known: Floats, tree: DecisionTree) -> dict[str, Any]:
    """Mean fraction that goes through each answer: the volunteers' and the model's, over the same galaxies.

    Complete rows where there are any, since their means keep the tree's sums; else each column's known ones.
    """
    complete = ~np.isnan(known).any(1)
    if complete.any():
        predicted, known = predicted[complete], known[complete]
    answers = {}
    for a, column in enumerate(tree.columns):
        cells = ~np.isnan(known[:, a])
        answers[column] = {
            "volunteers": float(known[cells, a].mean()) if cells.any() else None,
            "model": float(predicted[cells, a].mean()) if cells.any() else None,
            "galaxies": int(cells.sum()),
        }
    return {"complete_rows_only": bool(complete.any()), "answers": answers}


def _values(run: TrainingRun, kind: str) -> Floats | None:
    return run.predicted if kind == "votes" else run.probability


def _by_validation(kind: str) -> Any:
    def key(run: TrainingRun) -> tuple[bool, float, str]:
        score = validation_score(run, kind)
        return (False, score, run.name) if math.isfinite(score) else (True, 0.0, run.name)

    return key


def predicted_rows(values: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows that have a prediction."""
    return rows[~np.isnan(values[rows]).any(1)]
