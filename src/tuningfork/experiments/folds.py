"""What helps, one thing at a time: each row of a plan is trained on the same folds, and told in one table."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._utils.files import write_text
from ..evaluation import metrics
from ..model.bundle import open_bundle
from ..model.model import Model
from ..training.options import Hardware, TrainingOptions
from ..training.recipe import Recipe, RecipeError, builtin_recipes, load_recipe
from ..training.train import train
from .plan import StudyError
from .runs import TrainingRun, read_run

__all__ = ["FoldPlan", "FoldRow", "fold_table", "load_fold_plan", "run_folds", "write_fold_table"]

_ROW_KEYS = {"name", "what", "recipe", "init", "sources", "teacher", "mean_of", "views", "seeds"}
_FIGURES = ("rmse_complete", "rmse_known", "accuracy", "macro_f1")


@dataclass(frozen=True, slots=True)
class FoldRow:
    """One line of the table.

    Parameters
    ----------
    name, what : str
        A short name for folders, and what is new in words.
    recipe : Recipe or None
        None for a row that trains nothing.
    init, sources : Path or None
        As `tuningfork train` takes them.
    teacher : str
        The row whose model of the same fold teaches, instead of the sources' own; "": theirs.
    mean_of : tuple of str
        Rows whose predictions are averaged; such a row trains nothing.
    views : int
        Views that predict, instead of the recipe's; 0: the recipe's.
    seeds : tuple of int
        Of repeats on every fold.
    """

    name: str
    what: str
    recipe: Recipe | None
    init: Path | None
    sources: Path | None
    teacher: str
    mean_of: tuple[str, ...]
    views: int
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FoldPlan:
    """Rows, all compared on the same folds of what the fraction `test` leaves; `use` are those that are trained."""

    folds: int
    use: tuple[int, ...]
    test: float
    rows: tuple[FoldRow, ...]


def load_fold_plan(path: str | Path) -> FoldPlan:
    """Read a plan from TOML: ``folds``, ``use`` and ``[[row]]`` tables; paths are relative to the file.

    Raises
    ------
    StudyError
        If it cannot be read, a key is unknown, or a row builds on one that does not come before it.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not valid TOML: {error}") from None
    folds, use, tables = values.pop("folds", 5), values.pop("use", None), values.pop("row", None)
    test = values.pop("test", Recipe().test)
    values.pop("about", None)
    if values:
        raise StudyError(f"{path}: unknown key {next(iter(values))!r}")
    use = list(range(folds)) if use is None and type(folds) is int else use
    if type(folds) is not int or folds < 2 or not isinstance(use, list) or not set(use) <= set(range(folds)) or not use:
        raise StudyError(f"{path}: folds must be at least 2, and use a list of some of 0…folds − 1")
    if not isinstance(test, float) or not 0 <= test <= 0.5:
        raise StudyError(f"{path}: test = {test!r} is not in 0…0.5")
    if not isinstance(tables, list) or not tables:
        raise StudyError(f"{path}: [[row]] tables are expected")
    rows: list[FoldRow] = []
    for number, table in enumerate(tables, 1):
        try:
            rows.append(_row(table, path.parent, [row.name for row in rows]))
        except (KeyError, TypeError, ValueError, RecipeError) as error:
            raise StudyError(f"{path}: row {number}: {error}") from None
    return FoldPlan(folds, tuple(sorted(set(use))), test, tuple(rows))


def _row(table: Mapping[str, Any], folder: Path, before: Sequence[str]) -> FoldRow:
    if odd := sorted(set(table) - _ROW_KEYS):
        raise ValueError(f"unknown key {odd[0]!r}; it takes {', '.join(sorted(_ROW_KEYS))}")
    if not isinstance(table.get("name"), str) or not table["name"] or table["name"] in before:
        raise ValueError(f"name = {table.get('name')!r}: a text of its own is expected")
    mean_of = tuple(table.get("mean_of", ()))
    if bool(mean_of) == ("recipe" in table):
        raise ValueError(f"{table['name']}: either recipe or mean_of is expected")
    for other in (*mean_of, *([table["teacher"]] if table.get("teacher") else [])):
        if other not in before:
            raise ValueError(f"{table['name']}: builds on {other!r}, which does not come before it")
    recipe = None
    if "recipe" in table:
        name = table["recipe"]
        recipe = load_recipe(name if name in builtin_recipes() else folder / name)
    return FoldRow(
        name=table["name"],
        what=str(table.get("what", table["name"])),
        recipe=recipe,
        init=folder / table["init"] if table.get("init") else None,
        sources=folder / table["sources"] if table.get("sources") else None,
        teacher=table.get("teacher", ""),
        mean_of=mean_of,
        views=int(table.get("views", 0)),
        seeds=tuple(table.get("seeds", (0,))),
    )


