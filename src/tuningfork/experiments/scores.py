"""How good each run is, with intervals; repeats of a recipe together; what averaging more runs gives.

All results are plain dicts and lists, as JSON holds them: None where there was nothing to score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation import metrics
from ..evaluation.metrics import Interval, binomial_interval
from ..votes.tree import DecisionTree
from .runs import Run

__all__ = [
    "VOLUNTEERS",
    "best_run",
    "class_scores",
    "ensemble_curve",
    "noise_floor",
    "repeats",
    "resampled",
    "run_scores",
    "tree_flow",
    "validation_score",
    "vote_scores",
    "wilson",
]

Floats = NDArray[np.float64]
#: About as many looked at each galaxy of Galaxy Zoo 2 (Willett et al. 2013, section 2).
VOLUNTEERS = 40
RESAMPLES = 1000


def resampled(columns: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Column sums of bootstrap samples of the rows: (N, K) → (resamples, K).

    Draws the very rows that `metrics.bootstrap` draws from the same seed, all columns at once.
    """
    rng, count = np.random.default_rng(seed), len(columns)
    out = np.empty((resamples, columns.shape[1]))
    for row in out:
        row[:] = np.bincount(rng.integers(0, count, count), minlength=count) @ columns
    return out


def vote_scores(
    predicted: Floats,
    known: Floats,
    tree: DecisionTree,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    drawn: dict[str, Floats] | None = None,
) -> dict[str, Any]:
    """RMSE on complete rows (Kaggle's) and over all known columns, and of each question beside the noise floor.

    Parameters
    ----------
    predicted, known : (N, A)
        Cumulative fractions, NaN in `known` where unknown.
    drawn : dict, optional
        Filled with the bootstrap's values (resamples,) of each score that stands for all questions.
    """
    squares, cells = _sums(predicted, known, tree)
    complete = ~np.isnan(known).any(1)
    whole, whole_drawn = _rmse_intervals(squares[complete], cells[complete], resamples, seed)
    each, each_drawn = _rmse_intervals(squares, cells, resamples, seed)
    if drawn is not None:
        drawn |= {"rmse_complete_rows": whole_drawn[:, -1], "rmse_known_columns": each_drawn[:, -1]}
    floor = noise_floor(known, tree)
    return {
        "galaxies": len(known),
        "complete_rows": int(complete.sum()),
        "rmse_complete_rows": whole[-1],
        "rmse_known_columns": each[-1],
        "rmse_per_question": {
            question.key: {**each[q], "noise_floor": floor["per_question"][question.key], "galaxies": int(n)}
            for q, (question, n) in enumerate(zip(tree.questions, (cells > 0).sum(0)[:-1], strict=True))
        },
        "noise_floor_known_columns": floor["known_columns"],
        "noise_floor_complete_rows": noise_floor(known[complete], tree)["known_columns"],
    }


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
    probability: Floats,
    classes: NDArray[np.int64],
    tree: DecisionTree,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    drawn: dict[str, Floats] | None = None,
) -> dict[str, Any]:
    """Accuracy, precision, recall, F1 of each class and their means, and the confusion matrix.

    Parameters
    ----------
    probability : (N, C)
    classes : (N,) in 0…C−1
    drawn : dict, optional
        As in `vote_scores`.
    """
    count = len(tree.classes)
    matrix = metrics.confusion_matrix(classes, probability.argmax(1) if len(classes) else classes, count)
    matrices = _resampled_matrices(probability, classes, count, resamples, seed)
    each, mean = metrics.per_class(matrix), metrics.macro(matrix)
    drawn_each = [metrics.per_class(m) for m in matrices]
    values = {"accuracy": metrics.accuracy(matrix), **{f"macro_{name}": value for name, value in mean.items()}}
    spread = {
        "accuracy": np.array([metrics.accuracy(m) for m in matrices]),
        # As `metrics.macro`: a resample holds galaxies, so that some class occurs.
        **{f"macro_{name}": np.array([np.nanmean(d[name]) for d in drawn_each]) for name in each},
    }
    if drawn is not None:
        drawn |= spread
    return {
        "galaxies": len(classes),
        **{name: Interval.of(value, spread[name]).to_dict() for name, value in values.items()},
        "per_class": {
            rule.key: {
                "name": rule.name,
                "galaxies": int(matrix[c].sum()),
                **{
                    name: Interval.of(float(each[name][c]), [d[name][c] for d in drawn_each]).to_dict() for name in each
                },
                "recall_wilson": wilson(int(matrix[c, c]), int(matrix[c].sum())),
            }
            for c, rule in enumerate(tree.classes)
        },
        "confusion_matrix": matrix.tolist(),
    }


