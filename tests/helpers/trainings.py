"""Trainings in this process with few words."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from tuningfork.training.options import Hardware, TrainingOptions
from tuningfork.training.recipe import Recipe
from tuningfork.training.train import TrainReport, train

HARDWARE = {field.name for field in fields(Hardware)}
OPTIONS = {field.name for field in fields(TrainingOptions)}


def fit(
    galaxies: Path, run: Path, recipe: Recipe, *, labels: Path | None = None, images: Path | None = None, **words: Any
) -> TrainReport:
    """Train on a folder in Kaggle's layout with one thread; fields of both option objects by their names."""
    words = {"workers": 0, "threads": 1, **words}
    return train(
        labels or galaxies / "training_solutions_rev1.csv",
        [images or galaxies / "images_training_rev1"],
        run,
        recipe,
        options=TrainingOptions(**{key: value for key, value in words.items() if key in OPTIONS}),
        hardware=Hardware(**{key: value for key, value in words.items() if key in HARDWARE}),
        **{key: value for key, value in words.items() if key not in HARDWARE | OPTIONS},
    )
