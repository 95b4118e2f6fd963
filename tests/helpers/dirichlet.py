"""Predictions, and volunteers' fractions that scatter around them as a Dirichlet distribution."""

from __future__ import annotations

import numpy as np

from tuningfork.votes.fractions import cumulative_from_conditional
from tuningfork.votes.tree import DecisionTree


def dirichlet_galaxies(
    tree: DecisionTree, count: int, seed: int, concentration: float = 12.0
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true cumulative fractions (N, A) each."""
    rng = np.random.default_rng(seed)
    predicted, true = np.empty((2, count, len(tree.columns)))
    for part in tree.slices:
        predicted[:, part] = rng.dirichlet(np.ones(part.stop - part.start), count)
        gamma = rng.standard_gamma(concentration * predicted[:, part] + 1e-9)
        true[:, part] = gamma / gamma.sum(1, keepdims=True)
    return cumulative_from_conditional(predicted, tree), cumulative_from_conditional(true, tree)
