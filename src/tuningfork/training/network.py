"""A timm network with one linear head: the tree's answers, then the classes."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import timm
import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn

from ..votes.tree import DecisionTree
from . import architectures as architectures  # registers the networks that timm lacks

__all__ = ["MorphologyNetwork", "cumulative_from_logits", "synchronize_batch_norms"]


def cumulative_from_logits(logits: Tensor, tree: DecisionTree) -> Tensor:
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
    """Images (N, 3, S, S) float32 → logits (N, A + C): A answers of the tree, C classes.

    Parameters
    ----------
    name : str
        Any image network of timm with a pooled output, or one of `networks`.
    task : "both", "votes" or "classes"
        With one of the last two, only A or only C logits.
    hidden : int
        Units of a ReLU layer between the pooled features and the logits; 0: none.
    options : mapping
        Passed on to `timm.create_model`.

    Raises
    ------
    ValueError
        If timm has no such network, or it cannot be made with these options.
    """

    def __init__(
        self,
        name: str,
        tree: DecisionTree,
        *,
        task: str = "both",
        hidden: int = 0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            near = get_close_matches(name, timm.list_models(), 3) or timm.list_models(f"*{name.split('_')[0]}*")[:5]
            raise ValueError(f"timm has no network {name!r}" + (f"; it has {', '.join(near)} …" if near else ""))
        options = dict(options or {})
        try:
            self.body = timm.create_model(name, num_classes=0, drop_path_rate=drop_path, **options)
        except TypeError:  # some networks have no stochastic depth
            self.body = timm.create_model(name, num_classes=0, **options)
        # `num_features` misses the layer that some networks have between pooling and classifier.
        width = getattr(self.body, "head_hidden_size", self.body.num_features)
        if isinstance(getattr(self.body, "pre_logits", None), nn.Module):
            # VGG's two layers of 4,096 units, which a network of one object at many sizes is better without.
            self.body.pre_logits = nn.Identity()
            width = self.body.num_features
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Sequential(nn.Linear(width, hidden), nn.ReLU()) if hidden else nn.Identity()
        self.answers = len(tree.columns) if task != "classes" else 0
        classes = len(tree.classes) if task != "votes" else 0
        self.head = nn.Linear(hidden or width, self.answers + classes)

    def features(self, images: Tensor) -> Tensor:
        """What the linear head stands on: (N, 3, S, S) → (N, F)."""
        return self.hidden(self.dropout(self.body(images)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def synchronize_batch_norms(network: nn.Module, processes: int, device: str) -> bool:
    """Let the batch norms of a network see the batch of all processes; return whether they do.

    By timm's conversion, as PyTorch's own would drop the activations that timm's layers hold. Names of weights stay.

    Parameters
    ----------
    network : Module
        Changed in place.
    processes : int
    device : str
        Its kind; PyTorch synchronises on "cuda" alone.
    """
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    if processes < 2 or not norms or device != "cuda":
        return processes < 2 or not norms
    for name, child in list(network.named_children()):
        setattr(network, name, convert_sync_batchnorm(child))
    return True
