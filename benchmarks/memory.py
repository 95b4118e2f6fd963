"""Peak memory of a prediction against its number of rows, as JSON and a plot.

python benchmarks/memory.py [--model fast] [--rows 1000 10000 100000] [--plot memory.svg]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fresh import fresh_process
from PIL import Image

from tuningfork.evaluation.speed_images import linked_images
from tuningfork.images.preprocess import Preprocess
from tuningfork.simulation import draw, render


def main() -> None:
    """Predict so many files, one number of rows after the other, each in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--plot", type=Path, help=".svg or .png")
    args = parser.parse_args()
    points = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = small_images(folder / "distinct", min(250, -(-max(args.rows) // 8)))
        for rows in args.rows:
            files = linked_images(images, rows, folder / f"{rows}")
            done = fresh_process("memory.predict_folder", args.model, str(files), str(folder / f"{rows}.parquet"))
            points.append({"rows": rows, "failed": done.result, "seconds": done.seconds, "peak_mb": done.peak_mb})
    if args.plot:
        draw_memory(points, args.plot)
    print(json.dumps(points, indent=1))


def predict_folder(model: str, folder: str, output: str) -> int:
    """Predict a folder; the number of rows that failed."""
    from tuningfork.model.model import load
    from tuningfork.pipeline.predict import predict_files

    return predict_files(load(model), [folder], output).failed


def small_images(folder: Path, galaxies: int, side: int = 64) -> list[Path]:
    """Eight views of each of `galaxies` simulated ones: what a run holds does not depend on the files' pixels."""
    folder.mkdir()
    paths = []
    shrink = Preprocess(crop=0.5, size=side)
    for index in range(galaxies):
        rgb = shrink.resized(render(draw(0, index)))
        for view in range(8):
            turned = np.rot90(rgb[:, ::-1] if view > 3 else rgb, view)
            paths.append(folder / f"{index}-{view}.jpg")
            Image.fromarray(np.ascontiguousarray(turned)).save(paths[-1], "JPEG", quality=90)
    return paths


def draw_memory(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot peak memory against rows; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([point["rows"] for point in points], [point["peak_mb"] or 0 for point in points], "o-")
    axes.set(xscale="log", xlabel="rows", ylabel="peak memory of all processes, MB")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
