"""Which networks of the paper are trained, in which order, and for how long a budget lets them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import resources

from .._utils.errors import TuningforkError
from ..training.recipe import Recipe, load_recipe

__all__ = ["ENSEMBLES", "Planned", "StudyError", "allotted", "ensemble_members", "experiments", "plan"]

#: Names of the experiments without their settings, the most telling first: whoever has little time has these.
_ORDER = (
    "votes-efficientnet-b0",
    "votes-efficientnet-b2",
    "classes-efficientnet-b0",
    "classes-resnet-50",
    "classes-vgg-16",
    "classes-dai-tong",
    "classes-efficientnet-b2",
    "classes-inception-v3",
    "classes-se-resnet",
    "votes-efficientnet-b1",
    "classes-efficientnet-b1",
    "votes-efficientnet-b3",
    "classes-efficientnet-b3",
    "classes-vgg-19",
    "votes-efficientnet-b4",
    "classes-efficientnet-b4",
    "votes-efficientnet-b5",
    "classes-efficientnet-b5",
    "votes-efficientnet-b6",
    "classes-efficientnet-b6",
    "votes-efficientnet-b7",
    "classes-efficientnet-b7",
)
ENSEMBLES = ("ensemble-b0-b2",)
_QUICK = ("votes-efficientnet-b0", "votes-efficientnet-b2", "classes-efficientnet-b0", *ENSEMBLES)
QUICK_SIZE, QUICK_EPOCHS = 32, 1


class StudyError(TuningforkError, ValueError):
    """A study that cannot be planned or go on; says what to do."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One training of a study: `full_epochs` are those of its schedule, `recipe.epochs` those that it gets."""

    name: str
    recipe_name: str
    recipe: Recipe
    full_epochs: int

    @property
    def folder(self) -> str:
        """Where it stands below the study's folder."""
        return f"runs/{self.recipe_name.replace('/', '-')}/seed-{self.recipe.seed}"


def experiments(only: Sequence[str] = (), *, quick: bool = False) -> list[str]:
    """Names of trainings and ensembles that the patterns of `only` choose (all, if there are none), in order.

    An ensemble brings its members. Raises StudyError if a pattern chooses nothing.
    """
    known = [*_ORDER, *ENSEMBLES]
    patterns = list(only) or list(_QUICK if quick else ["*"])
    chosen = set()
    for pattern in patterns:
        found = [name for name in known if fnmatchcase(name, pattern)]
        if not found:
            raise StudyError(f"--only {pattern}: no such experiment; there are {', '.join(known)}")
        chosen.update(found)
    for name in ENSEMBLES:
        if name in chosen:
            chosen.update(ensemble_members(name))
    return [name for name in known if name in chosen]


def ensemble_members(name: str) -> tuple[str, ...]:
    """The experiments whose mean an ensemble is."""
    text = resources.files("tuningfork").joinpath(f"experiments/{name}.toml").read_text("utf-8")
    return tuple(tomllib.loads(text)["members"])


def plan(
    names: Sequence[str],
    settings: str,
    *,
    seeds: int = 1,
    size: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    quick: bool = False,
) -> list[Planned]:
    """The trainings of these experiments by the recipes of `settings` (paper or fair), seeds in the outer loop.

    A network that cannot take `size` gets the least that it can.
    """
    if quick:
        size, epochs = size or QUICK_SIZE, epochs or QUICK_EPOCHS
    trainings = []
    for seed in range(seeds):
        for name in names:
            if name in ENSEMBLES:
                continue
            recipe_name = f"{settings}/{name}"
            recipe = load_recipe(recipe_name)
            fits = None if size is None else max(size, recipe.min_size)
            recipe = recipe.changed(seed=seed, size=fits, epochs=epochs, batch=batch)
            trainings.append(Planned(name, recipe_name, recipe, recipe.epochs))
    return trainings


def allotted(trainings: Sequence[Planned], seconds: Mapping[str, float], budget: float) -> list[Planned]:
    """Fit trainings into `budget` seconds: each gets one epoch, then in order their whole schedule, while it lasts.

    Parameters
    ----------
    seconds : mapping of `Planned.name`
        What one epoch takes.

    Returns
    -------
    list of Planned
        In the order given, those that get no epoch left out.
    """
    epochs = []
    left = budget
    for training in trainings:
        cost = seconds[training.name]
        epochs.append(1 if cost <= left else 0)
        left -= cost * epochs[-1]
    for i, training in enumerate(trainings):
        if epochs[i]:
            more = min(training.full_epochs - 1, int(left / seconds[training.name]))
            epochs[i] += more
            left -= more * seconds[training.name]
    return [
        replace(training, recipe=training.recipe.changed(epochs=n))
        for training, n in zip(trainings, epochs, strict=True)
        if n
    ]
