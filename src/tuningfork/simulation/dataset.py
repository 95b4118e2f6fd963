"""Simulated galaxies as a folder in the layout of Kaggle's Galaxy Challenge."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._utils.errors import TuningforkError
from .._utils.files import atomic_file, part_of, write_text
from .._utils.processes import available_cores
from .galaxy import Galaxy, draw
from .render import render
from .volunteers import crowd, gz2, opinions

__all__ = ["SimulationError", "galaxies", "galaxy_id", "simulate"]

PICTURES = "images_training_rev1"
LABELS = "training_solutions_rev1.csv"
TRUTH = "truth.csv"
MARKER = "simulation.json"
#: Raised whenever the same seed gives other galaxies, pictures or votes than before.
VERSION = 1
JPEG_QUALITY = 92
#: Galaxies in one piece of work: small enough for smooth progress, large enough to hide its cost.
PIECE = 32


class SimulationError(TuningforkError, ValueError):
    """A folder or a number that galaxies cannot be simulated with; the message says the remedy."""


def galaxy_id(index: int) -> int:
    """GalaxyID of galaxy `index`: rising, unique, six digits (as Kaggle's) for the first 69,230."""
    return 100_008 + 13 * index


def votes_of(galaxy: Galaxy, volunteers: int) -> NDArray[np.float64]:
    """The cumulative vote fractions (37,) of a crowd that is this galaxy's own."""
    rng = np.random.default_rng([galaxy.seed, galaxy.index, 3])
    return crowd(opinions(galaxy)[None], volunteers, rng)[0]


def galaxies(
    n: int, seed: int = 0, volunteers: int = 45
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float64]]]:
    """Simulated galaxies one by one; only one is held in memory.

    Yields
    ------
    GalaxyID : int
    picture : (424, 424, 3) uint8
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
    and the known shape, the fields of `Galaxy` with its units) and ``simulation.json`` (what was asked
    for). Every file appears whole or not at all; called again after an interruption with the same
    arguments, it goes on where it stopped and ends with the same folder.

    Parameters
    ----------
    out : path
        A folder that is new, empty, or of the same simulation.
    n, seed, volunteers : int
        Number of galaxies (1 or more), population (0 or more), volunteers for each galaxy (1 or more).
    workers : int, optional
        Processes that draw pictures; as many as there are processors if left out. With more than
        one, a script needs the usual ``if __name__ == "__main__":``.
    progress : callable, optional
        Called with (pictures done, n) now and then, from the calling process.

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
    asked = {"simulation": "tuningfork", "version": VERSION, "n": n, "seed": seed, "volunteers": volunteers}
    _claim(out, asked)
    pictures = out / PICTURES
    pictures.mkdir(exist_ok=True)
    for table, rows in ((LABELS, _label_rows), (TRUTH, _truth_rows)):
        if not (out / table).exists():
            _write_table(out / table, rows(n, seed, volunteers))
    pieces = ((str(pictures), seed, start, min(start + PIECE, n)) for start in range(0, n, PIECE))
    done = 0
    for drawn in _results(pieces, workers if n > PIECE else 1):
        done += drawn
        if progress:
            progress(done, n)
    return out


def _claim(out: Path, asked: dict[str, object]) -> None:
    """Make sure that the folder is new or of this simulation, and mark it."""
    marker = out / MARKER
    if out.exists() and not out.is_dir():
        raise SimulationError(f"{out}: is a file; name a new folder")
    try:
        found = json.loads(marker.read_text("utf-8"))
    except FileNotFoundError:
        if out.exists() and any(entry.name != part_of(marker).name for entry in out.iterdir()):
            raise SimulationError(
                f"{out}: holds files, but no {MARKER}, so it is not a simulation; name a new or empty folder"
            ) from None
        out.mkdir(parents=True, exist_ok=True)
        write_text(marker, json.dumps(asked, indent=1) + "\n")
        return
    except ValueError:
        raise SimulationError(f"{marker}: is not JSON; delete the folder or name a new one") from None
    for key in {**asked, **(found if isinstance(found, dict) else {})}:
        before = found.get(key) if isinstance(found, dict) else None
        if before != asked.get(key):
            raise SimulationError(
                f"{out}: holds a simulation with {key} {before}, not {asked.get(key)}; "
                "name another folder, or delete this one"
            )


def _results(pieces: Iterable[tuple[str, int, int, int]], workers: int) -> Iterator[int]:
    if workers == 1:
        yield from (_draw_pictures(*piece) for piece in pieces)
        return
    pieces = iter(pieces)
    # Fresh processes: a forked one could inherit a lock that another thread of the caller holds.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        try:
            waiting = deque(pool.submit(_draw_pictures, *piece) for piece in islice(pieces, 2 * workers))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(_draw_pictures, *piece) for piece in islice(pieces, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _draw_pictures(folder: str, seed: int, start: int, stop: int) -> int:
    """Draw the pictures that are not there yet; how many galaxies the piece had."""
    for index in range(start, stop):
        path = Path(folder, f"{galaxy_id(index)}.jpg")
        # An empty file is what a power failure can leave of a picture that was never flushed.
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
        csv.writer(file, lineterminator="\n").writerows(rows)
