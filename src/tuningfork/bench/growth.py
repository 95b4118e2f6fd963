"""Peak memory of a prediction against its number of rows: figures and a plot."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._utils.files import whole_file
from . import ours
from .fresh import fresh_process
from .pictures import repeated, small, temporary_folder

__all__ = ["ROWS", "Point", "draw_memory", "memory_against_rows"]

ROWS = (1_000, 10_000, 100_000)
#: Distinct galaxies; eight turned views of each are files of their own, and links repeat these.
_GALAXIES = 250


@dataclass(frozen=True, slots=True)
class Point:
    """A prediction of so many rows: its seconds, and its peak memory in MB (10⁶ bytes; None if unknown)."""

    rows: int
    seconds: float
    peak_mb: float | None


def memory_against_rows(
    model: str = "fast", rows: Sequence[int] = ROWS, *, say: Callable[[str], None] = lambda line: None
) -> list[Point]:
    """Predict so many files, one number of rows after the other, each in a fresh process.

    The pictures are of 64×64 px, since decoded ones are resized at once: what a run holds of each picture does
    not depend on its size in the file.

    Raises
    ------
    BundleError, BenchError
        If there is no such model, or a prediction cannot run.
    OSError
        If there is no room for so many names in the folder of temporary files.
    """
    points = []
    with temporary_folder() as folder:
        pictures = small(folder / "distinct", min(_GALAXIES, -(-max(rows) // 8)))
        for count in rows:
            say(f"predicting {count:,} pictures")
            files = repeated(pictures, count, folder / f"{count}")
            done = fresh_process(ours.predict_folder, model, str(files), str(folder / f"{count}.parquet"), None, "f32")
            points.append(Point(done.result["rows"], done.seconds, done.peak_mb))
    return points


def draw_memory(points: Sequence[Point], path: Path) -> None:
    """Plot peak memory against rows into an SVG or PNG file, by its extension; needs matplotlib.

    Raises
    ------
    ValueError
        If matplotlib knows no such extension.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([point.rows for point in points], [point.peak_mb or 0 for point in points], "o-")
    axes.set(xscale="log", xlabel="rows", ylabel="peak memory of all processes, MB")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    image = io.BytesIO()
    figure.savefig(image, format=path.suffix.lstrip(".") or "svg", dpi=150)
    with whole_file(path) as part:
        part.write_bytes(image.getvalue())
