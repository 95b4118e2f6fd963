"""Figures of a measurement: medians and spread of repeats, the bound of two limits, ratios, times and costs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["SURVEYS", "Pass", "Repeat", "Report", "Spread", "bound", "cost", "one_pass"]

#: Galaxies whose time and cost are told.
SURVEYS = (1_000_000, 100_000_000)


def bound(decode: float, network: float) -> float:
    """Pictures a second if each is decoded and predicted on the same cores: 1 / (1/decode + 1/network)."""
    return 1 / (1 / decode + 1 / network)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and largest of some repeats."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Raises ValueError (of `statistics`) if there is none."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Pass:
    """One time through all pictures, from files to a table.

    Parameters
    ----------
    rate, steady : float
        Pictures a second, with the start of the process, and from the first report of progress to the end.
    start_up : float
        Seconds of the whole beyond what its rows take at the steady rate.
    peak_mb : float or None
    failed : int
        Pictures without a prediction.
    """

    rows: int
    seconds: float
    rate: float
    steady: float
    start_up: float
    peak_mb: float | None
    failed: int = 0


def one_pass(told: Mapping[str, Any], seconds: float, peak_mb: float | None) -> Pass:
    """A `Pass` from what `ours.predict_folder` returns; `seconds` are of its whole process.

    Where the first report is of all rows, there is no steady part, and the whole stands for it.
    """
    rows = told["rows"]
    rate = rows / seconds
    rest = rows - told["first"]
    steady = rest / (told["ended_at"] - told["first_at"]) if rest else rate
    return Pass(rows, seconds, rate, steady, max(seconds - rows / steady, 0.0), peak_mb, told["failed"])


@dataclass(frozen=True, slots=True)
class Repeat:
    """One of each, measured one after the other; rates in pictures a second."""

    decode: float
    network: float
    ours: Pass
    peer: Pass | None

    @property
    def of_bound(self) -> float:
        """Our steady rate as a share of what the two limits of this repeat allow."""
        return self.ours.steady / bound(self.decode, self.network)

    @property
    def over_peer(self) -> float | None:
        """Our steady rate in units of the peer's."""
        return self.ours.steady / self.peer.steady if self.peer else None


@dataclass(frozen=True)
class Report:
    """All repeats, and what they were measured with.

    Parameters
    ----------
    settings, machine : mapping
        As JSON takes them.
    left_out : str
        Why there is no peer; empty if there is.
    price : float or None
        Of an hour of this machine, in the user's money.
    others : float or None
        Share of the cores' time that other programs took meanwhile.
    """

    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    repeats: Sequence[Repeat]
    batches: Mapping[int, float] = field(default_factory=dict)
    left_out: str = ""
    price: float | None = None
    others: float | None = None

    @property
    def figures(self) -> dict[str, Spread]:
        """Median and spread of every rate (pictures/s), ratio, start-up (s) and peak memory (MB)."""
        values: dict[str, list[float | None]] = {
            "decode": [r.decode for r in self.repeats],
            "network": [r.network for r in self.repeats],
            "bound": [bound(r.decode, r.network) for r in self.repeats],
            "of_bound": [r.of_bound for r in self.repeats],
            "over_peer": [r.over_peer for r in self.repeats],
        }
        for who in ("ours", "peer"):
            passes = [each for r in self.repeats if (each := getattr(r, who))]
            for what in ("rate", "steady", "start_up", "peak_mb"):
                values[f"{who}_{what}"] = [getattr(each, what) for each in passes]
        known = {name: [value for value in many if value is not None] for name, many in values.items()}
        return {name: Spread.of(many) for name, many in known.items() if many}

    @property
    def costs(self) -> dict[str, list[dict[str, float | None]]]:
        """`cost` of each of `SURVEYS`, for us and for the peer, at the median steady rate and start-up."""
        figures, cores = self.figures, self.machine["cores"]
        return {
            who: [
                cost(n, figures[f"{who}_steady"].median, figures[f"{who}_start_up"].median, cores, self.price)
                for n in SURVEYS
            ]
            for who in ("ours", "peer")
            if f"{who}_steady" in figures
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON takes it, all repeats kept."""
        return {
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "left_out": self.left_out,
            "others": self.others,
            "batches": {str(batch): rate for batch, rate in self.batches.items()},
            "figures": {name: asdict(spread) for name, spread in self.figures.items()},
            "costs": self.costs,
            "repeats": [
                {**asdict(r), "bound": bound(r.decode, r.network), "of_bound": r.of_bound, "over_peer": r.over_peer}
                for r in self.repeats
            ],
        }


def cost(
    galaxies: int, rate: float, start_up: float, cores: int, price: float | None = None
) -> dict[str, float | None]:
    """Hours of the machine and of a core for so many galaxies, and their price (None without a `price` an hour)."""
    hours = (start_up + galaxies / rate) / 3600
    return {
        "galaxies": galaxies,
        "hours": hours,
        "core_hours": hours * cores,
        "price": None if price is None else hours * price,
    }
