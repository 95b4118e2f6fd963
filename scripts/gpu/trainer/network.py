"""The network, and what each galaxy costs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

try:
    import timm
except RuntimeError:  # beside a build of torchvision without its operators
    import tuningfork.training._torchvision  # noqa: F401

    import timm  # isort: skip

from .family import Family
from .questions import Questions

#: Of the cross-entropies of classes and folders, beside the squared errors of fractions.
CLASS_WEIGHT, FOLDER_WEIGHT = 0.1, 0.1


class Network(nn.Module):
    """A timm network with one linear head: answers, classes, and folders of unknown thresholds, for training only.

    Names are those of the package's `MorphologyNetwork`. The shares of Hart et al. 2016 are another reduction of the
    same volunteers' clicks: each question's logits times a learned scale, plus a learned number for each answer.
    """

    def __init__(self, family: Family, questions: Questions, classes: int, folders: int):
        super().__init__()
        self.body = timm.create_model(family.network, num_classes=0, drop_path_rate=family.drop_path)
        width = getattr(self.body, "head_hidden_size", None) or self.body.num_features
        self.dropout = nn.Dropout(family.dropout)
        self.hidden = nn.Sequential(nn.Linear(width, family.hidden), nn.ReLU()) if family.hidden else nn.Identity()
        width = family.hidden or width
        self.head = nn.Linear(width, questions.answers + classes)
        self.folders = nn.Linear(width, folders)
        self.hart_scale = nn.Parameter(torch.ones(questions.count))
        self.hart_shift = nn.Parameter(torch.zeros(questions.answers))
        self.apart = nn.Linear(width, questions.answers) if family.apart else None

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of answers and classes, and those that only the training needs: of folders, of answers apart."""
        features = self.hidden(self.dropout(self.body(pictures)))
        beside = self.folders(features)
        return self.head(features), torch.cat([beside, self.apart(features)], 1) if self.apart else beside

    def load_body(self, path: Path) -> None:
        """Packed ImageNet weights: 8-bit tensors have their scale beside them."""
        found = load_file(path)
        own = self.body.state_dict()
        for key, value in own.items():
            if key.endswith("num_batches_tracked"):
                continue
            value.copy_(found[key].float() * found.get(f"{key}.scale", torch.ones(())))


def cost(
    family: Family,
    network: Network,
    logits: Tensor,
    beside: Tensor,
    told: Mapping[str, Tensor],
    tree: Questions,
    schemes: Sequence[slice],
) -> Tensor:
    """What each galaxy costs (B,), by all that is told of it; the branches are numbers, so that a graph holds them."""
    answers, classes = logits.float().split([tree.answers, logits.shape[1] - tree.answers], 1)
    cumulative = tree.fractions(answers, family.output)
    out = (told["weight"] * (cumulative - told["target"]).square()).sum(1)
    if family.apart:
        apart = beside.float()[:, -tree.answers :].sigmoid()
        out = out + family.apart * (told["weight"] * (apart - told["target"]).square()).sum(1)
    if family.votes_only:
        return out
    out = out + (told["least"] - cumulative).clamp(min=0).square().sum(1)
    log = classes.log_softmax(1)
    some = told["candidates"].amax(1)
    possible = log.masked_fill(told["candidates"] == 0, -1e4)
    out = out - CLASS_WEIGHT * some * possible.logsumexp(1)
    soft = told["soft"]
    out = out - CLASS_WEIGHT * (soft * (log - soft.clamp(min=1e-12).log())).sum(1)
    # Fractions by themselves have no logits of shares; their logarithms are such.
    shares = answers if family.output == "tree" else functional.logsigmoid(answers)
    theirs = tree.shares(shares * (tree.spread @ network.hart_scale) + network.hart_shift)
    out = out + (told["hart_weight"] * (theirs - told["hart"]).square()).sum(1)
    for here in schemes:
        log = beside.float()[:, here].log_softmax(1)
        out = out - FOLDER_WEIGHT * (told["folders"][:, here] * log).sum(1)
    return out
