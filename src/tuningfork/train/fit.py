"""One training from top to bottom: labels and pictures in, a run folder with a bundle out."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from .. import __version__
from ..bundle import Bundle, Network, write_bundle
from ..catalog import RowError
from ..files import whole_file, write_text
from ..preprocess import Preprocess
from ..schema import Tree, load_tree
from .allocator import keep_freed_memory
from .data import Galaxies, Targets, loader
from .export import deviation, halved, to_onnx
from .mobilenet import load_mobilenet_v2, unfold_batch_norm
from .module import MorphologyModule
from .network import MorphologyNetwork
from .recipe import Recipe
from .sources import Data, TrainError, read_data, write_split

__all__ = ["TrainReport", "train"]

#: Logged to the bundle: what a prediction or a repeat depends on.
_LIBRARIES = ("numpy", "pillow", "simplejpeg", "torch", "timm", "lightning", "onnx", "onnxscript", "onnxruntime")
#: Enough pictures for the statistics of every channel.
_UNFOLDING_BATCHES = 16


@dataclass(frozen=True)
class TrainReport:
    """What a training gave: its bundle's folder, the best epoch's scores, what was left out."""

    bundle: Path
    epochs: int
    best: dict[str, float]
    deviation: dict[str, float]
    errors: tuple[RowError, ...]
    seconds: float


def train(
    labels: str | Path,
    images: Sequence[str | Path],
    run: str | Path,
    recipe: Recipe,
    *,
    name: str = "model",
    resume: bool = False,
    start: str | Path | None = None,
    workers: int = 1,
    threads: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> TrainReport:
    """Train by `recipe` and write `run`/bundle; interrupted, call it again with `resume`.

    Parameters
    ----------
    labels : path
        A table of the columns of the recipe's tree.
    images : paths
        Folders or files of pictures named by ID.
    run : path
        Folder for run.json, split.csv, the log, checkpoints and bundle.
    start : path
        The file that the recipe's `start` names; see `begin` for the kinds.
    workers : int
        Processes that decode and augment pictures.
    threads : int
        Threads of PyTorch; 0: as many as cores.

    Raises
    ------
    TrainError
        If the data are unusable, the folder holds another training, or the loss is no longer a number.
    """
    started = time.monotonic()
    labels, run = Path(labels), Path(run)
    tree = load_tree(recipe.tree)
    resumed = _check_run(run, recipe, start, resume)
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    lightning.seed_everything(recipe.seed, verbose=False)

    data = read_data(labels, [Path(path) for path in images], tree, recipe)
    about = _claim_run(run, recipe, data, start, resumed is not None)
    counts = data.counts(tree)
    write_split(data, run / "split.csv")
    say(f"galaxies: {counts['galaxies']}; complete rows: {counts['complete_rows']}; left out: {len(data.errors)}")

    preprocess = Preprocess(crop=recipe.crop, size=recipe.size)
    loaders = [
        loader(_galaxies(data, tree, part, preprocess, recipe), batch=recipe.batch, shuffle=part == "train",
               workers=workers, seed=recipe.seed)
        for part in ("train", "validation")
    ]  # fmt: skip
    module = MorphologyModule(recipe, tree)
    best = ModelCheckpoint(run, "best", monitor="val_rmse", enable_version_counter=False)
    last = ModelCheckpoint(run, "last", save_top_k=1, every_n_epochs=1, enable_version_counter=False)
    callbacks: list[Callback] = [
        best,
        last,
        EarlyStopping("val_rmse", patience=recipe.patience, check_finite=True),
        _Report(say),
    ]
    if recipe.average:
        callbacks.append(EMAWeightAveraging(decay=recipe.average))
    with warnings.catch_warnings():
        # Lightning warns of few workers, of missing loggers and of its own deprecations.
        warnings.simplefilter("ignore")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        trainer = lightning.Trainer(
            max_epochs=recipe.epochs,
            callbacks=callbacks,
            logger=CSVLogger(run, name="", version="log"),
            plugins=[_WholeCheckpoints()],
            default_root_dir=run,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            gradient_clip_val=5.0,
        )
        if recipe.start and start is not None and not resumed:
            begin(module.network, start, loaders[0])
            say(f"{recipe.network} begins with the weights of {recipe.start}")
        try:
            trainer.fit(module, *loaders, ckpt_path=resumed, weights_only=True)
        except SystemExit:
            # Lightning turns an interrupt into an exit, and would have the caller believe in success.
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise
    if not best.best_model_path or not Path(best.best_model_path).exists():
        raise TrainError("no epoch gave a finite validation error; lower learning_rate")

    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    epochs = int(state["epoch"]) + 1
    scores = {"val_rmse": float(best.best_model_score), "epoch": epochs}
    bundle, deviations = _export(module, data, tree, preprocess, recipe, counts, scores, name, loaders[1], about)
    say(f"ONNX against PyTorch, largest difference of a fraction: {deviations['float32']:.2g} with 32-bit weights, "
        f"{deviations['float16']:.2g} with 16-bit weights")  # fmt: skip
    folder = write_bundle(bundle, run / "bundle")
    return TrainReport(folder, epochs, scores, deviations, data.errors, time.monotonic() - started)


def _check_run(run: Path, recipe: Recipe, start: str | Path | None, resume: bool) -> Path | None:
    """The checkpoint to go on from, or None to begin; what is wrong is said before the pictures are read."""
    if run.exists() and not run.is_dir():
        raise TrainError(f"{run}: is a file; name a folder")
    checkpoint = run / "last.ckpt"
    if checkpoint.exists():
        if not resume:
            raise TrainError(f"{run} holds a training already; resume it, or name another folder")
        return checkpoint
    if recipe.start and start is None:
        raise TrainError(f"the recipe begins with the weights of {recipe.start}; give that file with --start")
    if start is not None and (Path(start).name != recipe.start or Path(start).suffix != ".tflite"):
        begins = f"begins with {recipe.start}" if recipe.start else "begins from scratch"
        raise TrainError(f"{start}: the recipe {begins}; other weights are another recipe")
    return None


def _claim_run(run: Path, recipe: Recipe, data: Data, start: str | Path | None, resumed: bool) -> dict[str, Any]:
    """Note in run.json all that decides the training; a resumed one must have begun with the same."""
    about: dict[str, Any] = {
        "recipe": json.loads(json.dumps(recipe.to_dict())),
        "labels_sha256": data.labels_sha256,
        "pictures_sha256": data.pictures_sha256,
        "start_sha256": "" if start is None else hashlib.sha256(Path(start).read_bytes()).hexdigest(),
    }
    note = run / "run.json"
    if resumed:
        before = json.loads(note.read_text("utf-8")) if note.exists() else {}
        if start is None:
            about["start_sha256"] = before.get("start_sha256", "")
        for key, value in about.items():
            if before.get(key) != value:
                what = {"recipe": "another recipe", "start_sha256": "other weights"}.get(key, f"other {key[:-7]}")
                raise TrainError(f"{run} was begun with {what}; name another folder")
    else:
        run.mkdir(parents=True, exist_ok=True)
        write_text(note, json.dumps(about, indent=1) + "\n")
    return about


def begin(network: MorphologyNetwork, start: str | Path, pictures: DataLoader) -> None:
    """Put the weights of `start` into a new network; its head stays random.

    A .tflite file is read as MobileNetV2 with folded batch norms, which are unfolded on some of the
    training's pictures. Raises TrainError if it is none.
    """
    try:
        load_mobilenet_v2(network.body, start)
        unfold_batch_norm(network.body, (batch[0] for batch in islice(pictures, _UNFOLDING_BATCHES)))
    except (OSError, ValueError) as error:
        raise TrainError(f"{start}: {error}") from None


def _galaxies(data: Data, tree: Tree, part: str, preprocess: Preprocess, recipe: Recipe) -> Galaxies:
    rows = data.rows(part)
    return Galaxies(
        [data.paths[row] for row in rows],
        Targets.of(data.cumulative[rows], tree),
        preprocess,
        recipe.augmentation if part == "train" else None,
        recipe.seed,
    )


def _export(
    module: MorphologyModule,
    data: Data,
    tree: Tree,
    preprocess: Preprocess,
    recipe: Recipe,
    counts: dict[str, Any],
    scores: dict[str, float],
    name: str,
    validation: DataLoader,
    about: dict[str, Any],
) -> tuple[Bundle, dict[str, float]]:
    single = to_onnx(module.network, recipe.size)
    half = halved(single)
    pictures = next(iter(validation))[0].numpy()
    deviations = {
        "float32": deviation(module.network, tree, single, pictures),
        "float16": deviation(module.network, tree, half, pictures),
    }
    bundle = Bundle(
        name=name,
        title=f"{recipe.network} at {recipe.size} px, {tree.title}",
        description=f"Vote fractions of {tree.title} and its clean-sample classes from the central "
        f"{recipe.crop:g} of a picture.",
        licence="BSD-3-Clause",
        tree=tree,
        networks=(Network(half, preprocess, recipe.network),),
        views=recipe.views,
        training={
            **{key: value for key, value in about.items() if key.endswith("_sha256")},
            "counts": counts,
            "recipe": recipe.to_dict(),
        },
        figures={
            "validation": {recipe.network: scores},
            "deviation": {
                f"largest difference of a fraction from PyTorch, {bits}-bit weights": deviations[f"float{bits}"]
                for bits in (32, 16)
            },
        },
        versions={
            "tuningfork": __version__,
            "python": platform.python_version(),
            **{library: metadata.version(library) for library in _LIBRARIES},
        },
    )
    return bundle, deviations


class _WholeCheckpoints(TorchCheckpointIO):
    """A kill while a checkpoint is written leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with whole_file(path) as beside:
            torch.save(checkpoint, beside)


class _Report(Callback):
    """One line an epoch."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.started = time.monotonic()

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        values = {key: float(value) for key, value in trainer.callback_metrics.items()}
        if not math.isfinite(values.get("train_loss", 0)):
            raise TrainError("the loss is no longer a number; lower learning_rate")
        seconds = time.monotonic() - self.started
        galaxies = len(trainer.train_dataloader.dataset)
        self.say(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: "
            + ", ".join(f"{key} {value:.4f}" for key, value in sorted(values.items()))
            + f", {galaxies / seconds:.0f} galaxies/s"
        )
