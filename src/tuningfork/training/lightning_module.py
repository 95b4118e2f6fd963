"""Lightning module: losses of a training step, validation figures, optimiser and learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional

from ..votes.tree import DecisionTree
from .auxiliary.loss import AuxiliaryLoss, TargetScheme
from .losses import candidate_cost, dirichlet_cost, squared_cost
from .network import MorphologyNetwork, cumulative_from_logits
from .recipe import Recipe

__all__ = [
    "MorphologyModule",
    "candidate_loss",
    "cosine_factor",
    "dirichlet_loss",
    "rmse_loss",
    "vote_loss",
    "warmed_average",
]


def _one_process(sums: Tensor) -> Tensor:
    """The sum over all processes of a training with one."""
    return sums


def vote_loss(predicted: Tensor, known: Tensor, total: Callable[[Tensor], Tensor] = _one_process) -> Tensor:
    """Squared error summed over a galaxy's known columns, averaged over galaxies. Both (N, A); NaN is unknown.

    `total` sums a tensor over all processes, here and in the other losses: each is that of the whole batch.
    """
    costs = squared_cost(predicted, known)
    summed, galaxies = total(torch.stack([costs.sum(), costs.new_tensor(len(known))]))
    return summed / galaxies


def rmse_loss(predicted: Tensor, known: Tensor, total: Callable[[Tensor], Tensor] = _one_process) -> Tensor:
    """Root of the mean squared error over a batch's known cells, as Kalvankar et al. 2020 train. Both (N, A)."""
    cells = ~known.isnan()
    summed, count = total(torch.stack([(predicted - known)[cells].square().sum(), cells.sum().to(predicted.dtype)]))
    # The root of nothing has no slope.
    return (summed / count + 1e-12).sqrt() if count > 0 else summed


def dirichlet_loss(
    logits: Tensor, counts: Tensor, tree: DecisionTree, total: Callable[[Tensor], Tensor] = _one_process
) -> Tensor:
    """`dirichlet_cost` averaged over galaxies. Both (N, A)."""
    costs = dirichlet_cost(logits, counts, tree)
    summed, galaxies = total(torch.stack([costs.sum(), costs.new_tensor(len(counts))]))
    return summed / galaxies


def candidate_loss(logits: Tensor, candidates: Tensor, total: Callable[[Tensor], Tensor] = _one_process) -> Tensor:
    """`candidate_cost` averaged over the galaxies that name any class. Shapes (N, C)."""
    rows = candidates.sum(-1) > 0
    costs = candidate_cost(logits[rows], candidates[rows])
    summed, galaxies = total(torch.stack([costs.sum(), rows.sum().to(logits.dtype)]))
    return summed / galaxies.clamp(min=1)


def warmed_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The update of an exponential moving average whose decay grows to `decay`: step n keeps (1 + n) / (10 + n).

    Without the warm-up, of Tan & Le 2019's own training, a short training's average still holds the random
    first weights, and the variances of batch norm most of all.
    """

    def update(average: Tensor, current: Tensor, averaged: Tensor) -> Tensor:
        if not average.is_floating_point():  # batch norm counts its batches
            return current
        n = int(averaged)
        return torch.lerp(average, current.to(average.dtype), 1 - min(decay, (1 + n) / (10 + n)))

    return update


def cosine_factor(step: int, steps: int, warmup: int) -> float:
    """Learning-rate factor of a linear warm-up to 1, then half a cosine to 0 (Loshchilov & Hutter 2017, eq. 5)."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