def wilson(hits: int, count: int) -> dict[str, float | None]:
    """A share with its 95 % interval, `metrics.binomial_interval`; None throughout if there are no galaxies."""
    if not count:
        return Interval.of(math.nan, ()).to_dict()
    low, high = binomial_interval(hits, count)
    return {"value": hits / count, "low": low, "high": high}


def run_scores(
    run: Run, part: str, *, resamples: int = RESAMPLES, seed: int = 0, drawn: dict[str, dict[str, Floats]] | None = None
) -> dict[str, Any]:
    """The scores of what a run tells: ``votes`` and ``classes``, each None where there is nothing to score.

    `drawn` is filled by kind, as in `vote_scores`.
    """
    out: dict[str, Any] = {"votes": None, "classes": None}
    drawn = {} if drawn is None else drawn
    draw = {"resamples": resamples, "seed": seed}
    if run.predicted is not None:
        rows = _told(run.predicted, run.rows(part))
        if len(rows):
            told, known = run.predicted[rows], run.known[rows]
            out["votes"] = vote_scores(told, known, run.tree, **draw, drawn=drawn.setdefault("votes", {}))
    if run.probability is not None:
        rows = _told(run.probability, run.class_rows(part))
        if len(rows):
            told, true = run.probability[rows], run.classes[rows]
            out["classes"] = class_scores(told, true, run.tree, **draw, drawn=drawn.setdefault("classes", {}))
    return out


def repeats(
    scores: Sequence[Mapping[str, Any]], name: str, drawn: Sequence[Mapping[str, Floats]] = ()
) -> dict[str, Any]:
    """Mean and spread (sample standard deviation) of one score over repeats of a recipe.

    `drawn` holds each repeat's bootstrap values; as all draw the same galaxies, their mean gives the
    interval of the mean over galaxies. The spread is that over seeds: the two tell different things.
    """
    values = [s[name]["value"] for s in scores if s[name]["value"] is not None]
    mean = float(np.mean(values)) if values else math.nan
    alike = len(drawn) == len(values) and len({len(d[name]) for d in drawn}) == 1
    interval = Interval.of(mean, np.mean([d[name] for d in drawn], axis=0) if alike else ()).to_dict()
    return {
        "mean": interval["value"],
        "low": interval["low"],
        "high": interval["high"],
        "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "runs": len(values),
    }


def validation_score(run: Run, kind: str) -> float:
    """What runs are ordered by, the lower the better: RMSE of the votes, or the classes' mean −log probability."""
    if kind == "votes":
        rows = run.rows("validation")
        return metrics.rmse(run.predicted[rows], run.known[rows]) if run.predicted is not None else math.nan
    if run.probability is None:
        return math.nan
    return _log_loss(run.probability, run.classes, run.class_rows("validation"))


def best_run(runs: Iterable[Run], kind: str) -> Run | None:
    """The best by `validation_score`; one without a score comes last."""
    told = [run for run in runs if (run.predicted if kind == "votes" else run.probability) is not None]
    scored = [(score if math.isfinite(score := validation_score(run, kind)) else math.inf, run) for run in told]
    return min(scored, key=lambda pair: pair[0])[1] if scored else None


