"""Figures of a throughput benchmark: spread of repeats, the bound of two limits, and a forecast for surveys."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .._utils.environment import available_cores

__all__ = ["EndToEnd", "SpeedReport", "Spread", "forecast", "machine"]

#: Numbers of galaxies whose time is forecast.
SURVEYS = (1_000_000, 100_000_000)
LIBRARIES = ("tuningfork", "numpy", "pillow", "simplejpeg", "pyarrow", "onnxruntime", "openvino", "torch", "timm")


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, minimum and maximum of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Raises ValueError (of `statistics`) if there is none."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """One prediction run, from files to a Parquet table.

    Parameters
    ----------
    rate, steady : float
        Images per second: with the start of the process, and from the first report of progress to the end.
    start_up : float
        Seconds beyond what the rows take at the steady rate.
    peak_mb : float or None
        Largest memory of all its processes together in MB (10⁶ bytes), shared pages counted once; None where the
        system does not tell, or psutil is not installed.
    bytes_per_row : float
        Of the table, without what it takes to describe its columns.
    gpu_percent : float or None
        Mean utilisation of the GPU meanwhile; None where none predicts.
    """

    rows: int
    failed: int
    rate: float
    steady: float
    start_up: float
    peak_mb: float | None
    bytes_per_row: float = 0.0
    gpu_percent: float | None = None


@dataclass(frozen=True)
class SpeedReport:
    """Rates in images per second, one of each kind for each repeat, and what they were measured with."""

    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    decode: Sequence[float]
    network: Sequence[float]
    end_to_end: Sequence[EndToEnd]

    @property
    def figures(self) -> dict[str, Spread]:
        """Spread over the repeats of each rate, of the bound, and of the fraction of the bound that is reached.

        Decoding and networks share the cores: no program is faster than 1 / (1/decode + 1/network).
        """
        bounds = [1 / (1 / a + 1 / b) for a, b in zip(self.decode, self.network, strict=True)]
        runs = self.end_to_end
        values: dict[str, list[float]] = {"decode": [*self.decode], "network": [*self.network], "bound": bounds}
        values["of_bound"] = [run.steady / bound for run, bound in zip(runs, bounds, strict=True)]
        for name in ("steady", "rate", "start_up", "peak_mb", "bytes_per_row", "gpu_percent"):
            values[name] = [value for run in runs if (value := getattr(run, name)) is not None]
        return {name: Spread.of(many) for name, many in values.items() if many}

    def forecasts(self, price: float | None = None, galaxies: int | None = None) -> list[dict[str, float | None]]:
        """`forecast` of `galaxies`, or of each of `SURVEYS`, at the median steady rate; GB are 10⁹ bytes."""
        figures, cores = self.figures, self.machine["cores"]
        rows = []
        for n in SURVEYS if galaxies is None else (galaxies,):
            row = forecast(n, figures["steady"].median, figures["start_up"].median, cores, price)
            table = figures["bytes_per_row"].median * n / 1e9
            rows.append({**row, "images_gb": self.settings["bytes_per_image"] * n / 1e9, "table_gb": table})
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON takes it."""
        figures = {name: asdict(spread) for name, spread in self.figures.items()}
        return {**asdict(self), "figures": figures, "forecasts": self.forecasts()}


def forecast(n: int, rate: float, start_up: float, cores: int, price: float | None = None) -> dict[str, float | None]:
    """Hours of a machine and of a core for `n` galaxies, and their cost at `price` per hour (None: not asked for)."""
    hours = (start_up + n / rate) / 3600
    return {
        "galaxies": n,
        "hours": hours,
        "core_hours": hours * cores,
        "cost": None if price is None else hours * price,
    }


def machine() -> dict[str, Any]:
    """Processor, cores, memory in GB (10⁹ bytes; None if unknown), system and versions, as JSON takes them."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[library] = metadata.version(library)
    processor, memory = platform.processor() or platform.machine(), None
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), processor)
    with suppress(AttributeError, OSError, ValueError):
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    return {
        "processor": processor,
        "cores": available_cores(),
        "memory_gb": memory,
        "system": f"{platform.system()} {platform.release()}",
        "bytecode": not sys.dont_write_bytecode,
        "versions": versions,
    }
