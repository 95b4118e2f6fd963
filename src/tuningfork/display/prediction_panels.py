"""Panels of a plot of predictions: fractions, classes, colours, reliability, pairs of columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from numpy.typing import NDArray

from .._utils.binomial import binomial_interval
from ..votes.clean_samples import NO_CLASS
from ..votes.tree import DecisionTree, Question
from ..votes.vote_table import VoteTable
from .plot_style import COLOURS, PlotError, short_text
from .prediction_columns import ColumnError, ShownColumns, numbers, texts

__all__ = [
    "draw_class_counts",
    "draw_colour_by_class",
    "draw_fractions",
    "draw_pairs",
    "draw_reliability",
    "fraction_rows",
    "galaxy_colour",
]

Floats = NDArray[np.float64]
#: A galaxy counts for a question if this share of its volunteers would reach it.
MIN_REACH = 0.5
#: More points than this show no more and cost megabytes.
MAX_POINTS = 5000
_BINS = 10
_MARKERS = "osD^vPX*"
#: Galaxies of no class, and without one.
_GREY = "#8b8b8b"
#: Names of the bands in columns of magnitudes, such as `petroMag_g`, `mag_g`, `g`; and of colours.
_MAGNITUDE = re.compile(r"(?i)^((?:(?:petro|model|cmodel|psf|dered|kron|auto)?_?(?:mag)?_?(?:auto)?_?))([ugriz])$")
_COLOUR = re.compile(r"(?i)^(?:colou?r_?)?([ugri])(?:_|-|_minus_)?([griz])(?:_?colou?r)?$")
_PREFERRED_COLOURS = (("u", "r"), ("g", "r"), ("g", "i"), ("u", "g"), ("r", "i"), ("r", "z"), ("g", "z"))


# ------------------------------------------------------------------ fractions


def fraction_rows(tree: DecisionTree) -> float:
    """Height, in rows of text, of the longer of the two columns of `draw_fractions`."""
    return max(sum(_height(tree.questions[number]) for number in column) for column in _two_columns(tree))


def _height(question: Question) -> float:
    """Rows of text that a question takes: its answers and its heading."""
    return len(question.answers) + 1.4


def _two_columns(tree: DecisionTree) -> tuple[range, range]:
    """Numbers of the questions in the left and in the right column, which may be empty."""
    heights = np.cumsum([_height(question) for question in tree.questions])
    first = max(1, int(np.searchsorted(heights, heights[-1] / 2 + 1)))
    return range(first), range(first, len(tree.questions))


def draw_fractions(part: SubFigure, shown: ShownColumns) -> None:
    """Of each answer the median, the half and nine tenths of the galaxies that reach its question."""
    columns = [questions for questions in _two_columns(shown.tree) if questions]
    all_axes = part.subplots(1, len(columns), squeeze=False)[0]
    for axes, questions in zip(all_axes, columns, strict=True):
        _draw_questions(axes, questions, shown)
        axes.set(xlim=(-0.02, 1.02), ylim=(-fraction_rows(shown.tree) - 0.6, 0.2))
        axes.set(xlabel="fraction of those who reach the question")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="y", visible=False)
    part.suptitle(
        "Vote fractions: median, half and nine tenths of the galaxies that reach the question (their number)",
        fontsize=8.5, x=0.01, ha="left",
    )  # fmt: skip


def _draw_questions(axes: Axes, questions: range, shown: ShownColumns) -> None:
    """Questions below each other, by their numbers, each with its answers."""
    tree = shown.tree
    y, ticks, labels = 0.0, [], []
    for number in questions:
        question, part = tree.questions[number], tree.slices[number]
        with np.errstate(invalid="ignore"):
            reached = shown.reach[:, number] >= MIN_REACH
        y -= 1.4
        axes.text(0, y + 0.05, f"{question.key.replace('_', ' ')}  ({int(reached.sum()):,})",
                  fontsize=7.5, fontweight="bold", va="center")  # fmt: skip
        for place, answer in enumerate(question.answers, part.start):
            y -= 1
            ticks.append(y)
            labels.append(short_text(answer.text, 22))
            _draw_quantiles(axes, shown.fractions[reached, place], y, thickness=5)
    axes.set_yticks(ticks, labels, fontsize=7.5)


def _draw_quantiles(axes: Axes, values: Floats, y: float, thickness: float) -> None:
    """A thin line over nine tenths of the values (N,), a thick one over half, a tick at the median; NaN is left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, first, middle, third, high = np.percentile(values, (5, 25, 50, 75, 95))
    axes.plot([low, high], [y, y], color=COLOURS[0], linewidth=1, solid_capstyle="butt")
    axes.plot([first, third], [y, y], color=COLOURS[5], linewidth=thickness, solid_capstyle="butt")
    axes.plot(middle, y, "|", color="black", markersize=1.2 * thickness, markeredgewidth=1.7)


