"""Plots of predictions: one galaxy as a card; a table's fractions, class counts, reliability, colours by class."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from numpy.typing import NDArray
from PIL import Image

from .._utils.text import percent
from ..votes.tree import DecisionTree
from ..votes.vote_table import VoteTable
from .cards import Bar, Card
from .plot_style import COLOURS, WIDTH, Plot, PlotError, plot_style, short_text
from .prediction_columns import ShownColumns, absent_column
from .prediction_panels import (
    draw_class_counts,
    draw_colour_by_class,
    draw_fractions,
    draw_pairs,
    draw_reliability,
    fraction_rows,
    galaxy_colour,
)

__all__ = ["PANELS", "plot_card", "plot_predictions"]

Floats = NDArray[np.float64]
#: What `plot_predictions` can draw, in its order.
PANELS = ("fractions", "classes", "reliability", "colour", "pairs")


def plot_card(card: Card) -> Plot:
    """Draw one galaxy: its image beside the bars of the path down the tree, with their intervals.

    Parameters
    ----------
    card : Card

    Returns
    -------
    Plot
        A matplotlib figure.

    Examples
    --------
    >>> figure = plot_card(Card("g1", questions=(("bar", "A bar?", (Bar("yes", 0.8, 0.6, 0.9, True),)),)))
    >>> len(figure.axes)
    2
    """
    rows: list[str | Bar] = []
    for text, bars in card.sections:
        rows += [text, *bars]
    with plot_style():
        figure = Plot(figsize=(2 * WIDTH, max(2.4, 0.62 + 0.2 * len(rows))), layout="constrained")
        image_axes, axes = figure.subplots(1, 2, width_ratios=(1, 1.6))
        image_axes.axis("off")
        image_axes.set_anchor("N")
        if card.image:
            image_axes.imshow(np.asarray(Image.open(io.BytesIO(card.image))))
        notes = "\n".join(short_text(line, 60) for line in card.messages)
        image_axes.set_title(notes, fontsize=8, color=COLOURS[3], loc="left")
        for place, row in enumerate(rows):
            if isinstance(row, str):
                axes.text(0, -place, short_text(row, 72), fontsize=8, va="center", fontweight="bold")
                continue
            _draw_bar(axes, row, -place)
        axes.set(xlim=(0, 1.9), ylim=(-len(rows) + 0.4, 0.6))
        axes.axis("off")
        figure.suptitle(
            f"{short_text(card.title, 40)}\n{short_text(card.headline, 90)}".rstrip(), fontsize=9.5, x=0.02, ha="left"
        )
        return figure


def _draw_bar(axes: Axes, bar: Bar, y: float) -> None:
    left = 0.62
    weight = "bold" if bar.is_chosen else "normal"
    axes.text(left - 0.03, y, short_text(bar.text, 26), fontsize=8, va="center", ha="right", fontweight=weight)
    axes.barh(y, 1, 0.56, left=left, color="#eeeeee")
    axes.barh(y, bar.fraction, 0.56, left=left, color=COLOURS[0] if bar.is_chosen else COLOURS[5])
    if bar.interval:
        ends = [left + bar.low, left + bar.high]
        axes.plot(ends, [y, y], color="black", linewidth=1.2, marker="|", markersize=5, solid_capstyle="butt")
    label = percent(bar.fraction) + (f"  ({bar.interval})" if bar.interval else "")
    axes.text(left + 1.02, y, label, fontsize=7.5, va="center", fontweight=weight)


def plot_predictions(
    table: pa.Table,
    tree: DecisionTree,
    *,
    labels: VoteTable | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    panels: Sequence[str] = (),
    seed: int = 0,
) -> Plot:
    """Draw what a table of predictions holds: each panel that its columns allow.

    Parameters
    ----------
    table : pyarrow.Table
        N rows, in the columns of `tuningfork predict`; other columns may be among them.
    tree : DecisionTree
        Of the predictions.
    labels : VoteTable, optional
        Votes of volunteers, for the panel `reliability`; galaxies are matched by ID.
    pairs : sequence of (name, name)
        Columns to draw against one another, by class.
    panels : sequence of str
        Of `PANELS`; empty: all for which there is something to draw.
    seed : int
        Of the random draw of points, where there are too many.

    Returns
    -------
    Plot
        A matplotlib figure.

    Raises
    ------
    PlotError
        If there is nothing to draw, or a panel or a column is not known.
    ColumnError
        If it is no table of predictions.
    """
    unknown = [name for name in panels if name not in PANELS]
    if unknown:
        raise PlotError(f"panel {unknown[0]!r} is none of {', '.join(PANELS)}")
    for name in (name for pair in pairs for name in pair):
        if name not in table.column_names:
            raise PlotError(absent_column(name, table.column_names))
    shown = ShownColumns.of(table, tree)
    if not shown.predicted.any():
        raise PlotError(f"none of {table.num_rows} rows has a prediction; nothing to plot")
    available = _available(table, shown, labels, pairs)
    wanted = [name for name in PANELS if name in (panels or available)]
    reasons = {
        "fractions": "the predictions have no vote fractions",
        "classes": "the predictions have no classes",
        "reliability": "reliability needs votes of volunteers; give --labels",
        "colour": "no columns of magnitudes or of a colour (such as petroMag_g and petroMag_r, or g_r) beside classes",
        "pairs": "no pair of columns is named; give --pair X,Y",
    }
    absent = [name for name in wanted if name not in available]
    if absent:
        raise PlotError(reasons[absent[0]])
    heights = {name: height for name, (height, _) in available.items()}
    with plot_style():
        figure = Plot(figsize=(2 * WIDTH, 0.35 + sum(heights[name] for name in wanted)), layout="constrained")
        parts = figure.subfigures(len(wanted), 1, height_ratios=[heights[name] for name in wanted], squeeze=False)
        for part, name in zip(parts[:, 0], wanted, strict=True):
            available[name][1](part, seed)
        count, without = table.num_rows, int((~shown.predicted).sum())
        left_out = f", {without:,} of them without a prediction" if without else ""
        figure.suptitle(f"{count:,} galaxies{left_out}", fontsize=9.5, x=0.01, ha="left")
        return figure


_Panel = tuple[float, Callable[[SubFigure, int], None]]


def _available(
    table: pa.Table, shown: ShownColumns, labels: VoteTable | None, pairs: Sequence[tuple[str, str]]
) -> dict[str, _Panel]:
    """Height in inches of each panel that can be drawn, and what draws it into a part of the figure."""
    out: dict[str, _Panel] = {}
    classes = len(shown.tree.classes)
    if np.isfinite(shown.fractions).any():
        out["fractions"] = 0.7 + 0.165 * fraction_rows(shown.tree), lambda part, _: draw_fractions(part, shown)
    if classes and (shown.class_index >= 0).any():
        out["classes"] = 0.9 + 0.24 * (classes + 1), lambda part, _: draw_class_counts(part, shown)
        colour = galaxy_colour(table)
        if colour is not None:
            name, values = colour
            out["colour"] = 0.9 + 0.24 * (classes + 1), lambda part, _: draw_colour_by_class(part, shown, name, values)
    if labels is not None:
        out["reliability"] = WIDTH, lambda part, _: draw_reliability(part, table, shown, labels)
    if pairs:
        rows = -(-len(pairs) // 2)
        out["pairs"] = 0.3 + 3.2 * rows, lambda part, seed: draw_pairs(part, table, shown, pairs, seed)
    return out
