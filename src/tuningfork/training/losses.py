"""Loss of a single galaxy for each kind of label; losses of a batch are means of these."""

from __future__ import annotations

import torch
from torch import Tensor

from ..votes.tree import DecisionTree

__all__ = [
    "candidate_cost",
    "count_cost",
    "dirichlet_cost",
    "distribution_cost",
    "squared_cost",
    "threshold_cost",
]

#: Natural logarithms of the least and the largest concentration of an answer that the likelihood can tell apart.
LOG_CONCENTRATION = (-9.0, 9.0)


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


def dirichlet_cost(logits: Tensor, counts: Tensor, tree: DecisionTree) -> Tensor:
    """Dirichlet-multinomial −log-likelihood of a galaxy's votes, summed over questions. Both (N, A) → (N,).

    Each question's votes are drawn with probabilities that are themselves drawn from a Dirichlet distribution with the
    concentrations exp(logits): so the expected fractions are the softmax of the logits, as of every network of ours,
    and the sum of the concentrations says how sure of them it is (Walmsley et al. 2022, MNRAS 509, 3966, section 4.2).
    Counts may be fractional, as those of weighted votes are. A question without votes costs nothing.
    """
    # The log gammas of large concentrations cancel: 32 bits would leave three digits of the difference.
    device = torch.device("cpu") if logits.device.type == "mps" else logits.device  # which has no 64-bit numbers
    concentration = logits.to(device, torch.float64).clamp(*LOG_CONCENTRATION).exp()
    votes = counts.to(device, torch.float64)
    cost = concentration.new_zeros(len(concentration))
    for part in tree.slices:
        alpha, own = concentration[:, part], votes[:, part]
        total, asked = alpha.sum(-1), own.sum(-1)
        cost = cost - (
            (asked + 1).lgamma()
            + total.lgamma()
            - (asked + total).lgamma()
            + ((own + alpha).lgamma() - (own + 1).lgamma() - alpha.lgamma()).sum(-1)
        )
    return cost.to(logits.device, logits.dtype)
