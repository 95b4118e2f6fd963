"""A timm network with one linear head: the tree's answers, then the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from ..schema import Tree

__all__ = ["MorphologyNetwork", "cumulative_from_logits"]


def cumulative_from_logits(logits: Tensor, tree: Tree) -> Tensor:
    """The tree layer for training: (N, A) logits → (N, A) cumulative fractions whose sums are exact.

    The same function as `votes.conditional_from_logits` followed by
    `votes.cumulative_from_conditional`, differentiable.
    """
    parts: list[Tensor] = []
    for part, parent in zip(tree.slices, tree.parents, strict=True):
        conditional = logits[:, part].softmax(-1)
        if parent is None:
            parts.append(conditional)
        else:
            reach = torch.cat(parts, -1)[:, parent : parent + 1]
            parts.append(conditional * reach)
    return torch.cat(parts, -1)


class MorphologyNetwork(nn.Module):
    """Pictures (N, 3, S, S) float32 → logits (N, A + C): A answers of the tree, C classes.

    Parameters
    ----------
    name : str
        Any image network of timm with a pooled output.
    options : mapping
        Passed on to `timm.create_model`.
    """

    def __init__(
        self,
        name: str,
        tree: Tree,
        *,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
            raise ValueError(f"timm has no network {name!r}" + (f"; it has {', '.join(near)} …" if near else ""))
        options = dict(options or {})
        try:
            self.body = timm.create_model(name, num_classes=0, drop_path_rate=drop_path, **options)
        except TypeError:  # some networks have no stochastic depth
            self.body = timm.create_model(name, num_classes=0, **options)
        self.dropout = nn.Dropout(dropout)
        # `num_features` misses the layer that some networks have between pooling and classifier.
        width = getattr(self.body, "head_hidden_size", self.body.num_features)
        self.head = nn.Linear(width, len(tree.columns) + len(tree.classes))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.dropout(self.body(pictures)))
