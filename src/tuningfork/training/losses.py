"""Loss of a single galaxy for each kind of label; losses of a batch are means of these."""

from __future__ import annotations

import torch
from torch import Tensor

from ..votes.tree import DecisionTree

__all__ = ["candidate_cost", "count_cost", "distribution_cost", "squared_cost", "threshold_cost"]


def squared_cost(predicted: Tensor, known: Tensor) -> Tensor:
    """Squared error summed over a galaxy's known columns. Both (N, A), NaN unknown → (N,)."""
    blank = known.isnan()
    return (predicted - known.masked_fill(blank, 0)).masked_fill(blank, 0).square().sum(-1)


def threshold_cost(predicted: Tensor, least: Tensor) -> Tensor:
    """Squared shortfall of votes (N, A) that must reach `least` (N, A; 0: no threshold) → (N,)."""
    return (least - predicted).clamp(min=0).square().sum(-1)


def candidate_cost(logits: Tensor, candidates: Tensor) -> Tensor:
    """−log of the probability of all classes that a galaxy may have. Both (N, C) → (N,); 0 where none is named.

    With one candidate this is cross-entropy; with several, the marginal likelihood of partial labels
    (Cour, Sapp & Taskar 2011, JMLR 12, 1501).
    """
    some = candidates.sum(-1) > 0
    log = logits.log_softmax(-1).masked_fill((candidates == 0) & some[:, None], -torch.inf)
    return torch.where(some, -torch.logsumexp(log, -1), 0)


def distribution_cost(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy with given probabilities over the same classes, less its least. Both (N, C) → (N,)."""
    return -(shares * (logits.log_softmax(-1) - shares.clamp(min=1e-12).log())).sum(-1)


def count_cost(logits: Tensor, counts: Tensor, tree: DecisionTree) -> Tensor:
    """Multinomial −log-likelihood of a galaxy's votes, a vote of the first question, less its least.

    Each question's counts are a multinomial draw from the softmax of its answers' logits (Walmsley et al.
    2022, MNRAS 509, 3966, without the Dirichlet). Both (N, A) → (N,).
    """
    cost = logits.new_zeros(len(logits))
    for part in tree.slices:
        own = counts[:, part]
        votes = own.sum(-1, keepdim=True)
        cost = cost + votes[:, 0] * distribution_cost(logits[:, part], own / votes.clamp(min=1e-6))
    return cost / counts[:, tree.slices[0]].sum(-1).clamp(min=1)
