"""What a galaxy of a auxiliary source costs, by what its labels mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ...votes.tree import DecisionTree
from ..losses import candidate_cost, count_cost, distribution_cost, squared_cost, threshold_cost
from .config import AuxiliaryTarget

__all__ = ["AuxiliaryLoss", "width"]


def width(tell: AuxiliaryTarget, tree: DecisionTree, labels: int) -> int:
    """How many numbers say what is told of one galaxy; `labels` is how many a scheme of its own has."""
    answers, classes = len(tree.columns), len(tree.classes)
    return {
        "votes": answers,
        "classes": classes + answers,
        "labels": labels,
        "counts": answers,
        "teacher": answers + classes,
    }[tell.kind]


class AuxiliaryLoss(nn.Module):
    """The cost of a batch of auxiliary galaxies: a weighted sum of what each tell costs, averaged over the batch.

    Parameters
    ----------
    tells : sequence of AuxiliaryTarget
        Of all sources, in the order of the parts of a galaxy's `told`.
    labels : sequence of int
        For each, how many labels its own scheme has.
    features : int
        Width of the pooled features that heads of their own stand on.
    class_weight : float
        Of a class's cost beside the votes', as the recipe has it for labelled galaxies.
    """

    def __init__(
        self,
        tells: Sequence[AuxiliaryTarget],
        labels: Sequence[int],
        tree: DecisionTree,
        features: int,
        class_weight: float,
    ) -> None:
        super().__init__()
        self.tells, self.tree, self.class_weight = tuple(tells), tree, class_weight
        self.widths = [width(tell, tree, count) for tell, count in zip(tells, labels, strict=True)]
        self.heads = nn.ModuleDict(
            {
                str(number): nn.Linear(features, self.widths[number])
                for number, tell in enumerate(tells)
                if tell.kind in ("labels", "counts") or tell.own_head
            }
        )

    def forward(
        self,
        features: Tensor,
        cumulative: Callable[[Tensor], Tensor],
        answers: Tensor,
        classes: Tensor,
        told: Tensor,
        total: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Pooled features (N, F), logits (N, A) and (N, C), what is told (N, sum of widths; NaN: nothing) → cost ().

        `cumulative` turns logits of answers into fractions; `total` sums over all processes.
        """
        cost = features.new_zeros(())
        fractions = cumulative(answers) if answers.shape[-1] else answers
        for number, part in enumerate(told.split(self.widths, -1)):
            tell = self.tells[number]
            rows = ~part.isnan().all(-1)
            known = part[rows]
            if str(number) in self.heads:
                own = self.heads[str(number)](features[rows])
                if tell.kind == "labels":
                    costs = distribution_cost(own, known)
                elif tell.kind == "counts":
                    costs = count_cost(own, known, self.tree)
                else:
                    costs = squared_cost(cumulative(own), known)
            else:
                costs = self._main(tell.kind, fractions[rows], classes[rows], known)
            cost = cost + tell.weight * costs.sum()
        summed, galaxies = total(torch.stack([cost, cost.new_tensor(len(told))]))
        return summed / galaxies

    def _main(self, kind: str, fractions: Tensor, classes: Tensor, known: Tensor) -> Tensor:
        """What concerns the outputs of the model itself; a model without votes or classes learns the rest."""
        answers, several = len(self.tree.columns), len(self.tree.classes)
        costs = known.new_zeros(len(known))
        if kind == "classes":
            candidates, least = known.split([several, answers], -1)
            if fractions.shape[-1]:
                costs = costs + threshold_cost(fractions, least)
            return costs + self.class_weight * candidate_cost(classes, candidates) if classes.shape[-1] else costs
        if fractions.shape[-1]:
            costs = costs + squared_cost(fractions, known[:, :answers])
        if kind == "teacher" and classes.shape[-1]:
            costs = costs + self.class_weight * distribution_cost(classes, known[:, answers:])
        return costs
