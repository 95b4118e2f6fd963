"""Look of the plots: colours, dashes, size and fonts; an empty figure, and a figure as the bytes of a file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .._utils.errors import TuningforkError
from .._utils.files import atomic_file
from ..images.encode import png

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

__all__ = [
    "COLOURS",
    "DASHES",
    "FILE_KINDS",
    "WIDTH",
    "Plot",
    "PlotError",
    "check_kind",
    "one_panel",
    "plot_style",
    "png_bytes",
    "save_plot",
    "short_text",
    "svg_bytes",
]

#: Okabe & Ito's colours but for yellow, which is too light on white.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000")
DASHES = ("-", "--", "-.", ":")
#: Inches; at this width text of 8 pt is legible on paper and on a phone.
WIDTH = 3.6
#: Extensions of the files that `save_plot` writes.
FILE_KINDS = (".png", ".svg", ".pdf")
_STYLE: dict[RcKeyType, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "svg.hashsalt": "tuningfork",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
}


class PlotError(TuningforkError, ValueError):
    """There is nothing to plot; the message says what is missing."""


class Plot(Figure):
    """A matplotlib figure that a notebook shows by itself, whether pyplot was imported or not."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=110)
        return stream.getvalue()


@contextmanager
def plot_style() -> Iterator[None]:
    """Draw in this look, whatever the user's settings of matplotlib are."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        yield


@contextmanager
def one_panel(height: float, width: float = WIDTH) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure of one panel; `height` and `width` in inches."""
    with plot_style():
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.07))
        yield figure, figure.add_subplot()


def svg_bytes(figure: Figure) -> bytes:
    """The figure as an SVG file; of one figure always the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return stream.getvalue()


def png_bytes(figure: Figure, dpi: int = 200) -> bytes:
    """The figure as a PNG file of 128 colours."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()  # type: ignore[no-untyped-call] # Matplotlib's canvases have no types
    rgba = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call] # as above
    return png(np.ascontiguousarray(rgba[..., :3]), colours=128)


def check_kind(path: str | os.PathLike[str]) -> str:
    """Return the extension of a figure's file; PlotError if it is none of `FILE_KINDS`."""
    kind = os.path.splitext(os.fspath(path))[1].lower()
    if kind not in FILE_KINDS:
        raise PlotError(f"{path}: extension {kind or '(none)'} is none of {', '.join(FILE_KINDS)}")
    return kind


def save_plot(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file of one of `FILE_KINDS`, which appears complete or not at all.

    Raises
    ------
    PlotError
        If the extension is none of them.
    """
    kind = check_kind(path)
    # The same figure gives the same bytes.
    dates = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with plot_style(), atomic_file(path) as part:
        figure.savefig(part, format=kind[1:], dpi=200, metadata=dates[kind])


def short_text(text: str, most: int) -> str:
    """A text of at most so many characters, in which a dollar sign starts no formula."""
    text = text.replace("$", r"\$")
    return text if len(text) <= most else text[: most - 1] + "…"
