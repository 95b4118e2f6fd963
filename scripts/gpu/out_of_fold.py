"""What the folds' networks said of the galaxies that they did not see, and a last layer that is fitted on it.

Networks are too sure of galaxies that they did not learn from. A factor for each question's logits and a shift for each
answer's (vector scaling: Guo et al. 2017, arXiv:1706.04599, here with the squared error of the cumulative fractions)
make up for it, at no cost, as they belong to the last layer: its weights and biases are multiplied and shifted. They
are fitted on galaxies that the network did not see, and judged on the fold that the fit did not see either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tuningfork import DecisionTree
from tuningfork.training.network import cumulative_from_logits
from tuningfork.votes.fractions import conditional_from_cumulative

Floats = NDArray[np.float64]

#: Keeps what few galaxies tell of near to no change: times the sum of squares, beside a mean squared error of 0.008.
PENALTY, STEPS, LEAST = 1e-5, 100, 1e-7


def read(done: Path, family: str, fold: NDArray[np.integer]) -> Floats:
    """Return (8, N, A + C), the views of these folds' galaxies (N,), each by the network that left its fold out."""
    parts = {}
    for k in np.unique(fold):
        path = done / f"{family}-{k}.npz"
        if not path.exists():
            raise SystemExit(f"{path}: fold {k} of {family} is missing")
        with np.load(path) as file:
            parts[k] = file["views"].astype(np.float64)
        if parts[k].shape[1] != (fold == k).sum():
            raise SystemExit(f"{path}: {parts[k].shape[1]} galaxies; fold {k} has {(fold == k).sum()}")
    out = np.empty((8, len(fold), next(iter(parts.values())).shape[2]))
    for k, views in parts.items():
        out[:, fold == k] = views
    return out


@dataclass(frozen=True)
class Scaling:
    """Factors (Q,) of the questions' logits and shifts (A,) of the answers'."""

    tree: DecisionTree
    factors: Floats
    shifts: Floats

    def __call__(self, cumulative: Floats) -> Floats:
        """Cumulative fractions (N, A) as the scaled last layer gives them."""
        logits = _logits(cumulative, self.tree)
        return cumulative_from_logits(
            logits * torch.from_numpy(self.factors)[_questions(self.tree)] + torch.from_numpy(self.shifts), self.tree
        ).numpy()

    def into(self, head: nn.Linear) -> None:
        """Multiply and shift the rows of the answers."""
        answers = len(self.shifts)
        factors = torch.from_numpy(self.factors)[_questions(self.tree)].to(head.weight)
        with torch.no_grad():
            head.weight[:answers] *= factors[:, None]
            head.bias[:answers] = head.bias[:answers] * factors + torch.from_numpy(self.shifts).to(head.bias)


def fit(cumulative: Floats, known: Floats, tree: DecisionTree) -> Scaling:
    """The scaling of the least squared error, over all known fractions (N, A; NaN where unknown)."""
    logits = _logits(cumulative, tree)
    target, told = torch.from_numpy(np.nan_to_num(known)), torch.from_numpy(~np.isnan(known))
    questions = _questions(tree)
    logarithms = torch.zeros(len(tree.slices), dtype=torch.float64, requires_grad=True)
    shifts = torch.zeros(len(tree.columns), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logarithms, shifts], max_iter=STEPS, line_search_fn="strong_wolfe")

    def error() -> Tensor:
        optimizer.zero_grad()
        said = cumulative_from_logits(logits * logarithms.exp()[questions] + shifts, tree)
        cost = (said - target)[told].square().mean() + PENALTY * (logarithms.square().sum() + shifts.square().sum())
        cost.backward()
        return cost

    optimizer.step(error)
    return Scaling(tree, logarithms.exp().detach().numpy(), shifts.detach().numpy())


def scaled(views: Floats, known: Floats, fold: NDArray[np.integer], tree: DecisionTree) -> Floats:
    """Return `views` (V, N, A + C) with the answers scaled, each fold by what was fitted on the others' first view."""
    answers, out = len(tree.columns), views.copy()
    for k in np.unique(fold):
        held = fold == k
        scaling = fit(views[0, ~held, :answers], known[~held], tree)
        for view in out:
            view[held, :answers] = scaling(view[held, :answers])
    return out


def _logits(cumulative: Floats, tree: DecisionTree) -> Tensor:
    """Logits (N, A) that give these fractions: the logarithms of the conditional ones."""
    conditional = np.nan_to_num(conditional_from_cumulative(cumulative, tree), nan=LEAST)
    return torch.from_numpy(np.log(np.maximum(conditional, LEAST)))


def _questions(tree: DecisionTree) -> Tensor:
    """The question (A,) of each answer."""
    out = torch.zeros(len(tree.columns), dtype=torch.int64)
    for number, part in enumerate(tree.slices):
        out[part] = number
    return out
