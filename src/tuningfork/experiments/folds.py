"""Cross-validated ablations: each row of a plan is trained on the same folds, and compared in one table."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.files import write_text
from ..evaluation import metrics
from ..evaluation.resampling import RESAMPLES, Resamples, squared_errors
from ..model.bundle import open_bundle
from ..model.model import Model
from ..tables.csv import csv_text
from ..training.options import Hardware, TrainingOptions
from ..training.recipe import load_recipe
from ..training.train import train
from .fold_plan import FoldPlan, FoldRow
from .plan import StudyError
from .runs import TrainingRun, read_run
from .scores import predicted_rows

__all__ = ["fold_table", "markdown", "run_folds", "write_fold_table"]

logger = logging.getLogger(__name__)

#: IDs of galaxies, and (N, 2) of each: the sum of squared errors and the number of known columns.
Errors = tuple[tuple[str, ...], NDArray[np.float64]]
_SCORES = ("rmse_complete", "rmse_known", "accuracy", "macro_f1")


def run_folds(
    plan: FoldPlan,
    labels: Path,
    images: Sequence[Path],
    output: Path,
    *,
    only: Sequence[str] = (),
    cache: Path | None = None,
    hardware: Hardware = Hardware(),
) -> None:
    """Train what of the plan is not yet done in `output`/ROW/fold-K-seed-S; continues after an interruption.

    Parameters
    ----------
    only : sequence of str
        Names of the rows to train; empty: all.

    Raises what `train` raises; the trainings that are done stay.
    """
    for row in plan.row:
        if not row.recipe or (only and row.name not in only):
            continue
        for fold in plan.used_folds:
            for seed in row.seeds:
                folder = _folder(output, row, fold, seed)
                if (folder / "result.json").exists():
                    continue
                logger.info("%s, fold %d, seed %d", row.name, fold, seed)
                teacher = plan.row_named(row.teacher) if row.teacher else None
                # One split for all rows, whatever their recipes say.
                recipe = load_recipe(row.recipe).changed(
                    fold=fold, seed=seed, folds=plan.folds, test=plan.test, split_seed=0, published_split={}
                )
                options = TrainingOptions(
                    init=row.init or None,
                    sources=row.sources or None,
                    teacher=_folder(output, teacher, fold, teacher.seeds[0]) / "bundle" if teacher else None,
                    resume=(folder / "last.ckpt").exists(),
                    cache=cache,
                )
                train(labels, images, folder, recipe, options=options, hardware=hardware)


def _folder(output: Path, row: FoldRow, fold: int, seed: int) -> Path:
    return output / row.name / f"fold-{fold}-seed-{seed}"


def fold_table(plan: FoldPlan, output: Path, *, resamples: int = RESAMPLES) -> list[dict[str, Any]]:
    """The table's rows, as far as they are trained: scores of the validation folds.

    Each has ``name``, ``what``, ``trainings``, ``seconds`` (of one training) and for each of rmse_complete,
    rmse_known, accuracy and macro_f1 the mean and the sample standard deviation over trainings. ``than`` names the row
    that it is compared with; ``gain`` is how much smaller rmse_known is than that row's on the same folds, as a
    fraction, with its spread over trainings, and ``paired`` the same over all galaxies of these folds, with its 95 %
    bootstrap interval: both networks predict the same resampled galaxies.

    Raises
    ------
    StudyError
        If the members of a mean predicted different galaxies.
    """
    scores: dict[str, dict[tuple[int, int], dict[str, float]]] = {}
    errors: dict[str, dict[int, Errors]] = {}
    table: list[dict[str, Any]] = []
    for row in plan.row:
        own: dict[tuple[int, int], dict[str, float]] = {}
        galaxies: dict[int, list[Errors]] = {}
        for fold in plan.used_folds:
            for seed in row.seeds if row.recipe else (0,):
                run = _run_of(row, plan, output, fold, seed)
                if run is not None:
                    own[fold, seed] = _run_scores(run)
                    galaxies.setdefault(fold, []).append(_galaxy_errors(run))
        if not own:
            continue
        scores[row.name] = own
        errors[row.name] = {fold: (each[0][0], np.mean([e for _, e in each], 0)) for fold, each in galaxies.items()}
        than = row.than if row.than in scores else next(iter(scores))
        reference = {
            fold: float(np.mean([s["rmse_known"] for (k, _), s in scores[than].items() if k == fold]))
            for fold, _ in scores[than]
        }
        gains = [1 - s["rmse_known"] / reference[fold] for (fold, _), s in own.items() if fold in reference]
        table.append(
            {
                "name": row.name,
                "what": row.what or row.name,
                "trainings": len(own),
                "folds": len({fold for fold, _ in own}),
                "seconds": _mean([s["seconds"] for s in own.values()])[0],
                **{key: _mean([s[key] for s in own.values()]) for key in _SCORES},
                "than": than,
                "gain": _mean(gains),
                "paired": _improvement(errors[row.name], errors[than], resamples),
            }
        )
    return table


def _galaxy_errors(run: TrainingRun) -> Errors:
    """IDs of a fold's predicted galaxies, and (N, 2) their `squared_errors`."""
    rows = run.rows("validation")
    if run.predicted is None:
        return tuple(run.ids[row] for row in rows), np.full((len(rows), 2), np.nan)
    rows = predicted_rows(run.predicted, rows)
    return tuple(run.ids[row] for row in rows), squared_errors(run.predicted[rows], run.known[rows])


