"""Look of the plots: colours, dashes, size and fonts; an empty figure, and a figure as the bytes of a file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..images.encode import png

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

__all__ = ["COLOURS", "DASHES", "WIDTH", "one_panel", "plot_style", "png_bytes", "svg_bytes"]

#: Okabe & Ito's colours but for yellow, which is too light on white.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000")
DASHES = ("-", "--", "-.", ":")
#: Inches; at this width text of 8 pt is legible on paper and on a phone.
WIDTH = 3.6
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
