"""The search space: which settings of a recipe a search may change, and within which bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...training.recipe import Recipe

__all__ = ["Dimension", "apply_values", "own_values", "shorten", "space_around", "suggest"]

#: Images are rotated by any angle, or by up to 90° as Kalvankar et al. 2020 do.
ROTATIONS = (360, 90)
SMALLEST_SIZE = 32


@dataclass(frozen=True, slots=True)
class Dimension:
    """One parameter: between `low` and `high`, or one of `choices`; `own` is the recipe's, as near as these allow."""

    name: str
    own: float
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[int, ...] = ()

    def bounds(self) -> dict[str, Any]:
        """Its bounds or choices, as JSON holds them."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.log}


def _between(name: str, own: float, low: float, high: float, log: bool = False) -> Dimension:
    low, high = _rounded(low), _rounded(high)
    return Dimension(name, min(max(own, low), high), low, high, log)


def _one_of(name: str, own: float, choices: Sequence[int]) -> Dimension:
    return Dimension(name, min(choices, key=lambda choice: abs(choice - own)), choices=tuple(choices))


def _rounded(value: float) -> float:
    # Four digits are more than a search can tell apart, and a person can read and copy them.
    return float(f"{value:.4g}")


def space_around(recipe: Recipe, sizes: Sequence[int] = ()) -> tuple[Dimension, ...]:
    """The dimensions of a search around `recipe`.

    Parameters
    ----------
    sizes : sequence of int
        Input sizes to choose from, in pixels; empty: the recipe's, and a quarter below and above it.

    Raises
    ------
    RecipeError
        If the recipe cannot have one of the sizes.

    Examples
    --------
    >>> space = space_around(Recipe(size=64, learning_rate=1e-3))
    >>> space[0].name, space[0].low, space[0].high
    ('learning_rate', 0.0001, 0.01)
    """
    decay = (1e-3, 0.3) if recipe.optimizer == "adamw" else (1e-7, 1e-3)  # Adam's is added to the gradient
    zoom = recipe.augmentation.zoom
    light = recipe.augmentation.brightness
    least = max(SMALLEST_SIZE, recipe.min_size)
    sizes = sorted(set(sizes)) or sorted(
        {recipe.size, *(max(least, 8 * round(recipe.size * share / 8)) for share in (0.75, 1.25))}
    )
    for size in sizes:
        recipe.changed(size=size)  # says which the network cannot take
    dimensions = [
        _between("learning_rate", recipe.learning_rate, recipe.learning_rate / 10, recipe.learning_rate * 10, True),
        _between("weight_decay", recipe.weight_decay, *decay, True),
        _between("dropout", recipe.dropout, 0, 0.6),
        # A recipe that drops no path may have a network that has none to drop.
        *([_between("drop_path", recipe.drop_path, 0, 0.3)] if recipe.drop_path else []),
        _between("crop", recipe.crop, 0.7 * recipe.crop, min(1.0, 1.4 * recipe.crop)),
        *([_one_of("size", recipe.size, sizes)] if len(sizes) > 1 else []),
        _between("shift", recipe.augmentation.shift, 0, 0.1),
        _between("zoom", max(1 / zoom[0], zoom[1]) - 1, 0, 0.3),
        _between("brightness", (light[1] - light[0]) / 2, 0, 0.3),
        _one_of("rotation", recipe.augmentation.rotation[1] - recipe.augmentation.rotation[0], ROTATIONS),
    ]
    return tuple(dimensions)


def suggest(trial: Any, space: Sequence[Dimension]) -> dict[str, float]:
    """The values that optuna proposes for a trial, rounded as they are then used."""
    return {
        dimension.name: trial.suggest_categorical(dimension.name, dimension.choices)
        if dimension.choices
        else _rounded(trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.log))
        for dimension in space
    }


def own_values(space: Sequence[Dimension]) -> dict[str, float]:
    """The recipe's own settings, as near as the space has them."""
    return {dimension.name: dimension.own for dimension in space}


def apply_values(recipe: Recipe, values: Mapping[str, float]) -> Recipe:
    """The recipe with a trial's values.

    `zoom` 0.25 is between 0.8 and 1.25 times, `brightness` 0.25 between 0.75 and 1.25 times; `rotation` is so many
    degrees wide, half to either side.
    """
    augmentation = recipe.augmentation.changed(
        rotation=(-values["rotation"] / 2, values["rotation"] / 2),
        shift=values["shift"],
        zoom=(_rounded(1 / (1 + values["zoom"])), _rounded(1 + values["zoom"])),
        brightness=(_rounded(1 - values["brightness"]), _rounded(1 + values["brightness"])),
    )
    augmented = ("rotation", "shift", "zoom", "brightness")
    return recipe.changed(
        augmentation=augmentation, **{key: value for key, value in values.items() if key not in augmented}
    )


def shorten(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe at another length, with the same shape: warm-up, patience and averaging keep their share of it."""
    if epochs is None or epochs == recipe.epochs:
        return recipe
    share = epochs / recipe.epochs

    def scaled(count: int) -> int:
        return math.ceil(count * share)

    return recipe.changed(
        epochs=epochs,
        patience=scaled(recipe.patience),
        plateau_patience=scaled(recipe.plateau_patience),
        warmup_epochs=scaled(recipe.warmup_epochs),
        ema_decay=min(_rounded(recipe.ema_decay ** (1 / share)), 0.9999) if recipe.ema_decay else 0.0,
    )
