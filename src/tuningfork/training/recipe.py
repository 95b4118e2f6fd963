"""Recipes: everything that decides a training, as data."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from .._utils.errors import TuningforkError

__all__ = ["BETTER", "Augmentation", "Recipe", "RecipeError", "builtin_recipes", "load_recipe"]

#: What we do better than Kalvankar et al. 2020, each a change of a recipe that can be made alone.
BETTER: dict[str, dict[str, Any]] = {
    "tree": {"output": "tree", "loss": "squared"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.05},
    "cosine": {"schedule": "cosine", "warmup_epochs": 3},
    "ema": {"average": 0.995},
    "views": {"views": 8},
}
#: How deep a recipe may stand on others.
_DEEPEST = 5


class RecipeError(TuningforkError, ValueError):
    """A recipe that cannot be used; names the key and the remedy."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes that leave a galaxy's morphology as it is. Each range is (least, most)."""

    rotation: tuple[float, float] = (0.0, 360.0)  # degrees
    flip: bool = True  # horizontally and vertically, each half of the time
    shift: float = 0.04  # at most this fraction of the crop's side, along each axis
    zoom: tuple[float, float] = (0.87, 1.15)  # above 1 the galaxy looks larger
    brightness: tuple[float, float] = (0.9, 1.2)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training. Fractions and counts are of galaxies; `size` is in pixels, `crop` of the frame's side."""

    network: str = "efficientnet_b0"
    network_options: dict[str, Any] = field(default_factory=dict)  # passed on to timm.create_model
    # "" trains from scratch; "imagenet" begins with timm's weights; "model" with a trained model, from which network,
    # crop and size come too; else the name of the file of weights.
    start: str = ""
    task: str = "both"  # votes, classes, or both from one network
    output: str = "tree"  # of the votes: tree (exact sums) or sigmoid (each by itself)
    hidden: int = 0  # units of a ReLU layer between pooling and outputs; 0: none
    loss: str = "squared"  # of the votes: squared error a galaxy, or rmse of the batch
    tree: str = "gz2"
    crop: float = 0.5
    size: int = 96
    least_size: int = 16  # what the network can take
    epochs: int = 100
    least_steps: int = 0  # where few galaxies make short epochs, as many more epochs as give these steps
    patience: int = 30
    batch: int = 64
    optimizer: str = "adamw"  # or adam
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    body_rate: float = 1.0  # learning rate of all but the last layers, as a share of theirs; 0 leaves it as it began
    frozen_norms: bool = False  # batch norms keep the statistics that the network began with
    schedule: str = "cosine"  # after a warm-up; or plateau: the rate shrinks when validation stands still
    warmup_epochs: int = 3
    plateau_factor: float = 0.2
    plateau_patience: int = 4
    precision: str = "32-true"  # Lightning's word: also bf16-mixed, 16-mixed
    dropout: float = 0.3
    drop_path: float = 0.1
    class_weight: float = 0.1
    average: float = 0.995  # decay of the moving average of the weights, a step; 0 switches it off
    validation: float = 0.08
    test: float = 0.12
    seed: int = 0
    folds: int = 0  # cross-validation: all but the test part is dealt into so many; 0: one validation part
    fold: int = 0  # the one that validates
    foreign: float = 1.0  # galaxies of foreign sources for each labelled one, where there are any
    split_seed: int = 0  # separate, so that repeats with other seeds keep the same test part
    # Class → (galaxies, of them in the test part): a published split, kept where the number is met exactly.
    published_split: dict[str, Any] = field(default_factory=dict)
    views: int = 8  # views averaged when the model predicts
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, least, most in (
            ("crop", 0.01, 1),
            ("size", self.least_size, 2048),
            ("epochs", 1, 100_000),
            ("batch", 2, 65_536),
            ("dropout", 0, 0.99),
            ("average", 0, 0.99999),
            ("hidden", 0, 65_536),
            ("learning_rate", 1e-9, 100),
            ("body_rate", 0, 1),
            ("least_steps", 0, 1_000_000_000),
            ("plateau_factor", 1e-3, 0.999),
            ("validation", 0.01, 0.9),
            ("foreign", 0.01, 100),
            ("folds", 0, 100),
            ("fold", 0, max(self.folds - 1, 0)),
            ("test", 0, 0.9),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise RecipeError(f"{name} = {value} is not in {least}…{most}")
        for key, pair in self.published_split.items():
            if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(type(n) is int and n >= 0 for n in pair):
                raise RecipeError(f"published_split.{key} = {pair!r}: [galaxies, of them tested on] is expected")
        if self.body_rate != 1 and self.optimizer != "adamw":
            raise RecipeError(f'body_rate = {self.body_rate:g} needs optimizer = "adamw"')
        if self.validation + self.test > 0.95:
            raise RecipeError("validation and test leave too little to train on")
        for name, choices in (
            ("views", (1, 2, 4, 8)),
            ("task", ("both", "votes", "classes")),
            ("output", ("tree", "sigmoid")),
            ("loss", ("squared", "rmse")),
            ("optimizer", ("adamw", "adam")),
            ("schedule", ("cosine", "plateau")),
            ("precision", ("32-true", "bf16-mixed", "16-mixed")),
        ):
            if getattr(self, name) not in choices:
                raise RecipeError(f"{name} = {getattr(self, name)!r} is none of {', '.join(map(str, choices))}")

    @property
    def monitor(self) -> str:
        """The validation's figure that chooses the epoch: the lower the better."""
        return "val_loss" if self.task == "classes" else "val_rmse"

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as TOML and JSON hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Read `to_dict`'s form; keys left out keep their default. Raises RecipeError on an unknown key."""
        values = dict(data)
        about = values.pop("about", None)  # command, hardware, time, expected score: for people
        if about is not None and not isinstance(about, Mapping):
            raise RecipeError("about must be a table")
        if "augmentation" in values:
            values["augmentation"] = _build(Augmentation, values["augmentation"], "augmentation.")
        return _build(cls, values, "")

    def changed(self, **values: Any) -> Recipe:
        """A copy with some values replaced; None leaves a value as it is."""
        return replace(self, **{key: value for key, value in values.items() if value is not None})

    def scaled(self, galaxies: int) -> Recipe:
        """With the epochs that `least_steps` asks for, where so many galaxies are trained on."""
        steps = max(galaxies // self.batch, 1)
        if self.epochs * steps >= self.least_steps:
            return self
        epochs = math.ceil(self.least_steps / steps)
        return replace(self, epochs=epochs, patience=math.ceil(self.patience * epochs / self.epochs))

    def better(self, names: Iterable[str]) -> Recipe:
        """With some of our `BETTER` choices; raises RecipeError on an unknown one."""
        recipe = self
        for name in names:
            if name not in BETTER:
                raise RecipeError(f"{name!r} is none of our better choices: {', '.join(BETTER)}")
            recipe = replace(recipe, **BETTER[name])
        return recipe


def _build(kind: type, values: Mapping[str, Any], prefix: str) -> Any:
    if not isinstance(values, Mapping):
        raise RecipeError(f"{prefix.rstrip('.')} = {values!r}: a table is expected")
    known = {f.name: f for f in fields(kind)}
    arguments = {}
    for key, value in values.items():
        if key not in known:
            near = get_close_matches(key, known, 1, 0.5)
            raise RecipeError(f"unknown key {prefix + key!r}" + (f"; is {near[0]!r} meant?" if near else ""))
        arguments[key] = tuple(value) if isinstance(value, list) else value
        default = known[key].default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            arguments[key] = float(value)
        elif isinstance(default, bool | int | float | str) and type(arguments[key]) is not type(default):
            raise RecipeError(f"{prefix}{key} = {value!r}: a {type(default).__name__} is expected")
        elif isinstance(default, tuple) and not _is_range(value):
            raise RecipeError(f"{prefix}{key} = {value!r}: two numbers, least and most, are expected")
        elif known[key].default_factory is dict and not isinstance(value, Mapping):
            raise RecipeError(f"{prefix}{key} = {value!r}: a table is expected")
    return kind(**arguments)


def _is_range(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    return all(isinstance(end, int | float) and type(end) is not bool for end in value) and value[0] <= value[1]


def builtin_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(_names(resources.files("tuningfork.training") / "recipes", "")))


def _names(folder: Traversable, prefix: str) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _names(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".toml"):
            yield prefix + entry.name.removesuffix(".toml")


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe that comes with the package, by name, or one from a TOML file. Raises RecipeError.

    A recipe may name another as its `base`: what it does not say itself is as there.
    """
    text = str(name_or_path)
    try:
        return Recipe.from_dict(_with_base(text, 0))
    except OSError as error:
        raise RecipeError(
            f"{error.filename or text}: neither a recipe that comes with tuningfork ({', '.join(builtin_recipes())}) "
            f"nor a readable TOML file ({error.strerror})"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{text}: not valid TOML: {error}") from None
    except RecipeError as error:
        raise RecipeError(f"{text}: {error}") from None


def _with_base(text: str, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise RecipeError(f"more than {_DEEPEST} recipes stand on one another; do they stand in a circle?")
    if text in builtin_recipes():
        raw = resources.files("tuningfork.training").joinpath(f"recipes/{text}.toml").read_text("utf-8")
    else:
        raw = Path(text).read_text("utf-8")
    values = tomllib.loads(raw)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise RecipeError(f"base = {base!r}: a recipe's name is expected")
    if base not in builtin_recipes():
        base = str(Path(text).parent / base)  # beside the recipe that names it
    below = _with_base(base, depth + 1)
    for table in ("augmentation", "network_options"):
        if isinstance(values.get(table), dict) and isinstance(below.get(table), dict):
            values[table] = {**below[table], **values[table]}
    return {**below, **values}
