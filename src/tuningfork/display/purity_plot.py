"""Plot of purity, completeness and yield: one panel a class, over the least probability of the class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plot_style import COLOURS, DASHES, plot_style, png_bytes, svg_bytes

__all__ = ["purity_panels"]

#: Share → its colour and dashes.
_LINES = {
    "purity": (COLOURS[0], DASHES[0]),
    "completeness": (COLOURS[3], DASHES[1]),
    "yield": (COLOURS[6], DASHES[3]),
}
_COLUMNS = 2
_PANEL = (2.6, 2.15)


def purity_panels(report: Mapping[str, Any], extension: str = "svg") -> bytes:
    """Draw a report of `purity`; bands are 95 % Wilson intervals, dots the clean samples of any probability.

    Parameters
    ----------
    report : mapping
        With `probability` and `clean`, by class.
    extension : "svg" or "png"
    """
    classes = report["probability"]
    lines = max(math.ceil(len(classes) / _COLUMNS), 1)
    with plot_style():
        figure = Figure(figsize=(_COLUMNS * _PANEL[0], lines * _PANEL[1] + 0.35), layout="constrained")
        for number, (key, each) in enumerate(classes.items()):
            axes = figure.add_subplot(lines, _COLUMNS, number + 1)
            _panel(axes, each["curve"], report["clean"].get(key))
            axes.set_title(f"{each['name']} ({each['galaxies']} of {each['judged']})", loc="left")
            if number >= len(classes) - _COLUMNS:
                axes.set_xlabel("least probability of the class")
            if number % _COLUMNS == 0:
                axes.set_ylabel("share")
        if classes:
            figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=4)
        return png_bytes(figure) if extension == "png" else svg_bytes(figure)


def _panel(axes: Axes, curve: list[dict[str, Any]], clean: Mapping[str, Any] | None) -> None:
    for name, (colour, dashes) in _LINES.items():
        points = [point for point in curve if point[name] is not None]
        at, value, low, high = (
            np.array([point[key] for point in points]) for key in ("threshold", name, f"{name}_low", f"{name}_high")
        )
        if name != "yield":
            axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(at, value, color=colour, linestyle=dashes, linewidth=1.4, label=name)
    if clean and clean["curve"]:
        first = clean["curve"][0]
        for name, (colour, _) in _LINES.items():
            if first[name] is not None:
                axes.plot(-0.05, first[name], "o", color=colour, markersize=4.5, clip_on=False,
                          label="clean sample" if name == "purity" else None)  # fmt: skip
    axes.set(xlim=(-0.08, 1.0), ylim=(0, 1.02), xticks=(0, 0.25, 0.5, 0.75, 1))
