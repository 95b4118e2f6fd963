"""Throughput benchmark: images per second of decoding, of the networks, and from files to a table."""

from __future__ import annotations

import io
import logging
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from PIL import Image

from .._utils.environment import available_cores
from .._utils.processes import Worker
from ..inputs import InputItem
from ..model.batch_size import tune_batch_size
from ..model.bundle import Bundle, open_bundle
from ..model.model import Model, load
from ..model.options import InferenceOptions
from ..model.precision import N_COMPARED, PrecisionChoice, choose_precision
from ..model.runtime import CPU_BATCH
from ..pipeline.chunks import read_items
from ..pipeline.first_images import first_images
from ..pipeline.predict import predict_files
from ..simulation import draw, render
from ..tables import table_writer
from .resource_use import gpu_utilisation, peak_memory
from .speed_images import MAX_IMAGES, linked_images, sample_images, simulated_images
from .speed_report import EndToEnd, SpeedReport, machine

__all__ = [
    "galaxies_per_second",
    "measure_speed",
]

logger = logging.getLogger(__name__)

#: Distinct simulated galaxies; links repeat them.
N_SIMULATED = 200
#: Images that a process decodes between two looks at the clock.
IMAGES_AT_ONCE = 16


def measure_speed(
    model: str = "fast",
    images: str | os.PathLike[str] | None = None,
    inference: InferenceOptions = InferenceOptions(),
    *,
    rows: int = 4096,
    repeats: int = 3,
    seconds: float = 3.0,
    precision: str = "f32",
) -> SpeedReport:
    """Measure decoding alone, the networks alone, and prediction from files to a table, in turn.

    Parameters
    ----------
    model : str
        A shipped model's name, or a bundle's folder.
    images : path, optional
        A folder whose images are used, at most 512 of them; None: simulated galaxies.
    rows : int
        Files that are predicted end to end: images are repeated as links, so that the system's cache of files holds
        them and the disk is not measured.
    repeats : int
        Of each measurement.
    seconds : float
        What decoding alone and the networks alone are each measured for in each repeat.
    precision : "f32", "bf16" or "auto"
        Arithmetic of the networks; "auto": as `choose_precision` judges it by the first images.

    Raises
    ------
    BundleError
        If there is no such model.
    BenchmarkError
        If the folder holds no image that can be read.
    WorkerError, WorkerCrash
        If a measuring process fails.
    """
    bundle, cores = open_bundle(model), available_cores()
    opened = Model(bundle, threads=1, precision="f32" if precision == "auto" else precision)
    if precision == "auto":
        opened, choice = _chosen(opened, images, inference)
        precision = choice.precision
        logger.info("precision %s: %s", precision, choice.reason)
    batch = inference.batch_size or opened.batch_size
    if inference.batch_size is None and batch == CPU_BATCH:
        batch = tune_batch_size(opened, n_views=inference.n_views, threads=1).batch
    inference = replace(inference, n_views=inference.n_views or bundle.n_views, batch_size=batch)
    decode, network, runs = [], [], []
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as temporary:
        folder = Path(temporary)
        paths = sample_images(images) if images else simulated_images(folder / "distinct", min(N_SIMULATED, rows))
        bytes_per_image = statistics.mean(path.stat().st_size for path in paths)
        files = linked_images(paths, rows, folder / "files")
        job = _RateJob(bundle, tuple(paths[:MAX_IMAGES]), inference, precision)
        workers = [Worker(job) for _ in range(cores)]
        try:
            for number in range(repeats):
                logger.info("repeat %d of %d: decoding", number + 1, repeats)
                decode.append(_rate(workers, "decode", seconds))
                logger.info("repeat %d of %d: networks", number + 1, repeats)
                network.append(_rate(workers, "network", seconds))
                logger.info("repeat %d of %d: files to a table", number + 1, repeats)
                task = (model, str(files), str(folder / "votes.parquet"), inference, precision)
                run = _end_to_end(task)
                runs.append(replace(run, bytes_per_row=_bytes_per_row(folder / "votes.parquet", len(paths))))
                (folder / "votes.parquet").unlink()
        finally:
            for worker in workers:
                worker.close()
    settings: dict[str, Any] = {
        "model": model,
        "images": None if images is None else str(images),
        "distinct": len(paths),
    }
    settings |= {"rows": rows, "n_views": inference.n_views, "batch_size": batch, "runtime": opened.runtime}
    settings |= {"bytes_per_image": bytes_per_image, "repeats": repeats, "seconds": seconds}
    return SpeedReport(settings, machine(), decode, network, runs)


