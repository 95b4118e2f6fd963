"""What a search leaves for people and other programs: table, recipe, figures, a page for a repository."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..._utils.files import atomic_file, write_text
from ...tables import RowError
from ...training.recipe import Recipe
from .space import Dimension, applied

__all__ = ["Search", "TrialRow", "recipe_text", "write_all", "write_trials"]

#: Okabe & Ito's colours, told apart by all; the marks differ too.
_BLUE, _RED, _ORANGE, _GREY = "#0072B2", "#D55E00", "#E69F00", "#777777"


@dataclass(frozen=True)
class TrialRow:
    """One trial: `state` is complete, pruned or failed, `value` the lowest of its epochs, `seconds` its whole time."""

    number: int
    state: str
    value: float | None
    values: dict[str, float]
    epochs: int
    seconds: float | None
    reason: str
    best: bool


@dataclass(frozen=True)
class Search:
    """A search as far as it is; `short` is `recipe` at the trials' length, `wanted` the trials asked for.

    `errors` are the rows and pictures that no trial could use.
    """

    rows: tuple[TrialRow, ...]
    monitor: str
    wanted: int
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
            "wanted": self.wanted,
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


def write_all(folder: Path, search: Search) -> None:
    """trials.csv, trials.png, README.md; where there is a best, best.toml; of enough trials importance.png."""
    write_trials(folder / "trials.csv", search)
    best = folder / "best.toml"
    if search.best:
        write_text(best, _header(search, search.best) + recipe_text(applied(search.recipe, search.best.values)))
    if any(row.value is not None for row in search.rows):
        _save(_trials_figure(search), folder / "trials.png")
    if search.importances:
        _save(_importance_figure(search), folder / "importance.png")
    write_text(folder / "README.md", _page(search, best.name))


def write_trials(path: Path, search: Search) -> None:
    """``trials.csv``: number, state, value, every parameter, epochs, seconds, reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "state", "value", *search.names, "epochs", "seconds", "reason"])
    for row in search.rows:
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        cells = [row.values.get(name, "") for name in search.names]
        value = "" if row.value is None else row.value
        writer.writerow([row.number, row.state, value, *cells, row.epochs, seconds, row.reason])
    write_text(path, text.getvalue())


# ------------------------------------------------------------------ the best recipe


def _header(search: Search, best: TrialRow) -> str:
    lines = [
        "tuningfork train --recipe best.toml --images images_training_rev1 --labels training_solutions_rev1.csv -o run",
        f"Trial {best.number} of {len(search.finished)}, found by",
        search.command,
        f"Hardware: {search.hardware}. Time: {_seconds(best.seconds)} that trial, {_duration(search.seconds)} all.",
        f"Score: {search.monitor} {best.value:.4f} on the {search.counts['validation']} galaxies of the validation "
        f"part, the lowest of {len(search.finished)} trials and so a little flattered.",
        f"Found by the search: {', '.join(search.names)}.",
    ]
    if search.short.epochs != search.recipe.epochs:
        lines.append(
            f"A trial had {search.short.epochs} epochs, warm-up, patience and averaging shortened alike; this recipe "
            f"trains its {search.recipe.epochs}."
        )
    # A line break in a file's name must not end the comment.
    return "".join(f"# {re.sub(r'[^ -~¡-￿]', ' ', line)}\n" for line in lines)


def recipe_text(recipe: Recipe) -> str:
    """A recipe as TOML that `load_recipe` reads: whole, standing on no other."""
    plain, tables = [], []
    for key, value in recipe.to_dict().items():
        if not isinstance(value, Mapping):
            plain.append(f"{key} = {_toml(value)}\n")
        elif value:
            tables.append(f"\n[{key}]\n" + "".join(f"{_key(name)} = {_toml(cell)}\n" for name, cell in value.items()))
    return "".join(plain + tables)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(cell)}" for key, cell in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's texts, numbers and booleans are TOML's.
    return json.dumps(value)


# ------------------------------------------------------------------ the page


