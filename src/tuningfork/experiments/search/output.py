"""The files of a search: table of trials, best recipe, figures, and a README for a repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import tomli_w

from ..._utils.files import atomic_file, write_text
from ...display.optuna_plots import optuna_figures
from ...tables import RowError
from ...tables.csv import csv_text
from ...training.recipe import Recipe
from .space import Dimension, apply_values

__all__ = ["SearchReport", "TrialRow", "recipe_toml", "write_files", "write_trials"]


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Parameters
    ----------
    number : int
    state : "complete", "pruned" or "failed"
    value : float, optional
        The lowest of its epochs.
    values : dict
        The settings that were tried.
    epochs : int
    seconds : float, optional
        Wall-clock time of the trial.
    reason : str
        Why it was pruned or failed; "" if it is complete.
    best : bool
    """

    number: int
    state: str
    value: float | None
    values: dict[str, float]
    epochs: int
    seconds: float | None
    reason: str
    best: bool


@dataclass(frozen=True)
class SearchReport:
    """The state of a search.

    Parameters
    ----------
    rows : tuple of TrialRow
    monitor : str
        The score of the validation part that trials are compared by, lower is better.
    n_trials : int
        Trials that the search aims at.
    recipe, short : Recipe
        The recipe, and as the trials shorten it.
    space : tuple of Dimension
    importances : dict
        Of each parameter, summing to 1; empty with too few trials.
    command, hardware : str
        For the README.
    counts : dict
        Galaxies of each part.
    errors : tuple of RowError
        The rows and images that no trial could use.
    """

    rows: tuple[TrialRow, ...]
    monitor: str
    n_trials: int
    recipe: Recipe
    short: Recipe
    space: tuple[Dimension, ...]
    importances: dict[str, float]
    command: str
    hardware: str
    counts: dict[str, int]
    errors: tuple[RowError, ...] = ()

    @property
    def finished(self) -> tuple[TrialRow, ...]:
        """Trials that count: complete and pruned ones."""
        return tuple(row for row in self.rows if row.state != "failed")

    @property
    def best(self) -> TrialRow | None:
        """The complete trial of the lowest value, if there is one."""
        return next((row for row in self.rows if row.best), None)

    @property
    def seconds(self) -> float:
        """Time of all trials."""
        return sum(row.seconds or 0.0 for row in self.rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in the space's order."""
        return tuple(dimension.name for dimension in self.space)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {
            "monitor": self.monitor,
            "n_trials": self.n_trials,
            "finished": len(self.finished),
            "trials": [
                {"number": row.number, "state": row.state, "value": row.value, "parameters": row.values,
                 "epochs": row.epochs, "seconds": row.seconds, "reason": row.reason}
                for row in self.rows
            ],
            "best": self.best.number if self.best else None,
            "importances": self.importances,
            "space": {dimension.name: dimension.bounds() for dimension in self.space},
            "galaxies": self.counts,
            "left_out": len(self.errors),
            "seconds": self.seconds,
            "hardware": self.hardware,
        }  # fmt: skip


def write_files(folder: Path, report: SearchReport, trials: optuna.Study) -> None:
    """Write trials.csv and README.md; best.toml if there is a best trial; the figures if there are values.

    Parameters
    ----------
    trials : optuna.Study
        All finished trials with their values, for the figures.
    """
    write_trials(folder / "trials.csv", report)
    if report.best:
        recipe = apply_values(report.recipe, report.best.values)
        write_text(folder / "best.toml", _header(report, report.best) + recipe_toml(recipe))
    figures = optuna_figures(trials, report.monitor, importance=bool(report.importances)) if trials.trials else {}
    for name, content in figures.items():
        with atomic_file(folder / f"{name}.png") as partial:
            partial.write_bytes(content)
    write_text(folder / "README.md", _readme(report, figures))


def write_trials(path: Path, report: SearchReport) -> None:
    """Write ``trials.csv``: number, state, value, every parameter, epochs, seconds, reason."""
    rows: list[list[Any]] = [["number", "state", "value", *report.names, "epochs", "seconds", "reason"]]
    for row in report.rows:
        seconds = None if row.seconds is None else round(row.seconds, 1)
        values = [row.values.get(name) for name in report.names]
        rows.append([row.number, row.state, row.value, *values, row.epochs, seconds, row.reason])
    write_text(path, csv_text(rows))


def recipe_toml(recipe: Recipe) -> str:
    """A complete recipe as TOML that `load_recipe` reads, without a base; None is left out."""
    values = recipe.to_dict()
    return tomli_w.dumps({key: value for key, value in values.items() if value is not None and value != {}})


def _header(report: SearchReport, best: TrialRow) -> str:
    lines = [
        "tuningfork train --recipe best.toml --images images_training_rev1 --labels training_solutions_rev1.csv -o run",
        f"The best of {len(report.finished)} trials, number {best.number}, of the search",
        report.command,
        f"Hardware: {report.hardware}. Time: {best.seconds or 0:.0f} s that trial, {_duration(report.seconds)} all.",
        f"Score: {report.monitor} {best.value:.4f} on the {report.counts['validation']} galaxies of the validation "
        f"part, the lowest of {len(report.finished)} trials and so a little optimistic.",
        f"Searched: {', '.join(report.names)}.",
    ]
    if report.short.epochs != report.recipe.epochs:
        lines.append(
            f"A trial had {report.short.epochs} epochs, with warm-up, patience and averaging shortened alike; this "
            f"recipe trains its {report.recipe.epochs}."
        )
    # A line break in a file's name must not end the comment.
    return "".join(f"# {re.sub(r'[^ -~¡-￿]', ' ', line)}\n" for line in lines)


def _readme(report: SearchReport, figures: Mapping[str, bytes]) -> str:
    states = [row.state for row in report.rows]
    counted = ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    lines = [
        f"""# A search of a recipe's settings

```console
$ {report.command}
```

{len(report.finished)} of {report.n_trials} trials are done; {counted}. Each had at most {report.short.epochs} \
epochs of {report.short.network}, on {report.counts["train"]} galaxies. Value: the lowest `{report.monitor}` of its \
epochs, on the {report.counts["validation"]} galaxies of the validation part; the {report.counts["test"]} galaxies \
of the test part were not used. The first trial has the recipe's own settings, as near as the space has them. \
Hardware: {report.hardware}; time: {_duration(report.seconds)}.
"""
    ]
    if report.best:
        lines.append(
            f"Best: trial {report.best.number}, {report.best.value:.4f}; [best.toml](best.toml) is its recipe. It is "
            "the best of many on one part, so another part will give a slightly worse score.\n"
        )
    lines += _markdown_table(report)
    if "history" in figures:
        lines += ["", "![The value of each trial](history.png)", "", "![The value beside each parameter](slices.png)"]
    if report.importances:
        lines += [
            "",
            "How much each parameter decides whether a trial is among the best quarter (PED-ANOVA, Watanabe et al. "
            "2023; of so few trials a hint, no measurement):",
            "",
            "| parameter | importance |",
            "|:---|---:|",
            *(f"| {name} | {share:.2f} |" for name, share in report.importances.items()),
            "",
            "![Importance of each parameter](importance.png)",
        ]
    return "\n".join(lines) + "\n"


def _markdown_table(report: SearchReport) -> list[str]:
    cells = [["", "state", report.monitor, *report.names, "epochs", "s", "reason"]]
    cells.append(["---:", ":---", *["---:"] * (len(report.names) + 3), ":---"])
    for row in report.rows:
        mark = "**" if row.best else ""
        cells.append(
            [f"{mark}{row.number}{mark}", row.state, "" if row.value is None else f"{mark}{row.value:.4f}{mark}"]
            + [f"{row.values[name]:.4g}" if name in row.values else "" for name in report.names]
            + [str(row.epochs), "" if row.seconds is None else f"{row.seconds:.0f}", row.reason.replace("|", "/")]
        )
    return [f"| {' | '.join(line)} |" for line in cells]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
