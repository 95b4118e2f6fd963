"""Simulated active learning: labels are revealed in an acquisition order, and a softmax on features is refitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..evaluation import metrics
from ..labelling import acquisition
from ..training.network import cumulative_from_logits
from ..votes.tree import DecisionTree

__all__ = ["ORDERS", "Points", "fit_head", "learning_curve"]

Floats = NDArray[np.float64]
#: Precision of the normal prior of the head's weights, at features of variance 1 on average and one vote a galaxy.
PRIOR = 25.0


@dataclass(frozen=True, eq=False)
class Points:
    """M galaxies as inputs of the head: `views` (M, V, D), features of V views; votes `known` (M, A), NaN unknown."""

    views: Floats
    known: Floats

    @property
    def mean(self) -> Floats:
        """(M, D) over the views."""
        return self.views.mean(1)


@dataclass(frozen=True, eq=False)
class _Stage:
    """What an acquisition order may use: the fitted head's predictions of the pool, not its hidden labels."""

    pool: Points
    chosen: NDArray[np.int64]
    by_view: Floats
    tree: DecisionTree
    seed: int

    @property
    def cumulative(self) -> Floats:
        return self.by_view.mean(1)

    @property
    def entropy(self) -> Floats:
        return acquisition.question_entropies(self.cumulative, self.tree).sum(-1)


def _highest(scores: Floats) -> NDArray[np.int64]:
    return np.argsort(-scores, kind="stable")


def _seeded(stage: _Stage, vectors: Floats, count: int) -> NDArray[np.int64]:
    weights = stage.entropy
    weights[stage.chosen] = 0
    centres = vectors[stage.chosen]
    return acquisition.weighted_seeding(vectors, weights, count, centres=centres, seed=stage.seed).rows


#: Acquisition orders by name: rows of the pool, the best first; rows that are labelled already are skipped.
ORDERS: Mapping[str, Callable[[_Stage, int], NDArray[np.int64]]] = {
    "random": lambda s, n: np.random.default_rng([s.seed, 1]).permutation(len(s.pool.known)),
    "ranked": lambda s, n: _seeded(s, acquisition.hellinger(s.cumulative), n),
    "ranked, features": lambda s, n: _seeded(s, s.pool.mean, n),
    "k-centre": lambda s, n: acquisition.k_centre(s.pool.mean, n, centres=s.pool.mean[s.chosen]).rows,
    "views disagree": lambda s, n: _highest(((s.by_view[:, 0] - s.by_view[:, 1]) ** 2).sum(-1)),
    "entropy": lambda s, n: _highest(s.entropy),
}


def fit_head(
    features: Floats, known: Floats, tree: DecisionTree, *, prior: float = PRIOR, steps: int = 60
) -> Callable[[Floats], Floats]:
    """Fit a softmax in each question on fixed features: the most probable weights under a normal prior.

    The likelihood is that of one volunteer who answers as the known fractions say; it is convex, so that the
    start and the seed do not matter.

    Parameters
    ----------
    features : (N, D)
    known : (N, A)
        Cumulative fractions; NaN is left out.

    Returns
    -------
    function
        Features (M, D) → cumulative fractions (M, A).
    """
    inputs = torch.from_numpy(_with_one(features))
    target = torch.from_numpy(np.nan_to_num(known)).float()
    weights = torch.zeros(inputs.shape[1], target.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def cost() -> torch.Tensor:
        optimizer.zero_grad()
        logits = inputs @ weights
        logs = torch.cat([logits[:, part].log_softmax(-1) for part in tree.slices], -1)
        total = -(target * logs).sum() + prior / 2 * weights[:-1].square().sum()
        total.backward()
        return total

    optimizer.step(cost)
    fitted = weights.detach()

    def predict(others: Floats) -> Floats:
        return cumulative_from_logits(torch.from_numpy(_with_one(others)) @ fitted, tree).numpy().astype(np.float64)

    return predict


def learning_curve(
    pool: Points, judge: Points, tree: DecisionTree, order: str, numbers: Sequence[int], seed: int
) -> list[dict[str, float]]:
    """Scores on `judge` after each of `numbers` labels of `pool`, acquired in that order; one row a number."""
    size = len(pool.known)
    chosen = np.random.default_rng([seed, 0]).permutation(size)[: numbers[0]]
    complete = ~np.isnan(judge.known).any(1)
    rows = []
    predict = None
    for step, number in enumerate(numbers):
        if predict is not None:
            by_view = np.stack([predict(pool.views[:, v]) for v in range(pool.views.shape[1])], 1)
            # Random order is one order, however it is cut into batches; a draw is another one each time.
            stage = _Stage(pool, chosen, by_view, tree, seed if order == "random" else seed * 1000 + step)
            ranked = ORDERS[order](stage, number - len(chosen))
            fresh = ranked[~np.isin(ranked, chosen)][: number - len(chosen)]
            chosen = np.concatenate([chosen, fresh])
        predict = fit_head(pool.mean[chosen], pool.known[chosen], tree)
        predicted = predict(judge.mean)
        rows.append(
            {
                "labels": len(chosen),
                "rmse_complete_rows": metrics.rmse(predicted[complete], judge.known[complete]),
                "rmse_known_columns": metrics.rmse(predicted, judge.known),
                "complete_share": float((~np.isnan(pool.known[chosen]).any(1)).mean()),
            }
        )
    return rows


def _with_one(features: Floats) -> NDArray[np.float32]:
    return np.concatenate([features, np.ones((len(features), 1))], 1).astype(np.float32)
