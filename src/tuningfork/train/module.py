"""What one step of training minimises, and how an epoch is judged."""

from __future__ import annotations

import math

import lightning
import torch
from torch import Tensor

from ..schema import Tree
from .network import MorphologyNetwork, cumulative_from_logits
from .recipe import Recipe

__all__ = ["MorphologyModule", "candidate_loss", "vote_loss"]


def vote_loss(predicted: Tensor, known: Tensor) -> Tensor:
    """Squared error summed over a galaxy's known columns, averaged over galaxies. Both (N, A); NaN is unknown."""
    blank = known.isnan()
    error = (predicted - known.masked_fill(blank, 0)).masked_fill(blank, 0)
    return error.square().sum() / len(known)


def candidate_loss(logits: Tensor, candidates: Tensor) -> Tensor:
    """−log of the probability of all classes that a galaxy may have, averaged over those with any.

    With one candidate this is cross-entropy; with several, the marginal likelihood of partial labels
    (Cour, Sapp & Taskar 2011, JMLR 12, 1501). Shapes (N, C).
    """
    rows = candidates.sum(-1) > 0
    if not rows.any():
        return logits.sum() * 0
    log = logits[rows].log_softmax(-1)
    return -torch.logsumexp(log.masked_fill(candidates[rows] == 0, -math.inf), -1).mean()


class MorphologyModule(lightning.LightningModule):
    """A MorphologyNetwork with AdamW, a warm-up and a cosine; logs `val_rmse` and `val_accuracy`.

    `val_rmse` averages each column's squared error over the galaxies where it is known, then over
    columns: an estimate of Kaggle's score on complete rows that also uses the incomplete ones.
    """

    def __init__(self, recipe: Recipe, tree: Tree) -> None:
        super().__init__()
        self.recipe, self.tree = recipe, tree
        self.network = MorphologyNetwork(
            recipe.network,
            tree,
            dropout=recipe.dropout,
            drop_path=recipe.drop_path,
            options=recipe.network_options,
        ).to(memory_format=torch.channels_last)
        self._squares: list[Tensor] = []
        self._hits: list[Tensor] = []

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(pictures.contiguous(memory_format=torch.channels_last))

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        # Dropout by step, not by what was drawn before: a resumed training repeats the uninterrupted one.
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step)
        pictures, known, candidates = batch
        answers, classes = self._outputs(pictures)
        loss = vote_loss(cumulative_from_logits(answers, self.tree), known)
        if self.tree.classes and self.recipe.class_weight:
            loss = loss + self.recipe.class_weight * candidate_loss(classes, candidates)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(pictures))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        pictures, known, candidates = batch
        answers, classes = self._outputs(pictures)
        self._squares.append((cumulative_from_logits(answers, self.tree) - known).square())
        if self.tree.classes:
            decided = candidates.sum(-1) == 1
            self._hits.append((classes.argmax(-1) == candidates.argmax(-1))[decided].float())

    def on_validation_epoch_end(self) -> None:
        squares = torch.cat(self._squares)
        self._squares.clear()
        self.log("val_rmse", squares.nanmean(0).nanmean().sqrt(), prog_bar=True)
        if self._hits:
            self.log("val_accuracy", torch.cat(self._hits).mean(), prog_bar=True)
            self._hits.clear()

    def configure_optimizers(self) -> dict[str, object]:
        recipe = self.recipe
        # Biases and normalisation gains are not shrunk: it only fights what they normalise.
        shrunk = [p for p in self.network.parameters() if p.ndim > 1]
        free = [p for p in self.network.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [{"params": shrunk, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
        )
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        warm = max(1, recipe.warmup_epochs * steps // recipe.epochs)

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _outputs(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        logits = self(pictures)
        return logits[:, : len(self.tree.columns)], logits[:, len(self.tree.columns) :]