# ------------------------------------------------------------------ classes


def _names(tree: DecisionTree) -> list[str]:
    return [short_text(rule.name, 24) for rule in tree.classes] + [NO_CLASS]


def _class_axes(part: SubFigure, tree: DecisionTree) -> tuple[Axes, NDArray[np.int64]]:
    axes = part.subplots()
    places = np.arange(len(tree.classes) + 1)[::-1]
    axes.set_yticks(places, _names(tree))
    axes.set_ylim(-0.6, len(places) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    return axes, places


def draw_class_counts(part: SubFigure, shown: ShownColumns) -> None:
    """Galaxies of each class: as named, as they pass the clean sample, and as the probabilities say."""
    axes, places = _class_axes(part, shown.tree)
    count = len(places)
    named = np.bincount(shown.class_index[shown.class_index >= 0], minlength=count)
    clean = np.bincount(shown.clean_index[shown.clean_index >= 0], minlength=count)
    axes.barh(places, named, 0.56, color=COLOURS[5], label="most probable class")
    passing = clean[: count - 1]
    axes.plot(
        passing, places[: count - 1], "D", color=COLOURS[3], markersize=4, label="passes the thresholds of the class"
    )
    if shown.class_probability is not None:
        known = shown.class_probability[np.isfinite(shown.class_probability).all(1)]
        expected = known.sum(0)
        # Sum of independent draws that are each right with their probability (Poisson binomial).
        spread = 1.96 * np.sqrt((known * (1 - known)).sum(0))
        low, high = np.maximum(expected - spread, 0), np.minimum(expected + spread, len(known))
        axes.errorbar(
            expected, places, xerr=(expected - low, high - expected), fmt="o", color="black", markersize=3.5,
            elinewidth=1.2, capsize=2.5, label="expected from the probabilities, 95 %",
        )  # fmt: skip
    axes.set(xlabel="galaxies")
    axes.set_xlim(left=0)
    part.suptitle("Classes", fontsize=8.5, x=0.01, ha="left")
    part.legend(loc="outside lower left", ncols=3, handlelength=1.4, columnspacing=1.2)


def galaxy_colour(table: pa.Table) -> tuple[str, Floats] | None:
    """A colour of the galaxies: a column of it, or the difference of two columns of magnitudes."""
    names = table.column_names
    colours = {match.groups(): name for name in names if (match := _COLOUR.match(name))}
    colours = {(blue.lower(), red.lower()): name for (blue, red), name in colours.items()}
    magnitudes: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _MAGNITUDE.match(name):
            magnitudes.setdefault(match[1], {})[match[2].lower()] = name
    for blue, red in _PREFERRED_COLOURS:
        try:
            if (blue, red) in colours:
                name = colours[blue, red]
                return name, numbers(table, name)
            for bands in magnitudes.values():
                if blue in bands and red in bands:
                    difference = numbers(table, bands[blue]) - numbers(table, bands[red])
                    return f"{bands[blue]} − {bands[red]}", difference
        except ColumnError:  # a column of that name which holds something else
            continue
    return None


def draw_colour_by_class(part: SubFigure, shown: ShownColumns, name: str, values: Floats) -> None:
    """Of each class the median, the half and nine tenths of its galaxies in a colour."""
    axes, places = _class_axes(part, shown.tree)
    labels = _names(shown.tree)
    for number, place in enumerate(places):
        own = values[(shown.class_index == number) & np.isfinite(values)]
        labels[number] = f"{labels[number]} ({len(own):,})"
        _draw_quantiles(axes, own, float(place), thickness=8)
    axes.set_yticks(places, labels)
    axes.set(xlabel=short_text(name, 60))
    part.suptitle("Colour by class: median, half and nine tenths of the galaxies", fontsize=8.5, x=0.01, ha="left")


# ------------------------------------------------------------------ reliability


def draw_reliability(part: SubFigure, table: pa.Table, shown: ShownColumns, labels: VoteTable) -> None:
    """Predictions against volunteers' votes of the galaxies that both tables have."""
    ids = texts(table, "id")
    rows = [(row, labels.row_of[id_]) for row, id_ in enumerate(ids) if id_ in labels.row_of]
    if not rows:
        raise PlotError("no ID of the predictions is in the labels; are they of the same galaxies?")
    ours, theirs = (np.array(each) for each in zip(*rows, strict=True))
    with_classes = shown.class_probability is not None
    all_axes = part.subplots(1, 2 if with_classes else 1, squeeze=False)[0]
    for axes in all_axes:
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=1, linestyle="--")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_aspect("equal")
    fractions, reach, known = shown.fractions[ours], shown.reach[ours], labels.conditional[theirs]
    axes = all_axes[0]
    for number, (question, columns) in enumerate(zip(shown.tree.questions, shown.tree.slices, strict=True)):
        with np.errstate(invalid="ignore"):
            is_reached = reach[:, number] >= MIN_REACH
        x, y = fractions[is_reached, columns].ravel(), known[is_reached, columns].ravel()
        good = np.isfinite(x) & np.isfinite(y)
        means = [(x[good][at].mean(), y[good][at].mean()) for at in _bins(x[good]) if at.sum() >= 5]
        if means:
            axes.plot(
                *np.transpose(means), color=COLOURS[number % len(COLOURS)], marker=_MARKERS[number % len(_MARKERS)],
                markersize=3.2, linewidth=0.9, linestyle=("-", "--")[number // len(COLOURS) % 2],
                label=short_text(question.key.replace("_", " "), 20),
            )  # fmt: skip
    axes.set(xlabel="predicted fraction, mean of a bin", ylabel="volunteers' fraction, mean of the bin")
    axes.set_title(f"Fractions of {len(rows):,} galaxies", loc="left")
    part.legend(loc="outside lower left", ncols=4, handlelength=2, columnspacing=1.2)
    if with_classes:
        _draw_class_reliability(all_axes[1], shown, ours, labels.classes[theirs])


def _draw_class_reliability(axes: Axes, shown: ShownColumns, ours: NDArray[Any], true: NDArray[np.int8]) -> None:
    """Share of right classes against their probability; galaxies whose class the votes do not decide are left out."""
    assert shown.class_probability is not None
    probability, count = shown.class_probability[ours], len(shown.tree.classes)
    true = np.where(true == -1, count, true)
    has_none = bool((probability[:, -1] > 0).any())
    used = np.isfinite(probability).all(1) & (true >= 0) & (has_none | (true < count))
    sure, right = probability[used].max(1, initial=0), probability[used].argmax(1) == true[used]
    for at in _bins(sure):
        if not at.any():
            continue
        low, high = binomial_interval(float(right[at].sum()), int(at.sum()))
        share = right[at].mean()
        axes.errorbar(
            sure[at].mean(), share, [[share - low], [high - share]], fmt="o", color=COLOURS[0], markersize=4,
            elinewidth=1.1, capsize=2,
        )  # fmt: skip
    axes.set(xlabel="probability of the most probable class", ylabel="share that is right, 95 %")
    axes.set_title(f"Classes of {int(used.sum()):,} galaxies", loc="left")


def _bins(values: Floats) -> list[NDArray[np.bool_]]:
    number = np.minimum((values * _BINS).astype(int), _BINS - 1)
    return [number == each for each in range(_BINS)]


# ------------------------------------------------------------------ pairs


def draw_pairs(
    part: SubFigure, table: pa.Table, shown: ShownColumns, pairs: Sequence[tuple[str, str]], seed: int
) -> None:
    """Two columns against one another, by class; at most `MAX_POINTS` galaxies, drawn at random."""
    across = min(2, len(pairs))
    panels = part.subplots(-(-len(pairs) // 2), across, squeeze=False).ravel()
    names = _names(shown.tree)
    total, drawn = 0, 0
    for axes, (first, second) in zip(panels, pairs, strict=False):
        x, y = numbers(table, first), numbers(table, second)
        rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        if not len(rows):
            empty = [name for name, values in ((first, x), (second, y)) if not np.isfinite(values).any()]
            what = f"column {empty[0]!r} is blank in all rows" if empty else "no row has a number in both"
            raise PlotError(f"pair {first},{second}: {what}; nothing to plot")
        total, drawn = max(total, len(rows)), max(drawn, min(len(rows), MAX_POINTS))
        if len(rows) > MAX_POINTS:
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MAX_POINTS])
        for number in (-1, len(names) - 1, *range(len(names) - 1)):
            own = rows[shown.class_index[rows] == number]
            if not len(own):
                continue
            is_class = 0 <= number < len(names) - 1
            axes.scatter(
                x[own], y[own], s=9, alpha=0.7, linewidth=0 if is_class else 0.8,
                color=COLOURS[number % len(COLOURS)] if is_class else _GREY,
                marker=_MARKERS[number % len(_MARKERS)] if is_class else "x",
                label=names[number] if number >= 0 else "no prediction",
            )  # fmt: skip
        axes.set(xlabel=short_text(first, 40), ylabel=short_text(second, 40))
    for axes in panels[len(pairs) :]:
        axes.set_visible(False)
    entries = {text: line for axes in panels for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    if len(entries) > 1:
        part.legend(entries.values(), entries.keys(), loc="outside lower left", ncols=4, markerscale=1.8,
                    handlelength=1, columnspacing=1.2)  # fmt: skip
    note = f", {drawn:,} drawn at random from {total:,}" if drawn < total else ""
    part.suptitle(f"Columns by most probable class{note}", fontsize=8.5, x=0.01, ha="left")
