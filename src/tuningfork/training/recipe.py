"""Training recipes: every hyperparameter of a training, as data."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Strict, ValidationError, model_validator

from .._utils.errors import TuningforkError
from .._utils.text import nearest
from ..images.preprocess import Preprocess
from .validation import StrictModel, explanation

__all__ = ["IMPROVEMENTS", "Augmentation", "Recipe", "RecipeError", "builtin_recipes", "load_recipe"]

#: What we do better than Kalvankar et al. 2020, each a change of a recipe that can be made alone.
IMPROVEMENTS: dict[str, dict[str, Any]] = {
    "tree": {"output": "tree", "loss": "squared"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.05},
    "cosine": {"schedule": "cosine", "warmup_epochs": 3},
    "ema": {"ema_decay": 0.995},
    "views": {"views": 8},
}
#: How many recipes may build on one another.
_MAX_DEPTH = 5


class RecipeError(TuningforkError, ValueError):
    """A recipe that cannot be used; names the key and the remedy."""


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("two numbers, least and most, are expected")
    return pair


# A pair of TOML is a list.
Range = Annotated[tuple[float, float], Strict(False), AfterValidator(_ascending)]
Triple = Annotated[tuple[float, float, float], Strict(False)]
Count = Annotated[int, Field(ge=0)]


class Augmentation(StrictModel):
    """Data augmentation: random changes that leave a galaxy's morphology as it is. Each range is (least, most)."""

    rotation: Range = (0.0, 360.0)  # degrees
    flip: bool = True  # horizontally and vertically, each half of the time
    shift: float = 0.04  # at most this fraction of the crop's side, along each axis
    zoom: Range = (0.87, 1.15)  # above 1 the galaxy looks larger
    brightness: Range = (0.9, 1.2)