def _page(search: Search, recipe: str) -> str:
    best, names = search.best, search.names
    lines = [
        "# A search of a recipe's settings",
        "",
        "```console",
        f"$ {search.command}",
        "```",
        "",
        f"{len(search.finished)} of {search.wanted} trials are done; {_states(search)}. Each had at most "
        f"{search.short.epochs} epochs of {search.short.network}, on {search.counts['train']} galaxies. Value: the "
        f"lowest `{search.monitor}` of its epochs, on the {search.counts['validation']} galaxies of the validation "
        f"part; the {search.counts['test']} of the test part were not looked at. The first trial has the recipe's own "
        f"settings, as near as the space has them. Hardware: {search.hardware}; time: {_duration(search.seconds)}.",
        "",
    ]
    if best:
        lines += [f"Best: trial {best.number}, {best.value:.4f}; [{recipe}]({recipe}) is its recipe. It is the best of "
                  "many on one part, so another part will be a little less kind to it.", ""]  # fmt: skip
    cells = [["", "state", search.monitor, *names, "epochs", "s", "reason"]]
    for row in search.rows:
        mark = "**" if row.best else ""
        cells.append(
            [f"{mark}{row.number}{mark}", row.state, "" if row.value is None else f"{mark}{row.value:.4f}{mark}"]
            + [f"{row.values[name]:.4g}" if name in row.values else "" for name in names]
            + [str(row.epochs), "" if row.seconds is None else f"{row.seconds:.0f}", row.reason.replace("|", "/")]
        )
    numeric = ["---:", ":---", *["---:"] * (len(names) + 3), ":---"]
    lines += [f"| {' | '.join(line)} |" for line in (cells[0], numeric, *cells[1:])]
    if any(row.value is not None for row in search.rows):
        lines += ["", "![The value of each trial, and beside each parameter](trials.png)", ""]
    if search.importances:
        lines += [
            "How much each parameter decides whether a trial is among the best quarter (PED-ANOVA, Watanabe et al. "
            "2023; of so few trials a hint, no measurement):",
            "",
            "| parameter | importance |",
            "|:---|---:|",
            *(f"| {name} | {share:.2f} |" for name, share in search.importances.items()),
            "",
            "![Importance of each parameter](importance.png)",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _states(search: Search) -> str:
    states = [row.state for row in search.rows]
    return ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed"))


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.0f} s"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


# ------------------------------------------------------------------ the figures


def _save(figure: Figure, path: Path) -> None:
    with atomic_file(path) as beside:
        figure.savefig(beside, format="png", dpi=150)


def _trials_figure(search: Search) -> Figure:
    columns = 4
    rows = -(-len(search.space) // columns)
    figure = Figure(figsize=(11, 3.2 + 2.5 * rows), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[1.3, *[1] * rows])
    top = _ceiling(search)
    axes = figure.add_subplot(grid[0, :])
    _points(axes, search, [row.number for row in search.rows], top)
    complete = [row for row in search.rows if row.state == "complete" and row.value is not None]
    if complete:
        lowest = np.minimum.accumulate([row.value for row in complete])
        axes.step([row.number for row in complete], lowest, where="post", color=_GREY, lw=1, label="best so far")
    axes.set(xlabel="trial", ylabel=search.monitor)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    for place, dimension in enumerate(search.space):
        axes = figure.add_subplot(grid[1 + place // columns, place % columns])
        told = [row.values.get(dimension.name, np.nan) for row in search.rows]
        if dimension.choices:
            told = [dimension.choices.index(value) if value in dimension.choices else np.nan for value in told]
            axes.set_xticks(range(len(dimension.choices)), [str(choice) for choice in dimension.choices])
            axes.set_xlim(-0.5, len(dimension.choices) - 0.5)
        elif dimension.log:
            axes.set_xscale("log")
        _points(axes, search, told, top)
        axes.set_xlabel(_LABELS.get(dimension.name, dimension.name.replace("_", " ")))
        if place % columns == 0:
            axes.set_ylabel(search.monitor)
    return figure


_LABELS = {
    "size": "size (px)",
    "crop": "crop (of the frame's side)",
    "shift": "shift (of the crop's side)",
    "zoom": "zoom (± about 1)",
    "brightness": "brightness (± about 1)",
    "rotation": "rotation up to (°)",
}


def _ceiling(search: Search) -> float:
    """Values above are drawn at the upper edge: one trial that explodes would flatten all others."""
    told = [row.value for row in search.rows if row.value is not None]
    low, middle, high = np.percentile(told, (0, 50, 75))
    return max(high + 3 * (high - low), middle * 1.02)


def _points(axes: Axes, search: Search, x: Sequence[float], top: float) -> None:
    for state, mark, colour in (("complete", "o", _BLUE), ("pruned", "x", _RED), ("failed", "+", _GREY)):
        for above, marker in ((False, mark), (True, "^")):
            here = [
                (at, min(row.value, top))
                for at, row in zip(x, search.rows, strict=True)
                if row.state == state and row.value is not None and (row.value > top) == above
            ]
            if here:
                axes.scatter(*zip(*here, strict=True), marker=marker, c=colour, s=26, linewidths=1.3,
                             label=f"{state}, off the scale" if above else state)  # fmt: skip
    for at, row in zip(x, search.rows, strict=True):
        if row.best:
            axes.scatter([at], [row.value], marker="*", s=170, c=_ORANGE, edgecolors="black", zorder=3, label="best")
    axes.grid(alpha=0.25)


def _importance_figure(search: Search) -> Figure:
    names = list(search.importances)[::-1]
    figure = Figure(figsize=(6, 0.8 + 0.32 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh([name.replace("_", " ") for name in names], [search.importances[name] for name in names], color=_BLUE)
    axes.set(xlabel="importance (shares of 1)", xlim=(0, None))
    axes.grid(alpha=0.25, axis="x")
    return figure
