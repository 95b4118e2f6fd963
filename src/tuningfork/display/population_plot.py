"""Plot of the fraction of galaxies that fulfil each rule, over the bins that they are counted by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .._utils.text import percent
from .plot_style import COLOURS, WIDTH, Plot, PlotError, plot_style, short_text

__all__ = ["population_plot"]

#: Marks of the rules, so that they differ in more than their colour.
_MARKS = "osD^vP"
_HEIGHT = 3.0


def population_plot(rows: Sequence[Mapping[str, Any]], by: str = "") -> Plot:
    """Draw the fractions: thick bars for the error of the classification, thin ones with that of the sampling, too.

    Open circles are what a threshold on the predicted fractions gives.

    Parameters
    ----------
    rows : sequence of mappings
        As `Population.to_table` has them; those without galaxies are left out.
    by : str
        The column that is counted by, for the axis; "" without bins: the rules stand on the axis.

    Raises
    ------
    PlotError
        If there is no galaxy in any bin.
    """
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    bins = list(dict.fromkeys(row["bin"] for row in rows))
    if all(row["fraction"] is None for row in rows):
        raise PlotError("no galaxy is in any bin")
    lines = len(rules) if by else 0
    height = _HEIGHT + 0.19 * (lines + 1) if by else 0.9 + 0.42 * len(rules)
    with plot_style():
        figure = Plot(figsize=(WIDTH * 1.25, height), layout="constrained")
        axes = figure.add_subplot()
        if by:
            _over_bins(axes, rows, rules, bins)
            axes.set(xlabel=short_text(by, 40), ylabel="fraction of the galaxies")
        else:
            _by_rule(axes, rows, rules)
            axes.set_xlabel("fraction of the galaxies")
        level = rows[0].get("level")
        what = f"thick: classification; thin: and sampling ({percent(level)})" if level else ""
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=1, title=what,
                      alignment="left", title_fontsize=8)  # fmt: skip
        return figure


def _over_bins(axes: Axes, rows: Sequence[Mapping[str, Any]], rules: Sequence[str], bins: Sequence[str]) -> None:
    numeric = all(row["low"] is not None for row in rows)
    for n, rule in enumerate(rules):
        known = [row for row in rows if row["rule"] == rule and row["fraction"] is not None]
        shift = (n - (len(rules) - 1) / 2) / max(len(rules), 4)
        if numeric:
            widths = np.array([row["high"] - row["low"] for row in known])
            at = np.array([(row["low"] + row["high"]) / 2 for row in known]) + 0.4 * shift * widths
        else:
            at = np.array([bins.index(row["bin"]) for row in known]) + 0.6 * shift
        _bars(axes, at, known, n, rule, vertical=True)
    axes.set_ylim(bottom=0)
    if not numeric:
        axes.set_xticks(range(len(bins)), [short_text(name, 14) for name in bins], rotation=30, ha="right")


def _by_rule(axes: Axes, rows: Sequence[Mapping[str, Any]], rules: Sequence[str]) -> None:
    for n, rule in enumerate(rules):
        known = [row for row in rows if row["rule"] == rule and row["fraction"] is not None]
        _bars(axes, np.full(len(known), len(rules) - 1.0 - n), known, n, rule, vertical=False)
    axes.set_yticks(range(len(rules)), [short_text(rule, 30) for rule in reversed(rules)])
    axes.set_ylim(-0.6, len(rules) - 0.4)
    axes.set_xlim(left=0)


def _bars(
    axes: Axes, at: np.ndarray, rows: Sequence[Mapping[str, Any]], number: int, rule: str, *, vertical: bool
) -> None:
    colour = COLOURS[number % len(COLOURS)]
    value = np.array([row["fraction"] for row in rows])
    for name, width in (("total", 1.0), ("classification", 3.0)):
        low, high = (np.array([row[f"{name}_{end}"] for row in rows]) for end in ("low", "high"))
        (axes.vlines if vertical else axes.hlines)(at, low, high, color=colour, linewidth=width)
    label = short_text(rule, 52) if vertical else ("from draws" if number == 0 else None)
    biased = np.array([row["thresholded"] / row["galaxies"] for row in rows])
    for values, mark, face, text in (
        (value, _MARKS[number % len(_MARKS)], colour, label),
        (biased, "o", "none", "by threshold" if number == 0 else None),
    ):
        x, y = (at, values) if vertical else (values, at)
        edge = "white" if face != "none" else colour
        axes.plot(x, y, mark, color=face, markeredgecolor=edge, markersize=5.5, linestyle="none", label=text)