def _chosen(
    model: Model, images: str | os.PathLike[str] | None, inference: InferenceOptions
) -> tuple[Model, PrecisionChoice]:
    if images:
        return choose_precision(model, first_images(model, [images], count=N_COMPARED), inference)
    return choose_precision(model, [model.read(render(draw(0, index))) for index in range(N_COMPARED)], inference)


@dataclass(frozen=True)
class _RateJob:
    """Decode or predict for some seconds; see `processes.Job`."""

    bundle: Bundle
    paths: tuple[Path, ...]
    inference: InferenceOptions
    precision: str

    def open(self) -> Callable[[tuple[str, float], Callable[[Any], None]], float]:
        """Open the model; called in the worker."""
        model = Model(self.bundle, threads=1, precision=self.precision)
        files = cycle([path.read_bytes() for path in self.paths])
        batch = self.inference.batch_size or 1
        # As predictions read them: several at a time.
        item = InputItem("", "", "file", "")
        first = model.read(next(files)).inputs
        assert first is not None  # only images that can be read were chosen
        inputs = [first] * batch
        work: dict[str, Callable[[], object]] = {
            "decode": lambda: read_items(model.image_reader, [(item, lambda: next(files))] * IMAGES_AT_ONCE),
            "network": lambda: model.run(inputs, self.inference),
        }

        def answer(task: tuple[str, float], send_message: Callable[[Any], None]) -> float:
            kind, seconds = task
            work[kind]()  # warm
            count, started = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - started) < seconds:
                work[kind]()
                count += IMAGES_AT_ONCE if kind == "decode" else batch
            return count / elapsed

        return answer


def _rate(workers: Sequence[Worker], kind: str, seconds: float) -> float:
    with ThreadPoolExecutor(len(workers)) as threads:
        return sum(threads.map(lambda worker: worker.run((kind, seconds), lambda _: None), workers))


class _PredictJob:
    """Predict a folder as ``tuningfork predict`` does; see `processes.Job`."""

    def open(self) -> Callable[[Any, Callable[[Any], None]], tuple[int, int, float | None, float | None]]:
        """Called in the worker."""

        def answer(task: Any, send_message: Callable[[Any], None]) -> tuple[int, int, float | None, float | None]:
            name, folder, output, inference, precision = task
            ended = threading.Event()
            with ThreadPoolExecutor(2) as threads:
                peak = threads.submit(peak_memory, ended)
                try:
                    model = load(name, precision=precision)
                    busy = threads.submit(gpu_utilisation, ended) if "CUDA" in model.runtime else None
                    # With the batches of (b), else its bound would be another's.
                    run = predict_files(model, [folder], output, inference, progress=lambda done, _: send_message(done))
                finally:
                    ended.set()
            return run.rows, run.failed, peak.result(), busy.result() if busy else None

        return answer


def _end_to_end(task: Any) -> EndToEnd:
    reports: list[tuple[int, float]] = []
    started = time.perf_counter()
    with closing(Worker(_PredictJob())) as worker:
        rows, failed, peak, busy = worker.run(task, lambda done: reports.append((done, time.perf_counter())))
        ended = time.perf_counter()
    done, at = next(((done, at) for done, at in reports if done), (rows, ended))
    rate = rows / (ended - started)
    # Where the first report is of all rows there is no steady part, and the complete run stands for it.
    steady = (rows - done) / (ended - at) if done < rows and ended > at else rate
    start_up = max(ended - started - rows / steady, 0.0)
    return EndToEnd(rows, failed, rate, steady, start_up, peak, gpu_percent=busy)


def _bytes_per_row(table: Path, distinct: int) -> float:
    """What a row takes, judged by the first rows: later ones repeat them and compress better."""
    import pyarrow.parquet as pq

    rows = pq.read_table(table).slice(0, distinct)
    # The difference of two sizes, without the description of the columns.
    sizes = []
    for few in (rows, rows.slice(0, len(rows) // 2)):
        with table_writer(table.with_name("few.parquet"), rows.schema) as write:
            write(few)
        sizes.append((len(few), table.with_name("few.parquet").stat().st_size))
        table.with_name("few.parquet").unlink()
    (many, large), (less, small) = sizes
    return (large - small) / (many - less)


def galaxies_per_second(model: Model, *, batches: int = 5) -> float:
    """The median rate over some batches of 32 simulated galaxies each, decoding on one thread included."""
    images = []
    for index in range(8):
        buffer = io.BytesIO()
        Image.fromarray(render(draw(0, index))).save(buffer, "JPEG", quality=90)
        images.append(buffer.getvalue())
    rates = []
    for _ in range(batches + 1):  # the first one warms up
        started = time.perf_counter()
        model.predict(images * 4)
        rates.append(32 / (time.perf_counter() - started))
    return statistics.median(rates[1:])
