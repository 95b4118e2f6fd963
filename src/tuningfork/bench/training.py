"""`tuningfork bench --train`: our training beside the plain loop, each in a fresh process, in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .fresh import fresh_process
from .machine import Others, machine
from .pictures import simulated, temporary_folder, users
from .report import Spread

__all__ = ["VARIANTS", "Steps", "TrainReport", "bench_training"]

#: What is measured, beginning with the loop that the others are compared with.
VARIANTS = {
    "plain": "DataLoader from JPEG files, NCHW, the system's allocator",
    "ours": "packed pictures, channels-last, freed memory kept",
    "ours, bf16": "the same in bfloat16",
    "ours, compiled": "the same in float32, torch.compile",
}
#: Distinct simulated galaxies.
_DISTINCT = 512


@dataclass(frozen=True, slots=True)
class Steps:
    """A variant's training for some seconds.

    Parameters
    ----------
    rate : float
        Pictures a second, after the steps that warm it up.
    data_wait : float
        Share of that time for which the loop waited for pictures, in [0, 1].
    begun : float
        Seconds for the steps that warm it up: where it is compiled, that happens in them.
    """

    rate: float
    data_wait: float
    begun: float


@dataclass(frozen=True)
class TrainReport:
    """All repeats of each variant, and what they were measured with."""

    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    repeats: Mapping[str, Sequence[Steps]]
    others: float | None = None

    @property
    def figures(self) -> dict[str, dict[str, Spread]]:
        """Of each variant: `rate` in pictures/s, `ratio` to the plain loop of the same repeat, `data_wait`, `begun`."""
        plain = [steps.rate for steps in self.repeats["plain"]]
        return {
            name: {
                "rate": Spread.of(steps.rate for steps in many),
                "ratio": Spread.of(steps.rate / of for steps, of in zip(many, plain, strict=True)),
                "data_wait": Spread.of(steps.data_wait for steps in many),
                "begun": Spread.of(steps.begun for steps in many),
            }
            for name, many in self.repeats.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON takes it, all repeats kept."""
        return {
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "others": self.others,
            "figures": {name: {key: asdict(s) for key, s in told.items()} for name, told in self.figures.items()},
            "repeats": {name: [asdict(steps) for steps in many] for name, many in self.repeats.items()},
        }


def bench_training(
    recipe: str = "efficientnet_b0",
    images: str | Path | None = None,
    *,
    size: int | None = None,
    batch: int | None = None,
    repeats: int = 3,
    seconds: float = 8.0,
    workers: int = 1,
    compiled: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> TrainReport:
    """Measure pictures a second of each of `VARIANTS`, in turn, `repeats` times; needs PyTorch.

    What the pictures show and which votes they get decides nothing here: votes are random, and weights too.

    Parameters
    ----------
    recipe : str
        A shipped recipe's name, or a TOML file: network, size, batch, augmentation and losses.
    images : path, optional
        A folder whose pictures are used, at most 512 of them; else simulated galaxies are.
    size, batch : int, optional
        Instead of the recipe's.
    seconds : float
        What each variant trains for in each repeat.
    workers : int
        Processes that prepare pictures, in every variant.
    compiled : bool
        Also with ``torch.compile``, which takes minutes to begin.

    Raises
    ------
    RecipeError, BenchError
        If there is no such recipe or picture, or a variant fails.
    """
    from ..training.recipe import load_recipe

    chosen = load_recipe(recipe).changed(size=size, batch=batch)
    names = [name for name in VARIANTS if compiled or name != "ours, compiled"]
    repeated: dict[str, list[Steps]] = {name: [] for name in names}
    others = Others()
    with temporary_folder() as folder:
        if images is None:
            say(f"drawing {_DISTINCT} galaxies")
            pictures = simulated(folder / "distinct", _DISTINCT)
        else:
            pictures = users(Path(images))
        paths = [str(path) for path in pictures]
        for number in range(repeats):
            for name in names if number % 2 == 0 else list(reversed(names)):
                say(f"repeat {number + 1} of {repeats}: {name}")
                done = fresh_process(_steps, name, chosen.to_dict(), paths, str(folder / "cache"), seconds, workers)
                repeated[name].append(Steps(**done.result))
    settings = {
        "recipe": recipe,
        "network": chosen.network,
        "size": chosen.size,
        "batch": chosen.batch,
        "images": None if images is None else str(images),
        "distinct": len(paths),
        "repeats": repeats,
        "seconds": seconds,
        "workers": workers,
    }
    return TrainReport(settings, machine(), repeated, others.share())


def _steps(*arguments: Any) -> dict[str, float]:
    # In its own process: an allocator that was told to keep memory cannot be told otherwise.
    from .steps import steps

    return steps(*arguments)
