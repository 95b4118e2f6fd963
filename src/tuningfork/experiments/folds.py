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
from ..model.bundle import open_bundle
from ..model.model import Model
from ..tables.csv import csv_text
from ..training.options import Hardware, TrainingOptions
from ..training.recipe import load_recipe
from ..training.train import train
from .fold_plan import FoldPlan, FoldRow
from .runs import TrainingRun, read_run

__all__ = ["fold_table", "markdown", "run_folds", "write_fold_table"]

logger = logging.getLogger(__name__)

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
        for fold in plan.used:
            for seed in row.seeds:
                folder = _folder(output, row, fold, seed)
                if (folder / "result.json").exists():
                    continue
                logger.info("%s, fold %d, seed %d", row.name, fold, seed)
                teacher = plan.named(row.teacher) if row.teacher else None
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


def fold_table(plan: FoldPlan, output: Path) -> list[dict[str, Any]]:
    """The table's rows, as far as they are trained: scores of the validation folds.

    Each has ``name``, ``what``, ``trainings``, ``seconds`` (of one training) and for each of rmse_complete,
    rmse_known, accuracy and macro_f1 the mean and the sample standard deviation over trainings; ``gain`` is
    how much smaller rmse_known is than the first row's on the same folds, as a fraction, with its spread.
    """
    first: dict[tuple[int, int], dict[str, float]] = {}
    table: list[dict[str, Any]] = []
    for row in plan.row:
        scores = {}
        for fold in plan.used:
            for seed in row.seeds if row.recipe else (0,):
                run = _predicted(row, plan, output, fold, seed)
                if run is not None:
                    scores[fold, seed] = _run_scores(run)
        if not scores:
            continue
        first = first or scores
        reference = {
            fold: float(np.mean([s["rmse_known"] for (k, _), s in first.items() if k == fold])) for fold, _ in first
        }
        gains = [1 - s["rmse_known"] / reference[fold] for (fold, _), s in scores.items() if fold in reference]
        table.append(
            {
                "name": row.name,
                "what": row.what or row.name,
                "trainings": len(scores),
                "folds": len({fold for fold, _ in scores}),
                "seconds": _mean([s["seconds"] for s in scores.values()])[0],
                **{key: _mean([s[key] for s in scores.values()]) for key in _SCORES},
                "gain": _mean(gains),
            }
        )
    return table


def _predicted(row: FoldRow, plan: FoldPlan, output: Path, fold: int, seed: int) -> TrainingRun | None:
    """A run with the row's own predictions in it; None if it is not done."""
    if row.mean_of:
        members = [plan.named(name) for name in row.mean_of]
        runs = [
            _predicted(each.changed(views=row.views or each.views), plan, output, fold, each.seeds[0])
            for each in members
        ]
        done = [run for run in runs if run is not None]
        if len(done) < len(runs):
            return None
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
        scores = {key: row[key] for key in (*_SCORES, "gain")}
        means = {key: "" if mean is None else f"{mean:.5f}" for key, (mean, _) in scores.items()}
        spreads = {f"{key}_sd": "" if spread is None else f"{spread:.5f}" for key, (_, spread) in scores.items()}
        about = {key: row[key] for key in ("name", "what", "trainings")}
        rows.append({**about, "seconds": round(row["seconds"] or 0), **means, **spreads})
    write_text(output / "table.csv", csv_text(rows))
    write_text(output / "table.md", markdown(table))


def markdown(table: Sequence[Mapping[str, Any]]) -> str:
    """The table as Markdown: mean ± sample standard deviation over trainings."""

    def cell(pair: Sequence[float | None], digits: int = 4, scale: float = 1) -> str:
        if pair[0] is None:
            return "–"
        spread = "" if pair[1] is None else f" ± {pair[1] * scale:.{digits}f}"
        return f"{pair[0] * scale:.{digits}f}{spread}"

    lines = [
        "| row | what | trainings | minutes each | RMSE, complete rows | RMSE, known columns "
        "| less than the first row, % | accuracy | macro F1 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table:
        minutes = f"{row['seconds'] / 60:.1f}" if row["seconds"] else "–"
        lines.append(
            f"| {row['name']} | {row['what']} | {row['trainings']} | {minutes} | {cell(row['rmse_complete'])} | "
            f"{cell(row['rmse_known'])} | {cell(row['gain'], 1, 100)} | {cell(row['accuracy'], 3)} | "
            f"{cell(row['macro_f1'], 3)} |"
        )
    return "\n".join(lines) + "\n"