def ensemble_curve(
    runs: Sequence[Run], kind: str, part: str = "test", *, resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Any]]:
    """Scores of the average of the k best runs, k = 1, 2, …, in the order of `validation_score`.

    Only runs of the same galaxies can be averaged: of several sets, that with the most runs counts.
    """
    alike: dict[frozenset[tuple[str, str]], list[Run]] = {}
    for run in runs:
        if (run.predicted if kind == "votes" else run.probability) is not None:
            alike.setdefault(frozenset(zip(run.ids, run.parts.tolist(), strict=True)), []).append(run)
    if not alike:
        return []
    chosen = max(alike.values(), key=len)
    order = {run.name: validation_score(run, kind) for run in chosen}
    chosen = sorted(chosen, key=lambda run: (not math.isfinite(order[run.name]), order[run.name], run.name))
    first, out = chosen[0], []
    rows = first.rows(part) if kind == "votes" else first.class_rows(part)
    total = np.zeros((len(rows), len(first.tree.columns) if kind == "votes" else len(first.tree.classes)))
    if not len(rows):
        return []
    for k, run in enumerate(chosen, 1):
        told = run.predicted if kind == "votes" else run.probability
        assert told is not None
        position = {id_: row for row, id_ in enumerate(run.ids)}
        total += told[[position[first.ids[row]] for row in rows]]
        if kind == "votes":
            scores = vote_scores(total / k, first.known[rows], first.tree, resamples=resamples, seed=seed)
            kept = ("rmse_complete_rows", "rmse_known_columns")
        else:
            scores = class_scores(total / k, first.classes[rows], first.tree, resamples=resamples, seed=seed)
            kept = ("accuracy", "macro_f1")
        score = order[run.name]
        out.append(
            {
                "size": k,
                "added": run.name,
                "validation_score": metrics.number_or_none(score),
                **{name: scores[name] for name in kept},
            }
        )
    return out


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


def _told(values: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows that have a prediction."""
    return rows[~np.isnan(values[rows]).any(1)]


def _log_loss(probability: Floats, classes: NDArray[np.int64], rows: NDArray[np.int64]) -> float:
    if not len(rows):
        return math.nan
    return float(-np.log(np.maximum(probability[rows, classes[rows]], 1e-12)).mean())


def _sums(predicted: Floats, known: Floats, tree: DecisionTree) -> tuple[Floats, Floats]:
    """Squared errors and known cells of each galaxy, (N, Q + 1) both: by question, then in all."""
    squares, cells = (predicted - known) ** 2, ~np.isnan(known)
    error = [np.where(cells[:, part], squares[:, part], 0).sum(1) for part in tree.slices]
    count = [cells[:, part].sum(1).astype(float) for part in tree.slices]
    return np.stack([*error, sum(error)], 1), np.stack([*count, sum(count)], 1)


def _rmse_intervals(
    squares: Floats, cells: Floats, resamples: int, seed: int
) -> tuple[list[dict[str, float | None]], Floats]:
    columns = squares.shape[1]
    if not len(squares):
        return [Interval.of(math.nan, ()).to_dict()] * columns, np.empty((0, columns))
    drawn = resampled(np.concatenate([squares, cells], 1), resamples, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.sqrt(squares.sum(0) / cells.sum(0))
        spread = np.sqrt(drawn[:, :columns] / drawn[:, columns:])
    return [Interval.of(float(value[c]), spread[:, c]).to_dict() for c in range(columns)], spread


def _resampled_matrices(
    probability: Floats, classes: NDArray[np.int64], count: int, resamples: int, seed: int
) -> NDArray[np.int64]:
    if not len(classes):
        return np.zeros((0, count, count), np.int64)
    pairs = np.eye(count * count)[classes * count + probability.argmax(1)]
    return resampled(pairs, resamples, seed).round().astype(np.int64).reshape(-1, count, count)
