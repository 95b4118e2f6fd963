"""Predict the morphology of galaxies from images: Galaxy Zoo 2 vote fractions with intervals, and seven classes.

Examples
--------
>>> import tuningfork
>>> model = tuningfork.load("fast")
>>> image = tuningfork.simulation.render(tuningfork.simulation.draw(seed=1, index=0))
>>> galaxy = model.predict(image)
>>> 0 <= galaxy.fractions["smooth_or_features_smooth_fraction"] <= 1
True
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# ONNX Runtime would write a device's ID into the user's cache and send statistics to its maker. It asks the environment
# when it is loaded, and so do child processes.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from ._utils.errors import TuningforkError
    from .evaluation.calibrate import calibrate
    from .evaluation.evaluate import evaluate
    from .images import read_image
    from .images.fits.framing import Framing
    from .model.model import Model, load
    from .model.options import InferenceOptions
    from .model.prediction import Prediction
    from .model.predictions import Predictions
    from .pipeline.options import ExecutionOptions
    from .pipeline.predict import predict_files
    from .simulation.dataset import simulate
    from .tables import read_table, write_table
    from .training.recipe import Recipe, load_recipe
    from .training.train import train
    from .votes.label_table import read_labels
    from .votes.tree import DecisionTree
    from .votes.tree_files import load_tree

#: Public name → the module that defines it. Imported when first used, so that `tuningfork --version` does not load
#: ONNX Runtime, and prediction never loads PyTorch.
_MODULES = {
    "DecisionTree": "votes.tree",
    "ExecutionOptions": "pipeline.options",
    "Framing": "images.fits.framing",
    "InferenceOptions": "model.options",
    "Model": "model.model",
    "Prediction": "model.prediction",
    "Predictions": "model.predictions",
    "Recipe": "training.recipe",
    "TuningforkError": "_utils.errors",
    "calibrate": "evaluation.calibrate",
    "evaluate": "evaluation.evaluate",
    "load": "model.model",
    "load_recipe": "training.recipe",
    "load_tree": "votes.tree_files",
    "predict_files": "pipeline.predict",
    "read_image": "images",
    "read_labels": "votes.label_table",
    "read_table": "tables",
    "simulate": "simulation.dataset",
    "train": "training.train",
    "write_table": "tables",
}

__all__ = [
    "DecisionTree",
    "ExecutionOptions",
    "Framing",
    "InferenceOptions",
    "Model",
    "Prediction",
    "Predictions",
    "Recipe",
    "TuningforkError",
    "__version__",
    "calibrate",
    "evaluate",
    "load",
    "load_recipe",
    "load_tree",
    "predict_files",
    "read_image",
    "read_labels",
    "read_table",
    "simulate",
    "train",
    "write_table",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