class MorphologyModule(lightning.LightningModule):
    """A MorphologyNetwork with the recipe's losses and schedule.

    Logs `train_loss`, `val_loss` (cross-entropy of the class, where there is one), `val_rmse`,
    `val_accuracy`. `val_rmse` averages each column's squared error over the galaxies where it is known,
    then over columns: an estimate of Kaggle's score on complete rows that also uses the incomplete ones.
    Sums are taken over all processes, so that several log the figures of one.

    With `auxiliary`, the targets of auxiliary sources, a batch is ``{"labelled": …, "auxiliary": …}`` and the second's
    loss is added to `train_loss`.
    """

    def __init__(self, recipe: Recipe, tree: DecisionTree, auxiliary: Sequence[TargetScheme] = ()) -> None:
        super().__init__()
        self.recipe, self.tree = recipe, tree
        self.network = MorphologyNetwork(
            recipe.network,
            tree,
            task=recipe.task,
            hidden=recipe.hidden,
            dropout=recipe.dropout,
            drop_path=recipe.drop_path,
            options=recipe.network_options,
        ).to(memory_format=torch.channels_last)
        self.auxiliary = None
        if auxiliary:
            self.auxiliary = AuxiliaryLoss(auxiliary, tree, self.network.head.in_features, recipe.class_weight)
        self._sums: dict[str, Tensor] = {}
        self.network.body.requires_grad_(recipe.body_rate > 0)
        self.train()

    def train(self, mode: bool = True) -> MorphologyModule:
        """Training mode; norms whose statistics are frozen stay as in evaluation."""
        super().train(mode)
        if self.recipe.frozen_norms or not self.recipe.body_rate:
            for module in self.network.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # synchronised ones, too
                    module.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.contiguous(memory_format=torch.channels_last))

    def training_step(self, batch: Any, _: int) -> Tensor:
        # Dropout by step, not by what was drawn before: a resumed training repeats the uninterrupted one.
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.global_step) * 1009 + self.global_rank)
        loss = self.loss(batch, self._all)
        labelled = batch["labelled"] if self.auxiliary else batch
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(labelled[0]))
        return loss

    def loss(self, batch: Any, total: Callable[[Tensor], Tensor] = _one_process) -> Tensor:
        """The training loss: the votes', the classes', or both as the recipe weights them.

        Parameters
        ----------
        batch : (images (N, 3, S, S), known fractions (N, A), candidate classes (N, C))
            And counts of votes (N, A) where the loss is their likelihood. With auxiliary sources a dictionary, see
            the class.
        total : function
            As in `vote_loss`.
        """
        labelled, others = (batch["labelled"], batch["auxiliary"]) if self.auxiliary else (batch, ())
        images, known, candidates, *counts = labelled
        count = len(images)
        # All in one pass, so that batch norm sees one mixture.
        together = torch.cat([images, *others[:1]]).contiguous(memory_format=torch.channels_last)
        features = self.network.features(together)
        every_answer, every_class = self._split(self.network.head(features))
        answers, classes = every_answer[:count], every_class[:count]
        loss = torch.zeros((), device=images.device)
        if answers.shape[-1]:
            if self.recipe.loss == "dirichlet":
                loss = loss + dirichlet_loss(answers, counts[0], self.tree, total)
            else:
                error = vote_loss if self.recipe.loss == "squared" else rmse_loss
                loss = loss + error(self._cumulative(answers), known, total)
        if classes.shape[-1]:
            weight = self.recipe.class_weight if self.recipe.task == "both" else 1.0
            if weight:
                loss = loss + weight * candidate_loss(classes, candidates, total)
        if self.auxiliary:
            loss = loss + self.auxiliary(
                features[count:].float(), every_answer[count:], every_class[count:], others[1], self._cumulative, total
            )
        return loss

    def validation_step(self, batch: tuple[Tensor, ...], _: int) -> None:
        images, known, candidates, *counts = batch
        answers, classes = self._outputs(images)
        if answers.shape[-1]:
            squares = (self._cumulative(answers) - known).square()
            self._add("squares", squares.nansum(0))
            self._add("known", (~known.isnan()).sum(0))
        if counts:
            self._add("likelihood", dirichlet_cost(answers, counts[0], self.tree).sum())
            self._add("counted", counts[0].new_tensor(len(answers)))
        if classes.shape[-1]:
            decided = candidates.sum(-1) == 1
            true = candidates[decided].argmax(-1)
            self._add("hits", (classes[decided].argmax(-1) == true).sum())
            self._add("decided", decided.sum())
            self._add("loss", functional.cross_entropy(classes[decided], true, reduction="sum"))

    def on_validation_epoch_end(self) -> None:
        sums = {name: self._all(values) for name, values in self._sums.items()}
        self._sums = {}
        if "squares" in sums:
            known = sums["known"] > 0
            self.log("val_rmse", (sums["squares"][known] / sums["known"][known]).mean().sqrt().float())
        if "likelihood" in sums:
            self.log("val_dirichlet", (sums["likelihood"] / sums["counted"]).float())
        if sums.get("decided", torch.zeros(())) > 0:
            self.log("val_accuracy", (sums["hits"] / sums["decided"]).float())
            self.log("val_loss", (sums["loss"] / sums["decided"]).float())

    def _cumulative(self, answers: Tensor) -> Tensor:
        return cumulative_from_logits(answers, self.tree) if self.recipe.output == "tree" else answers.sigmoid()

    def _add(self, name: str, values: Tensor) -> None:
        values = values.double()
        self._sums[name] = self._sums[name] + values if name in self._sums else values

    def _all(self, values: Tensor) -> Tensor:
        """The sum over all processes, through which a loss's slope passes."""
        return values if self.trainer.world_size == 1 else self.all_gather(values, sync_grads=True).sum(0)

    def configure_optimizers(self) -> dict[str, object]:
        recipe = self.recipe
        if recipe.optimizer == "adam":
            optimizer: torch.optim.Optimizer = torch.optim.Adam(
                self.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
            )
        else:
            optimizer = self._adamw()
        if recipe.schedule == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer,
                factor=recipe.plateau_factor,
                # As Keras counts, which the paper used: reduced after so many bad epochs, not after one more.
                patience=max(recipe.plateau_patience - 1, 0),
                threshold=1e-4,
                threshold_mode="abs",
                eps=0,
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": recipe.monitor}}
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        warmup = max(1, recipe.warmup_epochs * steps // recipe.epochs)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine_factor(step, steps, warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _adamw(self) -> torch.optim.AdamW:
        recipe = self.recipe

        def groups(parameters: list[Parameter], rate: float) -> list[dict[str, Any]]:
            # Weight decay of biases and normalisation gains only fights what they normalise.
            decayed, free = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
            return [
                {"params": decayed, "weight_decay": recipe.weight_decay, "lr": rate},
                {"params": free, "weight_decay": 0.0, "lr": rate},
            ]

        body = list(self.network.body.parameters()) if recipe.body_rate < 1 else []
        slow = {id(p) for p in body}
        parameters = groups([p for p in self.parameters() if id(p) not in slow], recipe.learning_rate)
        if recipe.body_rate and body:
            parameters += groups(body, recipe.learning_rate * recipe.body_rate)
        return torch.optim.AdamW(parameters, lr=recipe.learning_rate)

    def _outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._split(self(images))

    def _split(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits.float()  # the network may run in 16 bits; losses and figures want 32
        return logits[:, : self.network.answers], logits[:, self.network.answers :]
