"""Training throughput on this machine, from a few steps."""

from __future__ import annotations

import time

import torch

from ..training.malloc import keep_freed_memory
from ..training.recipe import Recipe
from ..training.speed import training_step
from ..votes.tree_files import load_tree

__all__ = ["galaxies_per_second"]

#: Steps are repeated for this long, and at least twice.
_SECONDS = 3.0
#: Reading, validation, checkpoints and the figures after the last epoch, beside the steps.
_OVERHEAD = 1.25


def galaxies_per_second(recipe: Recipe) -> float:
    """Training throughput: galaxies a second by `recipe` on this device, with its overhead."""
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tree = load_tree(recipe.tree)
    step = training_step(recipe, device)
    images = torch.randn(recipe.batch, 3, recipe.size, recipe.size, device=device)
    known = torch.full((recipe.batch, len(tree.columns)), 0.5, device=device)
    candidates = torch.zeros(recipe.batch, len(tree.classes), device=device)
    candidates[:, :1] = 1

    def synchronized_step() -> None:
        step((images, known, candidates))
        if device.type == "cuda":
            torch.cuda.synchronize()

    synchronized_step()  # the first one also lays out memory
    started, steps = time.monotonic(), 0
    while steps < 2 or time.monotonic() - started < _SECONDS:
        synchronized_step()
        steps += 1
    return steps * recipe.batch / (time.monotonic() - started) / _OVERHEAD