def _improvement(ours: Mapping[int, Errors], theirs: Mapping[int, Errors], resamples: int) -> dict[str, float | None]:
    """By how much our RMSE is smaller than theirs on the galaxies of the folds that both have, as a fraction."""
    pairs = []
    for fold in sorted(ours.keys() & theirs.keys()):
        places = {id_: row for row, id_ in enumerate(theirs[fold][0])}
        rows = [(n, places[id_]) for n, id_ in enumerate(ours[fold][0]) if id_ in places]
        pairs += [np.concatenate([ours[fold][1][n], theirs[fold][1][m]]) for n, m in rows]
    sums = np.array(pairs).reshape(-1, 4)
    drawn = Resamples.of(sums, resamples).drawn

    def gain(values: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1 - np.sqrt(values[..., 0] / values[..., 1] / (values[..., 2] / values[..., 3]))

    return metrics.Interval.of(float(gain(sums.sum(0))), gain(drawn)).to_dict()


def _run_of(row: FoldRow, plan: FoldPlan, output: Path, fold: int, seed: int) -> TrainingRun | None:
    """A run with the row's own predictions in it; None if it is not done."""
    if row.mean_of:
        members = [plan.row_named(name) for name in row.mean_of]
        runs = [
            _run_of(each.changed(views=row.views or each.views), plan, output, fold, each.seeds[0]) for each in members
        ]
        done = [run for run in runs if run is not None]
        if len(done) < len(runs):
            return None
        if any(run.ids != done[0].ids for run in done):
            raise StudyError(
                f"{row.name}: {' and '.join(row.mean_of)} predicted different galaxies of fold {fold}; "
                "train them on the same labels and images"
            )
        return replace(
            done[0],
            predicted=_mean_of([run.predicted for run in done]),
            probability=_mean_of([run.probability for run in done]),
        )
    folder = _folder(output, row, fold, seed)
    if not (folder / "result.json").exists():
        return None
    run = read_run(folder)
    if row.views and row.views != run.recipe["views"]:
        model = Model(open_bundle(folder / "bundle"))
        rows = run.rows("validation")
        predictions = model.predict([Path(run.paths[i]) for i in rows], n_views=row.views)
        if run.predicted is not None:
            run.predicted[rows] = predictions.cumulative
        if run.probability is not None:
            run.probability[rows] = predictions.class_probability
    return run


def _mean_of(values: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    """The mean over runs; None if one of them predicts no such thing."""
    arrays = [each for each in values if each is not None]
    return np.mean(arrays, 0) if len(arrays) == len(values) else None


def _run_scores(run: TrainingRun) -> dict[str, float]:
    rows = run.rows("validation")
    complete = rows[run.complete[rows]]
    scores = {
        "rmse_complete": float("nan"),
        "rmse_known": float("nan"),
        "accuracy": float("nan"),
        "macro_f1": float("nan"),
        "seconds": float(run.result["seconds"]),
    }
    if run.predicted is not None:
        scores |= {
            "rmse_complete": metrics.rmse(run.predicted[complete], run.known[complete]),
            "rmse_known": metrics.rmse(run.predicted[rows], run.known[rows]),
        }
    if run.probability is not None:
        rows = run.class_rows("validation")
        predicted = run.probability[rows].argmax(1)
        matrix = metrics.confusion_matrix(run.classes[rows], predicted, len(run.tree.classes))
        scores |= {"accuracy": metrics.accuracy(matrix), "macro_f1": metrics.macro(matrix)["f1"]}
    return scores


def _mean(values: Sequence[float]) -> list[float | None]:
    """Mean and sample standard deviation of the finite values, None where there is none."""
    finite = [value for value in values if np.isfinite(value)]
    return [
        float(np.mean(finite)) if finite else None,
        float(np.std(finite, ddof=1)) if len(finite) > 1 else None,
    ]


def write_fold_table(table: Sequence[Mapping[str, Any]], output: Path) -> None:
    """Write `output`/table.json, table.csv and table.md."""
    write_text(output / "table.json", json.dumps(list(table), indent=1) + "\n")
    rows = []
    for row in table:
        paired = {f"paired_{key}": "" if value is None else f"{value:.5f}" for key, value in row["paired"].items()}
        scores = {key: row[key] for key in (*_SCORES, "gain")}
        means = {key: "" if mean is None else f"{mean:.5f}" for key, (mean, _) in scores.items()}
        spreads = {f"{key}_sd": "" if spread is None else f"{spread:.5f}" for key, (_, spread) in scores.items()}
        about = {key: row[key] for key in ("name", "what", "trainings")}
        seconds = round(row["seconds"] or 0)
        rows.append({**about, "seconds": seconds, **means, **spreads, "than": row["than"], **paired})
    write_text(output / "table.csv", csv_text(rows))
    write_text(output / "table.md", markdown(table))


def markdown(table: Sequence[Mapping[str, Any]]) -> str:
    """The table as Markdown: mean ± sample standard deviation over trainings; gains with their paired intervals."""

    def cell(pair: Sequence[float | None], digits: int = 4, scale: float = 1) -> str:
        if pair[0] is None:
            return "–"
        spread = "" if pair[1] is None else f" ± {pair[1] * scale:.{digits}f}"
        return f"{pair[0] * scale:.{digits}f}{spread}"

    lines = [
        "| row | what | trainings | minutes each | RMSE, complete rows | RMSE, known columns "
        "| less than | by, % (95 %, paired) | accuracy | macro F1 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table:
        minutes = f"{row['seconds'] / 60:.1f}" if row["seconds"] else "–"
        lines.append(
            f"| {row['name']} | {row['what']} | {row['trainings']} | {minutes} | {cell(row['rmse_complete'])} | "
            f"{cell(row['rmse_known'])} | {_gain_text(row)} | {cell(row['accuracy'], 3)} | "
            f"{cell(row['macro_f1'], 3)} |"
        )
    return "\n".join(lines) + "\n"


def _gain_text(row: Mapping[str, Any]) -> str:
    """Two cells: the row compared with, and by how much the error is smaller, in percent."""
    value, low, high = (row["paired"][key] for key in ("value", "low", "high"))
    if row["name"] == row["than"]:
        return "– | –"
    if value is None:
        return f"{row['than']} | –"
    bounds = "" if low is None else f" ({100 * low:.1f}…{100 * high:.1f})"
    return f"{row['than']} | {100 * value:.1f}{bounds}"
