"""The decision tree as matrices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class Questions:
    """The tree as matrices: softmax in each question, products down the tree, without a loop over questions."""

    def __init__(self, pack: Mapping[str, np.ndarray], device: torch.device) -> None:
        question, parent = pack["question"], pack["parent"]
        self.answers, self.count = len(question), len(parent)
        width = int(np.bincount(question).max())
        self.width = width
        place = np.zeros((self.answers, self.count * width), np.float32)
        empty = np.full(self.count * width, -1e4, np.float32)
        for q in range(self.count):
            for i, column in enumerate(np.flatnonzero(question == q)):
                place[column, q * width + i] = 1
                empty[q * width + i] = 0
        chains = []
        for column in range(self.answers):
            chain, above = [], parent[question[column]]
            while above >= 0:
                chain.append(int(above))
                above = parent[question[above]]
            chains.append(chain)
        depth = max(map(len, chains))
        choose = np.zeros((depth, self.answers, self.answers), np.float32)
        alone = np.ones((depth, self.answers), np.float32)
        for column, chain in enumerate(chains):
            for level, above in enumerate(chain):
                choose[level, above, column] = 1
                alone[level, column] = 0
        self.place, self.empty = torch.from_numpy(place).to(device), torch.from_numpy(empty).to(device)
        self.choose, self.alone = torch.from_numpy(choose).to(device), torch.from_numpy(alone).to(device)
        spread = (question[:, None] == np.arange(self.count)).astype(np.float32)
        self.spread = torch.from_numpy(spread).to(device)

    def shares(self, logits: Tensor) -> Tensor:
        """Logits (B, A) → shares of each question's answers (B, A)."""
        boxes = (logits @ self.place + self.empty).reshape(-1, self.count, self.width)
        return boxes.softmax(-1).flatten(1) @ self.place.T

    def cumulative(self, shares: Tensor) -> Tensor:
        """Shares (B, A) → cumulative fractions (B, A), whose sums are those of the tree."""
        out = shares
        for choose, alone in zip(self.choose, self.alone, strict=True):
            out = out * (shares @ choose + alone)
        return out

    def fractions(self, logits: Tensor, output: str) -> Tensor:
        """Logits (B, A) → cumulative fractions, of the tree or, as the paper has it, each by itself."""
        return self.cumulative(self.shares(logits)) if output == "tree" else logits.sigmoid()
