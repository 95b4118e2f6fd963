"""Plots with matplotlib: one idea a figure, as wide as a phone's screen or half a printed page.

Colours are those of Okabe & Ito 2008 and the map cividis (Nuñez et al. 2018), which the colour-blind distinguish;
lines also differ in their dashes. Each function returns the bytes of an SVG or a PNG file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..votes.traversal import outline
from ..votes.tree import DecisionTree
from .plot_style import COLOURS, DASHES, WIDTH, PlotError, one_panel, plot_style, png_bytes, short_text, svg_bytes

__all__ = [
    "PlotError",
    "cividis",
    "confusion",
    "curves",
    "decision_tree",
    "ensemble_size",
    "learning_curves",
    "predicted_against_true",
    "question_errors",
    "trust_panels",
]

Floats = NDArray[np.float64]
#: More points than this show no more and cost megabytes.
MAX_POINTS = 2000


def curves(runs: Sequence[Mapping[str, Any]], column: str, label: str, groups: Sequence[str]) -> bytes | None:
    """One line a run: one column of its ``curves.csv`` over the epochs; repeats of a recipe share colour and dashes.

    Parameters
    ----------
    runs : sequence
        Entries of ``metrics.json``'s runs.
    column, label : str
        A column of ``curves.csv``, and the label of its axis.
    groups : sequence of str
        The recipe of each run.

    Returns
    -------
    bytes or None
        An SVG; None if the column is finite in no run.
    """
    known = [
        (run, group)
        for run, group in zip(runs, groups, strict=True)
        if any(math.isfinite(row.get(column, math.nan)) for row in run["curves"])
    ]
    if not known:
        return None
    names = list(dict.fromkeys(group for _, group in known))
    with one_panel(2.4 + 0.17 * len(names)) as (figure, axes):
        labelled = set()
        for run, group in known:
            points = [(row["epoch"], row[column]) for row in run["curves"] if column in row]
            n = names.index(group)
            axes.plot(
                *np.array(points).T,
                color=COLOURS[n % len(COLOURS)],
                linestyle=DASHES[n // len(COLOURS) % len(DASHES)],
                linewidth=1.3,
                marker="." if len(points) == 1 else "",
                label=None if group in labelled else short_text(group, 44),
            )
            labelled.add(group)
        axes.set(xlabel="epoch", ylabel=label)
        axes.locator_params("x", integer=True)
        figure.legend(loc="outside lower left", ncols=1, handlelength=2.5)
        return svg_bytes(figure)


def predicted_against_true(
    predicted: Floats, known: Floats, tree: DecisionTree, question: str, volunteers: int
) -> bytes:
    """One question's cumulative fractions, the model's over the volunteers', with the volunteers' own scatter.

    Parameters
    ----------
    predicted, known : (N, A) in [0, 1]
        Cumulative fractions; NaN in `known` where unknown. Of more than `MAX_POINTS` galaxies some are drawn.
    tree : DecisionTree
    question : str
        Its key.
    volunteers : int
        How many answered of each galaxy; the grey band is ±√(p (1 − p) / volunteers).

    Returns
    -------
    bytes
        A PNG.
    """
    number = next(n for n, q in enumerate(tree.questions) if q.key == question)
    answers, part = tree.questions[number].answers, tree.slices[number]
    rows = np.flatnonzero(~np.isnan(known[:, part]).all(1))
    if len(rows) > MAX_POINTS:
        rows = np.random.default_rng(0).permutation(rows)[:MAX_POINTS]
    with one_panel(WIDTH + 0.1 + 0.19 * math.ceil((len(answers) + 1) / 2)) as (figure, axes):
        p = np.linspace(0, 1, 101)
        noise = np.sqrt(p * (1 - p) / volunteers)
        axes.fill_between(p, p - noise, p + noise, color="#bbbbbb", linewidth=0, label=f"±1 σ of {volunteers} votes")
        axes.plot(p, p, color="#666666", linewidth=0.8)
        for n, (answer, column) in enumerate(zip(answers, range(part.start, part.stop), strict=True)):
            x, y = known[rows, column], predicted[rows, column]
            axes.scatter(
                x, y, s=5, alpha=0.55, linewidth=0, color=COLOURS[n % len(COLOURS)], label=short_text(answer.text, 30)
            )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="volunteers' fraction", ylabel="model's fraction")
        axes.set_aspect("equal")
        axes.set_title(short_text(question.replace("_", " "), 50), loc="left")
        legend = figure.legend(loc="outside lower left", ncols=2, markerscale=2.5, handlelength=1.2, columnspacing=1)
        for handle in filter(None, legend.legend_handles):
            handle.set_alpha(1)
        return png_bytes(figure)


def question_errors(per_question: Mapping[str, Mapping[str, Any]]) -> bytes:
    """RMSE of each question with its interval, beside the noise floor.

    Parameters
    ----------
    per_question : mapping
        Key of a question → ``value``, ``low``, ``high`` and ``noise_floor``, of cumulative fractions; None if unknown.

    Returns
    -------
    bytes
        An SVG.

    Raises
    ------
    PlotError
        If no question has a score.
    """
    names = [name for name, each in per_question.items() if each["value"] is not None]
    if not names:
        raise PlotError("no question has a score; are any votes known?")
    with one_panel(0.75 + 0.27 * len(names)) as (figure, axes):
        at = np.arange(len(names))[::-1]
        value = np.array([per_question[name]["value"] for name in names])
        axes.barh(at, value, 0.62, color=COLOURS[5], label="model, 95 % interval")
        bounds = np.array([[per_question[name][key] for name in names] for key in ("low", "high")], float)
        low, high = np.where(np.isnan(bounds), value, bounds)
        axes.errorbar(value, at, xerr=(value - low, high - value), fmt="none", ecolor="black", elinewidth=1, capsize=2)
        floor = np.array([per_question[name]["noise_floor"] for name in names])
        axes.plot(floor, at, "D", color=COLOURS[3], markersize=4.5, label="noise floor")
        axes.set_yticks(at, [short_text(name.replace("_", " "), 30) for name in names])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("RMSE of the cumulative fractions")
        figure.legend(loc="outside lower left", ncols=2, handlelength=1.4)
        return svg_bytes(figure)


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str], title: str, *, fractions: bool = False) -> bytes:
    """A confusion matrix, rows the true class: colours show the fraction of the row, labels counts or fractions.

    Parameters
    ----------
    matrix : (C, C)
        Numbers of galaxies, which need not be integers.
    names : sequence of str
        Of the C classes.
    title : str
    fractions : bool
        Whether the labels are fractions of the row rather than numbers.

    Returns
    -------
    bytes
        An SVG.

    Raises
    ------
    PlotError
        If there is no class.
    """
    if not len(names):
        raise PlotError("a confusion matrix needs at least one class")
    counts = np.asarray(matrix, float)
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    with one_panel(WIDTH * 0.86) as (figure, axes):
        colours = matplotlib.colormaps["cividis"].with_extremes(bad="#eeeeee")
        axes.imshow(share, cmap=colours, vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(share):
            text = "–" if np.isnan(value) else f"{value:.2f}" if fractions else f"{counts[row, column]:.0f}"
            light = not np.isnan(value) and value < 0.5
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if light else "black")
        short = [short_text(f"{number} {name.split(' (')[0]}", 24) for number, name in enumerate(names)]
        axes.set_xticks(range(len(names)), [str(n) for n in range(len(names))])
        axes.set_yticks(range(len(names)), short)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted class")
        axes.set_title(title, loc="right")
        return svg_bytes(figure)


def ensemble_size(curve: Sequence[Mapping[str, Any]], scores: Mapping[str, str]) -> bytes:
    """Scores over the number of averaged runs, with their intervals.

    Parameters
    ----------
    curve : sequence of mappings
        ``size``, the number of runs, and for each score ``value``, ``low`` and ``high``.
    scores : mapping
        Name of a score → label of its line. One that is None for any size is left out.

    Returns
    -------
    bytes
        An SVG.
    """
    with one_panel(2.6) as (figure, axes):
        size = [row["size"] for row in curve]
        drawn = False
        for n, (name, label) in enumerate(scores.items()):
            if any(row[name]["value"] is None for row in curve):
                continue
            value, low, high = (np.array([row[name][key] for row in curve], float) for key in ("value", "low", "high"))
            # Beside each other, so that two intervals never hide one another.
            at = np.array(size) + (n - (len(scores) - 1) / 2) * 0.12
            axes.errorbar(
                at,
                value,
                yerr=(value - low, high - value),
                color=COLOURS[n],
                label=label,
                marker="os"[n % 2],
                linestyle=DASHES[n],
                markersize=4,
                linewidth=1.3,
                elinewidth=0.8,
                capsize=2,
            )
            drawn = True
        axes.set(xlabel="runs averaged, best of the validation part first", ylabel="score")
        axes.locator_params("x", integer=True)
        if drawn:
            figure.legend(loc="outside lower left", ncols=1)
        return svg_bytes(figure)


def learning_curves(orders: Mapping[str, Sequence[Mapping[str, Any]]], scores: Mapping[str, str]) -> bytes:
    """Error over the number of labels, one panel a score, one line an order; bands are ± 1 σ of the seeds.

    Parameters
    ----------
    orders : mapping
        As `learning_curves.summary` returns them.
    scores : mapping
        Name of a score → label of its axis.

    Returns
    -------
    bytes
        An SVG.

    Raises
    ------
    PlotError
        If there is nothing to draw.
    """
    if not scores or not any(orders.values()):
        raise PlotError("learning curves need at least one score and one order with measurements")
    numbers = sorted({row["labels"] for rows in orders.values() for row in rows})
    with one_panel(2.5 * len(scores) + 0.55) as (figure, only):
        only.remove()
        for panel, (name, label) in enumerate(scores.items(), 1):
            axes = figure.add_subplot(len(scores), 1, panel)
            for n, (order, rows) in enumerate(orders.items()):
                known = [row for row in rows if row[name]["mean"] is not None]
                at = np.array([row["labels"] for row in known])
                mean = np.array([row[name]["mean"] for row in known])
                colour = "#666666" if order == "random" else COLOURS[n % len(COLOURS)]
                if order == "random" or n == 1:  # more bands than two hide one another
                    spread = np.array([row[name]["deviation"] or 0.0 for row in known])
                    axes.fill_between(at, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
                axes.plot(
                    at,
                    mean,
                    color=colour,
                    linestyle=DASHES[n % len(DASHES)],
                    linewidth=1.5,
                    marker=".",
                    label=order if panel == 1 else None,
                )
            axes.set_xscale("log")
            axes.set_xticks(numbers, [str(number) for number in numbers])
            axes.minorticks_off()
            axes.set(ylabel=label, xlabel="labels" if panel == len(scores) else "")
        figure.legend(loc="outside lower left", ncols=3, handlelength=2.4, columnspacing=1)
        return svg_bytes(figure)


def trust_panels(report: Mapping[str, Any]) -> bytes:
    """Three panels of `trust`: intervals by group, classes by group, and right answers against probability.

    Parameters
    ----------
    report : mapping
        As `experiments.trust.trust` returns it.

    Returns
    -------
    bytes
        An SVG.
    """
    groups = report["groups"]
    with plot_style():
        figure = Figure(figsize=(3 * WIDTH, 3.2), layout="constrained")
        covered, classed, reliable = figure.subplots(1, 3)
        places = np.arange(len(groups))[::-1]
        known = [(y, each) for y, each in zip(places, groups, strict=True) if each["coverage"] is not None]
        for y, each in known:
            covered.plot([each["low"], each["high"]], [y, y], color=COLOURS[0], lw=1.5)
        covered.plot([each["coverage"] for _, each in known], [y for y, _ in known], "o", color=COLOURS[0], ms=5)
        if report["level"] is not None:
            covered.axvline(report["level"], color="#000000", ls="--", lw=1)
        covered.set(title="Intervals that hold (dashed: promised)", xlabel="share of questions, 95 % interval")
        known = [(y, each) for y, each in zip(places, groups, strict=True) if each["accuracy"] is not None]
        classed.plot([e["accuracy"] for _, e in known], [y for y, _ in known], "o", color=COLOURS[0], ms=5)
        classed.plot([e["probability"] for _, e in known], [y for y, _ in known], "|", ms=11, mew=2, color=COLOURS[3])
        classed.set(title="Class: right (dot), mean probability (bar)", xlabel="share of the galaxies of known class")
        for axes, key in ((covered, "galaxies"), (classed, "judged")):
            axes.set_yticks(places, [f"{each['group']} ({each[key]})" for each in groups])
            axes.set_ylim(-0.6, len(groups) - 0.4)
        bins = report["reliability"]
        reliable.plot([0, 1], [0, 1], color="#888888", lw=1, ls="--")
        if bins:
            x, y = np.array([b["probability"] for b in bins]), np.array([b["right"] for b in bins])
            reach = np.abs([y - [b["low"] for b in bins], [b["high"] for b in bins] - y])
            reliable.errorbar(x, y, reach, fmt="o", color=COLOURS[0], ms=4, lw=1, capsize=2)
        reliable.set(
            title="Probability of the predicted class", xlabel="mean probability", ylabel="share that is right",
            xlim=(0, 1.02), ylim=(0, 1.02),
        )  # fmt: skip
        return svg_bytes(figure)


def decision_tree(flow: Mapping[str, Any], tree: DecisionTree) -> bytes:
    """The tree as indented bars: of all galaxies' votes, the mean fraction that goes through each answer.

    Parameters
    ----------
    flow : mapping
        ``answers``: column of an answer → mean cumulative fraction of the ``volunteers`` and of the ``model``.
    tree : DecisionTree

    Returns
    -------
    bytes
        An SVG.
    """
    rows = outline(tree)
    with one_panel(0.62 + 0.235 * sum(1.25 if row.answer is None else 1 for row in rows), 4.0) as (figure, axes):
        y, step = 0.0, 0.055
        for row in rows:
            left = row.depth * step
            if row.answer is None:
                y -= 1.25
                axes.text(left, y, short_text(row.text, 50), fontsize=8.5, fontweight="bold", va="center")
                continue
            y -= 1
            each = flow["answers"][row.column]
            axes.text(left + 0.02, y, short_text(row.text, 30), fontsize=8, va="center")
            for who, offset, colour in (("volunteers", 0.2, COLOURS[0]), ("model", -0.2, COLOURS[1])):
                value = each[who] or 0.0
                axes.barh(y + offset, value, 0.36, left=0.62, color=colour)
            axes.plot([0.62, 1.62], [y - 0.5, y - 0.5], color="#eeeeee", linewidth=0.5, zorder=0)
            label = "–" if each["model"] is None else f"{each['volunteers']:.3f}  {each['model']:.3f}"
            axes.text(2.06, y, label, fontsize=8, va="center", ha="right")
        axes.set(xlim=(0, 2.06), ylim=(y - 0.8, 0.2))
        axes.text(2.06, -0.2, "volunteers  model", fontsize=8, va="center", ha="right", style="italic")
        axes.axis("off")
        handles = [
            matplotlib.patches.Patch(color=COLOURS[n], label=who) for n, who in enumerate(("volunteers", "model"))
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=2, handlelength=1.2)
        return svg_bytes(figure)


def cividis(values: Floats) -> NDArray[np.uint8]:
    """Numbers in [0, 1] in the colours of cividis: (*,) → (*, 3) uint8."""
    return matplotlib.colormaps["cividis"](np.clip(values, 0, 1), bytes=True)[..., :3]
