"""Training throughput on this machine, from a few steps."""

from __future__ import annotations

import time

import torch

from ..training.lightning_module import MorphologyModule
from ..training.malloc import keep_freed_memory
from ..training.recipe import Recipe
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
    module = MorphologyModule(recipe, tree).to(device).train()
    optimizer = torch.optim.AdamW(module.parameters(), 1e-6)
    images = torch.randn(recipe.batch, 3, recipe.size, recipe.size, device=device)
    known = torch.full((recipe.batch, len(tree.columns)), 0.5, device=device)
    candidates = torch.zeros(recipe.batch, len(tree.classes), device=device)
    candidates[:, :1] = 1
    kind = torch.float16 if recipe.precision == "16-mixed" and device.type == "cuda" else torch.bfloat16

    def step() -> None:
        with torch.autocast(device.type, kind, enabled=recipe.precision != "32-true"):
            loss = module.loss((images, known, candidates))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()  # the first one also lays out memory
    started, steps = time.monotonic(), 0
    while steps < 2 or time.monotonic() - started < _SECONDS:
        step()
        steps += 1
    return steps * recipe.batch / (time.monotonic() - started) / _OVERHEAD