class Recipe(StrictModel):
    """The hyperparameters of one training. Fractions and counts are of galaxies; `size` is in pixels.

    Raises
    ------
    RecipeError
        If a value is of another type or out of range; the message names the key.

    Examples
    --------
    >>> recipe = Recipe(network="efficientnet_b0", size=96)
    >>> recipe.changed(epochs=10).epochs
    10
    >>> Recipe(size=5)
    Traceback (most recent call last):
        ...
    tuningfork.training.recipe.RecipeError: size = 5 is less than the 16 px that the network needs (min_size)
    """

    network: str = "efficientnet_b0"
    network_options: dict[str, Any] = Field(default_factory=dict)  # passed on to timm.create_model
    # Initial weights: "" trains from scratch; "imagenet" begins with the pretrained `weights`; "model" with a trained
    # model, from which network, crop and size come too; "hf-hub:OWNER/NAME" or "local-dir:FOLDER" with a network in
    # timm's hub format; else the name of the file of weights.
    init: str = ""
    weights: str = ""  # timm's NETWORK.TAG or a weights package; "": timm's default of the network
    task: Literal["both", "votes", "classes"] = "both"  # both: from one network
    output: Literal["tree", "sigmoid"] = "tree"  # of the votes: exact sums, or each by itself
    hidden: int = Field(0, ge=0, le=65_536)  # units of a ReLU layer between pooling and outputs; 0: none
    # Of the votes: squared error a galaxy, RMSE of the batch, or the Dirichlet-multinomial likelihood of their counts.
    loss: Literal["squared", "rmse", "dirichlet"] = "squared"
    tree: str = "gz2"
    crop: float = Field(0.5, ge=0.01, le=1)  # side of the central square, as a fraction of the image's shorter side
    size: int = Field(96, le=2048)
    min_size: int = 16  # what the network can take
    epochs: int = Field(100, ge=1, le=100_000)
    min_steps: int = Field(0, ge=0, le=1_000_000_000)  # where few galaxies make short epochs: epochs for these steps
    patience: int = 30  # early stopping
    batch: int = Field(64, ge=2, le=65_536)
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(2e-3, ge=1e-9, le=100)
    weight_decay: float = 0.05
    body_rate: float = Field(1.0, ge=0, le=1)  # learning rate of all but the last layers, as a share; 0 freezes them
    frozen_norms: bool = False  # batch norms keep the statistics that the network began with
    mean: Triple | None = None  # of the input in [0, 1], by band; None: as the pretrained weights expect it, else 0.5
    std: Triple | None = None
    gradient_clip: float = Field(0.0, ge=0)  # largest norm of the gradient; 0: as it is
    schedule: Literal["cosine", "plateau"] = "cosine"  # after a warm-up; or reduced where validation stands still
    warmup_epochs: int = 3
    plateau_factor: float = Field(0.2, ge=1e-3, le=0.999)
    plateau_patience: int = 4
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"  # as Lightning names them
    dropout: float = Field(0.3, ge=0, le=0.99)
    drop_path: float = 0.1
    class_weight: float = 0.1
    ema_decay: float = Field(0.995, ge=0, le=0.99999)  # moving average of the weights, a step; 0 switches it off
    validation: float = Field(0.08, ge=0.01, le=0.9)
    test: float = Field(0.12, ge=0, le=0.9)
    seed: int = 0
    folds: int = Field(0, ge=0, le=100)  # cross-validation of all but the test part; 0: one validation part
    fold: Count = 0  # the one that validates
    auxiliary_ratio: float = Field(1.0, ge=0.01, le=100)  # galaxies of auxiliary sources for each labelled one
    split_seed: int = 0  # separate, so that repeats with other seeds keep the same test part
    # Class → (galaxies, of them in the test part): a published split, used where the number is met exactly.
    published_split: dict[str, Annotated[tuple[Count, Count], Strict(False)]] = Field(default_factory=dict)
    views: Literal[1, 2, 4, 8] = 8  # test-time augmentation: views averaged when the model predicts
    augmentation: Augmentation = Augmentation()

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise RecipeError(explanation(error, Recipe)) from None

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.size < self.min_size:
            raise ValueError(
                f"size = {self.size} is less than the {self.min_size} px that the network needs (min_size)"
            )
        if self.fold > max(self.folds - 1, 0):
            raise ValueError(f"fold = {self.fold} is not in 0…{max(self.folds - 1, 0)}")
        if self.loss == "dirichlet" and self.output != "tree":
            raise ValueError('loss = "dirichlet" needs output = "tree"')
        if self.body_rate != 1 and self.optimizer != "adamw":
            raise ValueError(f'body_rate = {self.body_rate:g} needs optimizer = "adamw"')
        if self.validation + self.test > 0.95:
            raise ValueError("validation and test leave too little to train on")
        return self

    @property
    def preprocess(self) -> Preprocess:
        """Crop, size and scaling of the network's input."""
        half = (0.5, 0.5, 0.5)
        return Preprocess(crop=self.crop, size=self.size, mean=self.mean or half, std=self.std or half)

    @property
    def monitor(self) -> str:
        """The validation's figure that chooses the epoch (the lower the better)."""
        if self.task == "classes":
            return "val_loss"
        return "val_dirichlet" if self.loss == "dirichlet" else "val_rmse"

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as TOML and JSON hold them."""
        return self.model_dump()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Make a recipe from plain values; keys left out have their default.

        Parameters
        ----------
        data : mapping
            As `to_dict` returns it.

        Raises
        ------
        RecipeError
            If a key is unknown, or a value cannot be used.
        """
        values = dict(data)
        about = values.pop("about", None)  # command, hardware, time, expected score: for people
        if about is not None and not isinstance(about, Mapping):
            raise RecipeError("about must be a table")
        return cls(**values)

    def scaled(self, galaxies: int) -> Recipe:
        """Return the recipe with the epochs that `min_steps` asks for.

        Parameters
        ----------
        galaxies : int
            Number of galaxies in the training subset.
        """
        steps = max(galaxies // self.batch, 1)
        if self.epochs * steps >= self.min_steps:
            return self
        epochs = math.ceil(self.min_steps / steps)
        return self.changed(epochs=epochs, patience=math.ceil(self.patience * epochs / self.epochs))

    def improved(self, names: Iterable[str]) -> Recipe:
        """Return the recipe with some of our improvements on the paper's.

        Parameters
        ----------
        names : iterable of str
            Keys of `IMPROVEMENTS`: tree, adamw, cosine, ema, views.

        Raises
        ------
        RecipeError
            If a name is unknown.
        """
        recipe = self
        for name in names:
            if name not in IMPROVEMENTS:
                raise RecipeError(f"{name!r} is none of our improvements: {', '.join(IMPROVEMENTS)}")
            recipe = recipe.changed(**IMPROVEMENTS[name])
        return recipe


@cache
def _builtin() -> dict[str, tuple[str, str]]:
    """Recipe name → its file's text and its variant in it, "" for a file of one recipe."""
    recipes = {}
    for file in (resources.files("tuningfork.training") / "recipes").iterdir():
        if file.name.endswith(".toml"):
            family, text = file.name.removesuffix(".toml"), file.read_text("utf-8")
            variants = tomllib.loads(text).get("variants", {"": {}})
            recipes |= {f"{family}/{name}" if name else family: (text, name) for name in variants}
    return recipes


def builtin_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package, FAMILY/VARIANT or a name alone."""
    return tuple(sorted(_builtin()))


def _listed() -> list[str]:
    """The recipes for an error: names alone in full, of each family the first and how many there are."""
    families: dict[str, list[str]] = {}
    for name in builtin_recipes():
        families.setdefault(name.partition("/")[0], []).append(name)
    return [names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more" for names in families.values()]


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a recipe that comes with the package, by name, or one from a TOML file.

    A recipe may name another as its `base`: what it does not say itself is as there. A file may hold several as
    ``[variants]``, each with its changes to the file's own keys; its base may be another variant. One of them is
    FILE/VARIANT.

    Parameters
    ----------
    name_or_path : str or path
        Such as ``efficientnet_b0`` or ``paper/votes-efficientnet-b3``, or a TOML file.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        If there is no such recipe, or it cannot be used; the message names the key.

    Examples
    --------
    >>> load_recipe("paper/votes-efficientnet-b3").network
    'efficientnet_b3'
    """
    text = str(name_or_path)
    try:
        return Recipe.from_dict(_values(text, 0))
    except OSError as error:
        raise RecipeError(
            f"{error.filename or text}: neither a recipe that comes with tuningfork ({', '.join(_listed())}) "
            f"nor a readable TOML file ({error.strerror}){nearest(text, builtin_recipes())}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{text}: not valid TOML: {error}") from None
    except RecipeError as error:
        raise RecipeError(f"{text}: {error}") from None


def _values(name: str, depth: int) -> dict[str, Any]:
    """All keys of a recipe, its bases' included."""
    if depth > _MAX_DEPTH:
        raise RecipeError(f"more than {_MAX_DEPTH} recipes build on one another; do they form a circle?")
    if name in _builtin():
        raw, variant = _builtin()[name]
    elif (path := Path(name)).is_file() or not path.parent.is_file():
        raw, variant = path.read_text("utf-8"), ""
    else:
        raw, variant = path.parent.read_text("utf-8"), path.name
    own = tomllib.loads(raw)
    variants = own.pop("variants", {})
    if not isinstance(variants, Mapping) or not all(isinstance(values, Mapping) for values in variants.values()):
        raise RecipeError("variants must be tables")
    if variants and variant not in variants:
        raise RecipeError(f"name one of its variants: {', '.join(f'{name}/{each}' for each in variants)}")
    if not variant:
        return _on_base(own, name, depth)
    changes = dict(variants[variant])
    base = changes.get("base")
    if base in variants:
        del changes["base"]
        family = name.removesuffix(variant)
        return _merged(_values(f"{family}{base}", depth + 1), changes)
    return _merged(_on_base(own, str(Path(name).parent), depth), _on_base(changes, str(Path(name).parent), depth))


def _on_base(values: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise RecipeError(f"base = {base!r}: a recipe's name is expected")
    if base not in _builtin():
        base = str(Path(name).parent / base)  # beside the recipe that names it
    return _merged(_values(base, depth + 1), values)


def _merged(base: Mapping[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for table in ("augmentation", "network_options"):
        if isinstance(changes.get(table), dict) and isinstance(base.get(table), dict):
            changes[table] = {**base[table], **changes[table]}
    return {**base, **changes}
