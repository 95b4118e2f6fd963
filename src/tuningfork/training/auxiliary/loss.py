"""Auxiliary loss: what a galaxy of an auxiliary source adds to the training loss, by what its labels mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...votes.tree import DecisionTree
from ..losses import candidate_cost, count_cost, distribution_cost, squared_cost, threshold_cost
from .config import AuxiliaryTarget

__all__ = ["AuxiliaryLoss", "TargetScheme"]


@dataclass(frozen=True)
class TargetScheme:
    """One target of a source, and the labels of its own scheme, if it has one."""

    target: AuxiliaryTarget
    labels: tuple[str, ...] = ()

    @property
    def has_head(self) -> bool:
        """Whether it is learned by a head of its own, beside the model's outputs."""
        return self.target.kind in ("labels", "counts") or self.target.own_head

    def width(self, tree: DecisionTree) -> int:
        """Numbers for each galaxy."""
        answers, classes = len(tree.columns), len(tree.classes)
        return {
            "votes": answers,
            "classes": classes + answers,
            "labels": len(self.labels),
            "counts": answers,
            "teacher": answers + classes,
        }[self.target.kind]


class AuxiliaryLoss(nn.Module):
    """The loss of a batch of auxiliary galaxies: a weighted sum over targets, averaged over the batch.

    Parameters
    ----------
    schemes : sequence of TargetScheme
        Of all sources, in the order of the columns of a galaxy's targets.
    features : int
        Width of the pooled features that heads of their own take.
    class_weight : float
        Of a class's loss beside the votes', as the recipe has it for labelled galaxies.
    """

    def __init__(self, schemes: Sequence[TargetScheme], tree: DecisionTree, features: int, class_weight: float) -> None:
        super().__init__()
        self.schemes, self.tree, self.class_weight = tuple(schemes), tree, class_weight
        self.widths = [scheme.width(tree) for scheme in schemes]
        self.heads = nn.ModuleDict(
            {
                str(number): nn.Linear(features, self.widths[number])
                for number, scheme in enumerate(schemes)
                if scheme.has_head
            }
        )

    def forward(
        self,
        features: Tensor,
        answers: Tensor,
        classes: Tensor,
        targets: Tensor,
        cumulative: Callable[[Tensor], Tensor],
        total: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Pooled features (N, F), logits (N, A) and (N, C), targets (N, sum of widths; NaN: unknown) → loss ().

        `cumulative` turns logits of answers into fractions; `total` sums over all processes.
        """
        loss = features.new_zeros(())
        fractions = cumulative(answers) if answers.shape[-1] else answers
        for number, part in enumerate(targets.split(self.widths, -1)):
            target = self.schemes[number].target
            rows = ~part.isnan().all(-1)
            known = part[rows]
            if str(number) in self.heads:
                own = self.heads[str(number)](features[rows])
                if target.kind == "labels":
                    costs = distribution_cost(own, known)
                elif target.kind == "counts":
                    costs = count_cost(own, known, self.tree)
                else:
                    costs = squared_cost(cumulative(own), known)
            else:
                costs = self._of_outputs(target.kind, fractions[rows], classes[rows], known)
            loss = loss + target.weight * costs.sum()
        summed, galaxies = total(torch.stack([loss, loss.new_tensor(len(targets))]))
        return summed / galaxies

    def _of_outputs(self, kind: str, fractions: Tensor, classes: Tensor, known: Tensor) -> Tensor:
        """Costs (N,) of the model's own outputs; a model without votes or classes learns from the rest."""
        n_answers, n_classes = len(self.tree.columns), len(self.tree.classes)
        costs = known.new_zeros(len(known))
        if kind == "classes":
            candidates, least = known.split([n_classes, n_answers], -1)
            if fractions.shape[-1]:
                costs = costs + threshold_cost(fractions, least)
            return costs + self.class_weight * candidate_cost(classes, candidates) if classes.shape[-1] else costs
        if fractions.shape[-1]:
            costs = costs + squared_cost(fractions, known[:, :n_answers])
        if kind == "teacher" and classes.shape[-1]:
            costs = costs + self.class_weight * distribution_cost(classes, known[:, n_answers:])
        return costs
