"""Callbacks of a training: checkpoints, learning curves, early stopping, weight averaging, interrupts."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO

from .._utils.files import atomic_file
from .join import TrainError
from .lightning_module import warmed_average
from .recipe import Recipe
from .run_files import Curves

__all__ = ["AtomicCheckpoints", "interrupt_between_batches", "training_callbacks"]

logger = logging.getLogger(__name__)
OnEpoch = Callable[[int, dict[str, float]], None]


def training_callbacks(run: Path, recipe: Recipe, on_epoch: OnEpoch | None) -> tuple[list[Callback], ModelCheckpoint]:
    """Callbacks of a training by `recipe`, and the one of them that keeps the best checkpoint.

    They write `run`/best.ckpt, `run`/last.ckpt and `run`/curves.csv and log one line an epoch; `on_epoch` is called
    with the epoch (from 1) and its figures.
    """
    best = ModelCheckpoint(run, "best", monitor=recipe.monitor, enable_version_counter=False)
    last = ModelCheckpoint(run, "last", save_top_k=1, every_n_epochs=1, enable_version_counter=False)
    callbacks: list[Callback] = [
        best,
        last,
        EarlyStopping(recipe.monitor, patience=recipe.patience, check_finite=True),
        _EpochReport(run / "curves.csv", on_epoch),
    ]
    if recipe.ema_decay:
        callbacks.append(WeightAveraging(avg_fn=warmed_average(recipe.ema_decay)))
    return callbacks, best


@contextmanager
def interrupt_between_batches(callbacks: list[Callback]) -> Iterator[None]:
    """Raise KeyboardInterrupt after the batch: raised anywhere, Python may lose it in an object's finaliser.

    A second SIGINT raises at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def note(signum: int, frame: Any) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    class Stop(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            if interrupted:
                raise KeyboardInterrupt

        def on_validation_batch_end(self, *_: Any) -> None:
            self.on_train_batch_end()

    before = signal.signal(signal.SIGINT, note)
    callbacks.append(Stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class AtomicCheckpoints(TorchCheckpointIO):
    """Atomic writes: a kill while a checkpoint is written leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with atomic_file(path) as beside:
            torch.save(checkpoint, beside)


class _EpochReport(Callback):
    """One line an epoch, for people; one row of curves.csv, for programs."""

    def __init__(self, curves: Path, on_epoch: OnEpoch | None) -> None:
        self.path, self.on_epoch = curves, on_epoch
        self.started = time.monotonic()
        self.wait_seconds = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.started, self.wait_seconds = time.monotonic(), _wait_seconds(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        values = {key: float(value) for key, value in trainer.callback_metrics.items()}
        if not math.isfinite(values.get("train_loss", 0)):
            raise TrainError("the loss is no longer a number; lower learning_rate")
        seconds, wait_seconds = time.monotonic() - self.started, _wait_seconds(trainer) - self.wait_seconds
        labelled = trainer.train_dataloader
        galaxies = len((labelled["labelled"] if isinstance(labelled, dict) else labelled).dataset)
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero:
            rate = float(trainer.optimizers[0].param_groups[0]["lr"])
            finite = {key: value for key, value in sorted(values.items()) if math.isfinite(value)}
            Curves(self.path).add(
                epoch, {**finite, "learning_rate": rate, "seconds": seconds, "data_wait": wait_seconds / seconds}
            )
        logger.info(
            f"epoch {epoch}/{trainer.max_epochs}: "
            + ", ".join(f"{key} {value:.4f}" for key, value in sorted(values.items()))
            + f", {galaxies / seconds:.0f} galaxies/s, {wait_seconds / seconds:.1%} of the time waiting for data"
        )
        if self.on_epoch:
            self.on_epoch(epoch, values)


def _wait_seconds(trainer: lightning.Trainer) -> float:
    """Seconds that a training has waited for batches so far, those of the validation too."""
    seconds = 0.0
    for loaders in (trainer.train_dataloader, trainer.val_dataloaders):
        for each in loaders.values() if isinstance(loaders, dict) else [loaders]:
            seconds += getattr(each, "wait_seconds", 0.0)
    return seconds
