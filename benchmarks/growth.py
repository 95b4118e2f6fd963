"""Cost of a prediction as its rows grow: rows per second, memory, and the time of its parts, as JSON and a plot.

A network that does nearly nothing and small images that repeat show what everything else costs. Times are of the
processor (user and system, all processes), which other programs on the machine change little.

python benchmarks/growth.py [--rows 1000 10000 100000 1000000] [--workers 2] [--plot growth.png]
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fresh import fresh_process
from memory import small_images

from tuningfork import load_tree
from tuningfork.evaluation.speed_images import linked_images
from tuningfork.images.preprocess import Preprocess
from tuningfork.model.bundle import Bundle, Network, write_bundle
from tuningfork.model.ensemble import INPUT, OUTPUT
from tuningfork.model.graph import GraphBuilder

#: Steps of a run that are timed by themselves: what each is called → its name in `pipeline.predict`.
STEPS = {"listing": "open_run", "outcome": "run_outcome", "merging": "merge"}


def main() -> None:
    """Predict so many files, one number of rows after the other, each in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--plot", type=Path, help=".svg or .png")
    args = parser.parse_args()
    points = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_bundle(tiny_bundle(), folder / "tiny")
        images = small_images(folder / "distinct", 25, 32)
        for rows in args.rows:
            files = linked_images(images, rows, folder / f"{rows}")
            output = folder / f"{rows}.parquet"
            done = fresh_process("growth.predict_folder", str(folder / "tiny"), str(files), str(output), args.workers)
            size = output.stat().st_size
            output.unlink()
            steps = {f"{name}_s": seconds for name, seconds in done.result.items()}
            points.append({"rows": rows, "seconds": done.seconds, "peak_mb": done.peak_mb, "bytes": size, **steps})
            print(f"{rows:,} rows: {done.seconds:.0f} s", file=sys.stderr, flush=True)
    if args.plot:
        draw_growth(points, args.plot)
    print(json.dumps(points, indent=1))


def tiny_bundle() -> Bundle:
    """A model of Galaxy Zoo 2 whose network is a mean and a matrix."""
    tree, size = load_tree("gz2"), 16
    width = len(tree.columns) + len(tree.classes)
    graph = GraphBuilder(18)
    graph.input(INPUT, np.float32, ["batch", 3, size, size])
    flat = graph.add("Flatten", graph.add("GlobalAveragePool", INPUT))
    weights = np.random.default_rng(0).normal(0, 2, (3, width)).astype(np.float32)
    graph.output(OUTPUT, graph.add("Gemm", flat, weights), np.float32, ["batch", width])
    network = Network(graph.finish("tiny", {}), Preprocess(size=size), "tiny")
    return Bundle("tiny", "Nearly nothing", "For measurements", "BSD-3-Clause", tree, (network,))


def predict_folder(bundle: str, folder: str, output: str, workers: int) -> dict[str, float]:
    """Predict a folder; the processor's seconds of each step, and of all."""
    from tuningfork.model.model import load
    from tuningfork.model.options import InferenceOptions
    from tuningfork.pipeline import predict
    from tuningfork.pipeline.options import ExecutionOptions

    model, seconds = load(bundle, threads=1, device="cpu"), Counter[str]()

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            started = time.process_time()
            try:
                return step(*arguments, **options)
            finally:
                seconds[name] += time.process_time() - started

        return run

    for name, function in STEPS.items():
        setattr(predict, function, timed(name, getattr(predict, function)))
    started = _processor_seconds()
    inference, execution = InferenceOptions(batch_size=64), ExecutionOptions(workers=workers)
    run = predict.predict_files(model, [folder], output, inference, execution)
    assert run.failed == 0
    return {**seconds, "all": _processor_seconds() - started}


def _processor_seconds() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def draw_growth(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot time a row of all and of each step, and peak memory, against rows; needs matplotlib."""
    from matplotlib.figure import Figure

    rows = [point["rows"] for point in points]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for name in ("all", *STEPS):
        times.plot(rows, [1e6 * point[f"{name}_s"] / point["rows"] for point in points], "o-", label=name)
    times.set(xscale="log", yscale="log", xlabel="rows", ylabel="processor time a row, µs")
    times.legend()
    memory.plot(rows, [point["peak_mb"] or 0 for point in points], "o-")
    memory.set(xscale="log", xlabel="rows", ylabel="peak memory of all processes, MB")
    memory.set_ylim(0, 1.1 * max(point["peak_mb"] or 1 for point in points))
    for axes in (times, memory):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
