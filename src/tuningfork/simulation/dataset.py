"""Simulated galaxies as a folder in the layout of Kaggle's Galaxy Challenge."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._utils.environment import available_cores
from .._utils.errors import TuningforkError
from .._utils.files import atomic_file, part_of, write_text
from .._utils.processes import Worker, WorkerCrash, run_tasks
from ..tables.csv import write_rows
from .galaxy import Galaxy, draw
from .render import render
from .volunteers import answer_probabilities, gz2, simulate_votes

__all__ = ["SimulationError", "galaxies", "galaxy_id", "simulate"]

IMAGES = "images_training_rev1"
LABELS = "training_solutions_rev1.csv"
TRUTH = "truth.csv"
MARKER = "simulation.json"
#: Raised whenever the same seed gives other galaxies, images or votes than before.
VERSION = 1
JPEG_QUALITY = 92
#: Galaxies of one task: few enough for smooth progress, enough to hide its cost.
TASK_SIZE = 32


class SimulationError(TuningforkError, ValueError):
    """A folder or a number that galaxies cannot be simulated with; the message says the remedy."""


def galaxy_id(index: int) -> int:
    """Return the GalaxyID of galaxy `index`: rising, unique, and above all of Kaggle's, which have six digits.

    So a simulated galaxy is never mistaken for one that a model was trained on.
    """
    return 2_000_008 + 13 * index


def votes_of(galaxy: Galaxy, volunteers: int) -> NDArray[np.float64]:
    """The cumulative vote fractions (37,) of volunteers that are this galaxy's own."""
    rng = np.random.default_rng([galaxy.seed, galaxy.index, 3])
    return simulate_votes(answer_probabilities(galaxy)[None], volunteers, rng)[0]


def galaxies(
    n: int, seed: int = 0, volunteers: int = 45
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float64]]]:
    """Simulated galaxies one by one; only one is held in memory.

    Parameters
    ----------
    n, seed, volunteers : int
        Number of galaxies, population, and volunteers for each galaxy.

    Yields
    ------
    GalaxyID : int
    image : (424, 424, 3) uint8
        Rows (0 at the top), columns, RGB.
    votes : (37,) float64
        Cumulative vote fractions in the order of Galaxy Zoo 2's tree.
    """
    for index in range(n):
        galaxy = draw(seed, index)
        yield galaxy_id(index), render(galaxy), votes_of(galaxy, volunteers)