def run_folds(
    plan: FoldPlan,
    labels: Path,
    images: Sequence[Path],
    output: Path,
    *,
    only: Sequence[str] = (),
    cache: Path | None = None,
    workers: int = 0,
    threads: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Train what of the plan is not yet done in `output`/ROW/fold-K-seed-S; goes on after an interruption.

    Raises what `train` raises; the trainings that are done stay.
    """
    for row in plan.rows:
        if row.recipe is None or (only and row.name not in only):
            continue
        for fold in plan.use:
            for seed in row.seeds:
                folder = _folder(output, row, fold, seed)
                if (folder / "result.json").exists():
                    continue
                say(f"{row.name}, fold {fold}, seed {seed}")
                # One split for all rows, whatever their recipes would have.
                same = {"folds": plan.folds, "test": plan.test, "split_seed": 0, "published_split": {}}
                train(
                    labels,
                    images,
                    folder,
                    row.recipe.changed(fold=fold, seed=seed, **same),
                    options=TrainingOptions(
                        init=row.init,
                        sources=row.sources,
                        teacher=_folder_of(output, plan, row.teacher, fold) / "bundle" if row.teacher else None,
                        resume=(folder / "last.ckpt").exists(),
                        cache=cache,
                    ),
                    hardware=Hardware(workers=workers, threads=threads),
                )


def _folder(output: Path, row: FoldRow, fold: int, seed: int) -> Path:
    return output / row.name / f"fold-{fold}-seed-{seed}"


def _folder_of(output: Path, plan: FoldPlan, name: str, fold: int) -> Path:
    row = _named(plan, name)
    return _folder(output, row, fold, row.seeds[0])


def fold_table(plan: FoldPlan, output: Path) -> list[dict[str, Any]]:
    """The table's rows, as far as they are trained: figures of the validation folds.

    Each has ``name``, ``what``, ``trainings``, ``seconds`` (of one training) and for each of rmse_complete,
    rmse_known, accuracy and macro_f1 the mean and the sample standard deviation over trainings; ``gain`` is
    how much smaller rmse_known is than the first row's on the same folds, as a fraction, with its spread.
    """
    told: dict[str, dict[tuple[int, int], dict[str, float]]] = {}
    table: list[dict[str, Any]] = []
    for row in plan.rows:
        found = {}
        for fold in plan.use:
            for seed in row.seeds if row.recipe else (0,):
                run = _predicted(row, plan, output, fold, seed)
                if run is not None:
                    found[fold, seed] = _figures(run)
        if not found:
            continue
        told[row.name] = found
        first = next(iter(told.values()))
        gains = [
            1 - figures["rmse_known"] / np.mean([f["rmse_known"] for (k, _), f in first.items() if k == fold])
            for (fold, _), figures in found.items()
            if any(k == fold for k, _ in first)
        ]
        table.append(
            {
                "name": row.name,
                "what": row.what,
                "trainings": len(found),
                "folds": len({fold for fold, _ in found}),
                "seconds": _mean([figures["seconds"] for figures in found.values()])[0],
                **{key: _mean([figures[key] for figures in found.values()]) for key in _FIGURES},
                "gain": _mean(gains),
            }
        )
    return table


def _predicted(row: FoldRow, plan: FoldPlan, output: Path, fold: int, seed: int) -> TrainingRun | None:
    """A training's record with the row's own predictions in it; None if it is not done."""
    if row.mean_of:
        members = [_named(plan, name) for name in row.mean_of]
        runs = [
            _predicted(replace(each, views=row.views or each.views), plan, output, fold, each.seeds[0])
            for each in members
        ]
        if not all(runs):
            return None
        return replace(
            runs[0],
            predicted=np.mean([run.predicted for run in runs], 0),
            probability=np.mean([run.probability for run in runs], 0)
            if all(run.probability is not None for run in runs)
            else None,
        )
    folder = _folder(output, row, fold, seed)
    if not (folder / "result.json").exists():
        return None
    run = read_run(folder)
    if row.views and row.views != run.recipe["views"]:
        model = Model(open_bundle(folder / "bundle"))
        rows = run.rows("validation")
        said = model.predict([Path(run.paths[i]) for i in rows], n_views=row.views)
        run.predicted[rows] = said.cumulative
        if run.probability is not None:
            run.probability[rows] = said.class_probability
    return run


def _named(plan: FoldPlan, name: str) -> FoldRow:
    return next(row for row in plan.rows if row.name == name)


def _figures(run: TrainingRun) -> dict[str, float]:
    rows = run.rows("validation")
    complete = rows[run.complete[rows]]
    figures = {
        "rmse_complete": metrics.rmse(run.predicted[complete], run.known[complete]),
        "rmse_known": metrics.rmse(run.predicted[rows], run.known[rows]),
        "accuracy": float("nan"),
        "macro_f1": float("nan"),
        "seconds": float(run.result["seconds"]),
    }
    if run.probability is not None:
        decided = run.class_rows("validation")
        matrix = metrics.confusion_matrix(
            run.classes[decided], run.probability[decided].argmax(1), len(run.tree.classes)
        )
        figures |= {"accuracy": metrics.accuracy(matrix), "macro_f1": metrics.macro(matrix)["f1"]}
    return figures


def _mean(values: Sequence[float]) -> list[float | None]:
    """Mean and sample standard deviation, None where there is none."""
    known = [value for value in values if np.isfinite(value)]
    return [
        float(np.mean(known)) if known else None,
        float(np.std(known, ddof=1)) if len(known) > 1 else None,
    ]


def write_fold_table(table: Sequence[Mapping[str, Any]], output: Path) -> None:
    """`output`/table.json, table.csv and table.md."""
    write_text(output / "table.json", json.dumps(list(table), indent=1) + "\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = (*_FIGURES, "gain")
    writer.writerow(["name", "what", "trainings", "seconds", *(f"{key}{end}" for key in keys for end in ("", "_sd"))])
    for row in table:
        numbers = ["" if value is None else f"{value:.5f}" for key in keys for value in row[key]]
        writer.writerow([row["name"], row["what"], row["trainings"], round(row["seconds"] or 0), *numbers])
    write_text(output / "table.csv", text.getvalue())
    write_text(output / "table.md", markdown(table))


def markdown(table: Sequence[Mapping[str, Any]]) -> str:
    """The table for people: mean ± sample standard deviation over trainings."""

    def cell(pair: Sequence[float | None], digits: int = 4, times: float = 1) -> str:
        if pair[0] is None:
            return "–"
        spread = "" if pair[1] is None else f" ± {pair[1] * times:.{digits}f}"
        return f"{pair[0] * times:.{digits}f}{spread}"

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
