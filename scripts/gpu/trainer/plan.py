"""The plan: its families, and its steps in the order of their worth."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .family import Family
from .galaxies import Galaxies

#: Of a rehearsal: the side of its images, its galaxies of each source in a batch, and its pictures in a training.
REHEARSED, REHEARSED_BATCH, REHEARSED_PICTURES = 32, 4, 24


@dataclass(frozen=True)
class Step:
    """A training of the plan: on all labelled galaxies (fold −1), or on those of the other folds."""

    family: str
    fold: int
    variant: str = ""
    changes: tuple[tuple[str, Any], ...] = ()
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.family}{f'-{self.variant}' if self.variant else ''}-{'all' if self.fold < 0 else self.fold}"


def rehearsed(values: dict[str, Any]) -> dict[str, Any]:
    """A family's values, or a step's changes of them, in small."""
    small = {"size": REHEARSED, "pictures": REHEARSED_PICTURES}
    small |= {key: min(int(values.get(key, 0)), REHEARSED_BATCH) for key in ("labelled", "hart", "weak")}
    return {key: small.get(key, value) for key, value in values.items()}


def read_plan(path: Path, rehearse: bool = False) -> tuple[dict[str, Family], list[Step], dict[str, Any]]:
    plan = tomllib.loads(path.read_text("utf-8"))
    if rehearse:
        plan["family"] = {name: rehearsed(values) for name, values in plan["family"].items()}
        for trial in plan.get("trial", {}).values():
            trial["changes"] = [rehearsed(change) for change in trial["changes"]]
        plan |= {"longest": 4000, "least_scale": 1.0, "most_scale": 1.0}
        for entry in plan["step"]:
            entry["changes"] = rehearsed(entry.get("changes", {}))
    families = {
        name: Family(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
        for name, values in plan.pop("family").items()
    }
    steps = []
    for entry in plan.pop("step"):
        for fold in entry["folds"]:
            changes = tuple(entry.get("changes", {}).items())
            steps.append(Step(entry["family"], fold, entry.get("variant", ""), changes, entry.get("seed", 0)))
    return families, steps, plan


def order_of(family: Family, train: np.ndarray, galaxies: Galaxies, steps: int, seed: int) -> np.ndarray:
    """(steps, batch) rows: of each source all once before any comes again; of pairs, the second half is the first."""
    rng = np.random.default_rng(seed)
    parts = []
    views = 2 if family.pairs else 1
    for rows, count in (
        (train, family.labelled),
        (galaxies.rows("hart"), family.hart),
        (galaxies.rows("weak"), family.weak),
    ):
        count //= views
        if count:
            passes = -(-steps * count // len(rows))
            drawn = np.concatenate([rng.permutation(rows) for _ in range(passes)])[: steps * count]
            parts.append(drawn.reshape(steps, count))
    return np.tile(np.concatenate(parts, 1), views)