def simulate(
    out: str | os.PathLike[str],
    n: int,
    seed: int = 0,
    volunteers: int = 45,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write n simulated galaxies with votes in Kaggle's layout.

    The folder then holds ``images_training_rev1/<GalaxyID>.jpg`` (424 × 424),
    ``training_solutions_rev1.csv`` (GalaxyID and the cumulative fractions), ``truth.csv`` (GalaxyID
    and the known shape, the fields of `Galaxy` with its units) and ``simulation.json`` (the
    arguments). Every file is written atomically; called again after an interruption with the same
    arguments, it continues and ends with the same folder.

    Parameters
    ----------
    out : path
        A folder that is new, empty, or of the same simulation.
    n, seed, volunteers : int
        Number of galaxies (1 or more), population (0 or more), volunteers for each galaxy (1 or more).
    workers : int, optional
        Processes that draw images; one for each core if left out. They end with this process, however it ends.
    progress : callable, optional
        Called with (images done, n) now and then, from the calling process.

    Raises
    ------
    SimulationError
        If a number is out of range, or the folder holds something else.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     galaxies = simulate(f"{folder}/galaxies", n=2, seed=1, workers=1)
    ...     sorted(path.name for path in galaxies.iterdir())
    ['images_training_rev1', 'simulation.json', 'training_solutions_rev1.csv', 'truth.csv']
    """
    workers = available_cores() if workers is None else workers
    numbers = {"n": (n, 1), "seed": (seed, 0), "volunteers": (volunteers, 1), "workers": (workers, 1)}
    for name, (value, least) in numbers.items():
        if value < least:
            raise SimulationError(f"{name} must be {least} or more, not {value}")
    out = Path(out)
    settings = {"simulation": "tuningfork", "version": VERSION, "n": n, "seed": seed, "volunteers": volunteers}
    _claim(out, settings)
    images = out / IMAGES
    images.mkdir(exist_ok=True)
    for table, rows in ((LABELS, _label_rows), (TRUTH, _truth_rows)):
        if not (out / table).exists():
            _write_table(out / table, rows(n, seed, volunteers))
    tasks = ((start, min(start + TASK_SIZE, n)) for start in range(0, n, TASK_SIZE))
    done = 0
    for drawn in _run_tasks(_Drawing(str(images), seed), tasks, workers if n > TASK_SIZE else 1):
        done += drawn
        if progress:
            progress(done, n)
    return out


def _claim(out: Path, settings: dict[str, object]) -> None:
    """Make sure that the folder is new or of this simulation, and mark it."""
    marker = out / MARKER
    if out.exists() and not out.is_dir():
        raise SimulationError(f"{out}: is a file; name a new folder")
    try:
        existing = json.loads(marker.read_text("utf-8"))
    except FileNotFoundError:
        if out.exists() and any(entry.name != part_of(marker).name for entry in out.iterdir()):
            raise SimulationError(
                f"{out}: holds files, but no {MARKER}, so it is not a simulation; name a new or empty folder"
            ) from None
        out.mkdir(parents=True, exist_ok=True)
        write_text(marker, json.dumps(settings, indent=1) + "\n")
        return
    except ValueError:
        raise SimulationError(f"{marker}: is not JSON; delete the folder or name a new one") from None
    existing = existing if isinstance(existing, dict) else {}
    for key in {**settings, **existing}:
        before = existing.get(key)
        if before != settings.get(key):
            raise SimulationError(
                f"{out}: holds a simulation with {key} {before}, not {settings.get(key)}; "
                "name another folder, or delete this one"
            )


@dataclass(frozen=True)
class _Drawing:
    """What the worker processes do."""

    folder: str
    seed: int

    def open(self) -> Callable[[tuple[int, int], Callable[[Any], None]], int]:
        return lambda task, report: _draw_images(self.folder, self.seed, *task)


def _run_tasks(job: _Drawing, tasks: Iterable[tuple[int, int]], workers: int) -> Iterator[int]:
    """The number of galaxies of each finished task."""
    if workers == 1:
        yield from (_draw_images(job.folder, job.seed, *task) for task in tasks)
        return

    def run(worker: Worker, task: tuple[int, int], report: Callable[[Any], None]) -> Iterator[int]:
        try:
            yield worker.run(task)
        except WorkerCrash:  # by its memory, or by somebody; once more in a new process
            yield worker.run(task)

    yield from run_tasks(tasks, [Worker(job) for _ in range(workers)], run)


def _draw_images(folder: str, seed: int, start: int, stop: int) -> int:
    """Draw the images that do not exist yet; returns the number of galaxies."""
    for index in range(start, stop):
        path = Path(folder, f"{galaxy_id(index)}.jpg")
        # An empty file is what a power failure can leave of an image that was never flushed.
        if path.exists() and path.stat().st_size:
            continue
        with atomic_file(path, sync=False) as part:
            Image.fromarray(render(draw(seed, index))).save(part, "JPEG", quality=JPEG_QUALITY)
    return stop - start


def _label_rows(n: int, seed: int, volunteers: int) -> Iterator[list[object]]:
    yield [gz2().id_columns[0], *gz2().columns]
    for index in range(n):
        # Python's own floats print with every digit, so that the sums hold after reading back.
        yield [galaxy_id(index), *votes_of(draw(seed, index), volunteers).tolist()]


def _truth_rows(n: int, seed: int, volunteers: int) -> Iterator[list[object]]:
    names = [field.name for field in fields(Galaxy)]
    yield [gz2().id_columns[0], *names, "axis_ratio"]
    for index in range(n):
        galaxy = draw(seed, index)
        yield [galaxy_id(index), *(getattr(galaxy, name) for name in names), galaxy.axis_ratio]


def _write_table(path: Path, rows: Iterable[list[object]]) -> None:
    with atomic_file(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        write_rows(file, rows)
