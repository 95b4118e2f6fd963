"""One training from top to bottom: labels and pictures in, a run folder with a bundle out."""

from __future__ import annotations

import json
import logging
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from .. import __version__
from .._utils.files import write_text
from .._utils.processes import available_cores
from ..images.preprocess import Preprocess
from ..model.bundle import Bundle, Network, Outputs, write_bundle
from ..model.model import Model
from ..tables import RowError, read_table
from ..votes.class_labels import OWN, tree_of_labels, write_folder_labels
from ..votes.tree import DecisionTree
from .auxiliary.config import load_sources
from .auxiliary.dataset import read_auxiliary
from .callbacks import WholeCheckpoints, callbacks_of, interrupt_between_batches
from .dataset import GalaxyDataset, Targets, loader
from .export_onnx import deviation, halved, to_onnx
from .initial.weights import begin
from .join import TrainError, TrainingSet, read_training_set, write_split
from .lightning_module import MorphologyModule
from .malloc import keep_freed_memory
from .recipe import Recipe
from .run_files import Curves, peak_memory_mb, write_predictions, write_result, write_truth
from .run_identity import about_run, check_run, claim_run

__all__ = ["TrainReport", "train"]

#: Logged to the bundle: what a prediction or a repeat depends on.
_LIBRARIES = ("numpy", "pillow", "simplejpeg", "torch", "timm", "lightning", "onnx", "onnxscript", "onnxruntime")
_TELLS = {
    "both": "Vote fractions of {} and its clean-sample classes",
    "votes": "Vote fractions of {}",
    "classes": "Clean-sample classes of {}",
}


@dataclass(frozen=True)
class TrainReport:
    """What a training gave: its bundle's folder, the best epoch and its scores, what was left out.

    Of several processes only the `first` writes the bundle and has anything to tell.
    """

    bundle: Path
    best_epoch: int
    best: dict[str, float]
    deviation: dict[str, float]
    errors: tuple[RowError, ...]
    seconds: float
    first: bool = True


def train(
    labels: str | Path | None,
    images: Sequence[str | Path],
    run: str | Path,
    recipe: Recipe,
    *,
    name: str = "model",
    resume: bool = False,
    init: str | Path | None = None,
    sources: str | Path | None = None,
    teacher: str | Path | None = None,
    cache: str | Path | None = None,
    workers: int = 1,
    threads: int = 0,
    devices: str = "auto",
    nodes: int = 1,
    accelerator: str = "auto",
    strategy: str = "auto",
    tensorboard: bool = False,
    watch: Callable[[int, dict[str, float]], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainReport:
    """Train by `recipe` and write `run`/bundle; interrupted, call it again with `resume`.

    Parameters
    ----------
    labels : path or None
        A table of the columns of the recipe's tree, or of a class for each galaxy; None: each sub-folder of
        `images` is a class, and `run`/labels.csv says so.
    images : paths
        Folders or files of pictures named by ID.
    run : path
        Folder for run.json, split.csv, curves.csv, checkpoints, bundle, truth.parquet, predictions.parquet
        and, when all is done, result.json.
    init : path
        A trained model or a file of weights for a recipe that begins with some; see `init.begin`.
    sources : path
        A TOML file of more galaxies to train on, see `auxiliary.config.load_sources`.
    teacher : path
        The model that teaches, instead of those that `sources` names.
    cache : path
        Folder in which pictures are packed once for all trainings; None: they are read each time.
    workers : int
        Processes that prepare pictures.
    threads : int
        Threads of PyTorch; 0: as many as cores.
    devices, nodes, accelerator, strategy
        As Lightning's Trainer takes them. The recipe's batch is that of all processes together.
    tensorboard : bool
        Also log for TensorBoard, into `run`/tensorboard.
    watch : function of (epoch, its figures)
        Called after each epoch; what it raises ends the training.
    progress : function of (pictures done, pictures in all)
        As `sources.read_training_set` takes it, before the first epoch.

    Raises
    ------
    TrainError
        If the data are unusable, the folder holds another training, or the loss is no longer a number.
    CacheError
        If the pictures cannot be packed.
    """
    started = time.monotonic()
    run = Path(run)
    resumed = check_run(run, recipe, init, resume)
    if labels is None:
        labels = run / "labels.csv"
        run.mkdir(parents=True, exist_ok=True)
        write_folder_labels(images, labels)
    labels = Path(labels)
    tree = tree_of_labels(read_table(labels, text=True), recipe.tree, labels, learning=True)
    if tree.name == OWN:
        recipe = recipe.changed(tree=OWN)
    if recipe.task == "classes" and not tree.classes:
        raise TrainError(f"tree {tree.name} has no classes to learn")
    logger = _tensorboard(run) if tensorboard else False
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    lightning.seed_everything(recipe.seed, verbose=False)
    first = rank_zero_only.rank == 0
    if not first:
        say, progress = _silent, None

    packed = Path(cache) if cache else None
    data = read_training_set(labels, [Path(path) for path in images], tree, recipe, packed, progress)
    auxiliary = None
    if sources is not None:
        auxiliary = read_auxiliary(load_sources(sources, tree, teacher), data, tree, recipe, packed, say)
        data = replace(data, errors=(*data.errors, *auxiliary.errors))
    counts = data.counts(tree)
    recipe = recipe.scaled(counts["galaxies"]["train"])
    about = about_run(run, recipe, data, auxiliary, init, resumed is not None)
    if first:
        claim_run(run, about, resumed is not None)
        write_split(data, run / "split.csv")
        write_truth(run / "truth.parquet", data, tree)
    say(f"galaxies: {counts['galaxies']}; complete rows: {counts['complete_rows']}; left out: {len(data.errors)}")
    for line in data.warnings(tree):
        say(f"note: {line}")
    if data.packed:
        say(f"pictures: packed at {data.packed.side} px in {data.packed.folder}, {data.packed.bytes / 1e6:.0f} MB, "
            f"once at {data.packed.rate:.0f} pictures/s")  # fmt: skip

    preprocess = Preprocess(crop=recipe.crop, size=recipe.size)
    told_by = zip(auxiliary.tells, map(len, auxiliary.labels), strict=True) if auxiliary else ()
    module = MorphologyModule(recipe, tree, tuple(told_by))
    callbacks, best = callbacks_of(run, recipe, say, watch)
    with warnings.catch_warnings():
        # Lightning warns of few workers, of missing loggers and of its own deprecations.
        warnings.simplefilter("ignore")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        try:
            trainer = lightning.Trainer(
                max_epochs=recipe.epochs,
                callbacks=callbacks,
                logger=logger,
                plugins=[WholeCheckpoints()],
                default_root_dir=run,
                enable_progress_bar=False,
                enable_model_summary=False,
                log_every_n_steps=10,
                num_sanity_val_steps=0,
                gradient_clip_val=5.0,
                precision=recipe.precision,
                devices=int(devices) if devices.isdecimal() else devices,
                num_nodes=nodes,
                accelerator=accelerator,
                strategy=strategy,
                use_distributed_sampler=False,  # ours gives the batches of one process
            )
        except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
            raise TrainError(f"accelerator {accelerator}, devices {devices}, strategy {strategy}: {error}") from None
        _check_shares(recipe, counts["galaxies"], trainer.world_size)
        loaders = [
            loader(_galaxies(data, tree, part, preprocess, recipe), batch=recipe.batch, shuffle=part == "train",
                   workers=workers, seed=recipe.seed, rank=rank_zero_only.rank, world=trainer.world_size)
            for part in ("train", "validation")
        ]  # fmt: skip
        if not resumed:
            about["initial_weights"] = begin(module.network, recipe, init, loaders[0], say, tree)
            if first:
                write_text(run / "run.json", json.dumps(about, indent=1) + "\n")
        views: Any = loaders[0]
        if auxiliary:
            others = max(round(recipe.auxiliary_ratio * recipe.batch / trainer.world_size), 1) * trainer.world_size
            views = {"labelled": loaders[0], "auxiliary": loader(
                auxiliary.dataset(), batch=others, shuffle=True, workers=workers, seed=recipe.seed + 1,
                steps=len(loaders[0]), rank=rank_zero_only.rank, world=trainer.world_size)}  # fmt: skip
        try:
            with interrupt_between_batches(trainer.callbacks):
                trainer.fit(module, views, loaders[1], ckpt_path=resumed, weights_only=True)
        except SystemExit:
            # Lightning turns an interrupt into an exit, and would have the caller believe in success.
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise
    device = str(trainer.strategy.root_device)
    if not best.best_model_path or not Path(best.best_model_path).exists():
        raise TrainError("no epoch gave a finite validation error; lower learning_rate")

    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    best_epoch = int(state["epoch"]) + 1
    curves = Curves(run / "curves.csv")
    scores = next(
        ({k: v for k, v in row.items() if k.startswith("val_")} for row in curves.rows if row["epoch"] == best_epoch),
        {recipe.monitor: float(best.best_model_score)},
    )
    scores["epoch"] = best_epoch
    report = TrainReport(run / "bundle", best_epoch, scores, {}, data.errors, time.monotonic() - started, first)
    if not first:
        return replace(report, errors=())
    bundle, deviations = _export(module, data, tree, preprocess, recipe, counts, scores, name, loaders[1], about)
    say(f"ONNX against PyTorch, largest difference of a fraction: {deviations['float32']:.2g} with 32-bit weights, "
        f"{deviations['float16']:.2g} with 16-bit weights")  # fmt: skip
    write_bundle(bundle, run / "bundle")
    write_predictions(run / "predictions.parquet", Model(bundle, threads=threads), data)
    write_result(run / "result.json", {
        "name": name,
        "network": recipe.network,
        "task": recipe.task,
        "size": recipe.size,
        "seed": recipe.seed,
        "initial_weights": about["initial_weights"],
        "epochs": len(curves.rows),
        "epochs_planned": recipe.epochs,
        "best_epoch": best_epoch,
        "validation": scores,
        "parameters": sum(p.numel() for p in module.network.parameters()),
        "counts": counts,
        "notes": data.warnings(tree),
        "auxiliary": about.get("auxiliary", []),
        "deviation": deviations,
        "seconds": curves.seconds,
        "galaxies_per_second": len(curves.rows) * counts["galaxies"]["train"] / max(curves.seconds, 1e-9),
        "data_wait": curves.data_wait,
        "peak_memory_mb": peak_memory_mb(),
        "device": device,
        "processes": trainer.world_size,
        "cores": available_cores(),
        "versions": bundle.versions,
    })  # fmt: skip
    return replace(report, deviation=deviations, seconds=time.monotonic() - started)


def _silent(line: str) -> None:
    """What all processes but the first say."""


def _tensorboard(run: Path) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(run, name="", version="tensorboard")
    except ModuleNotFoundError:
        raise TrainError("logging for TensorBoard needs it: pip install tensorboard; or train without") from None


def _check_shares(recipe: Recipe, galaxies: dict[str, int], processes: int) -> None:
    """Each process must have as many steps as the others, and something to judge: they wait for each other."""
    if recipe.batch % processes:
        raise TrainError(f"batch = {recipe.batch} cannot be shared by {processes} processes; change it")
    for part in ("train", "validation"):
        if galaxies[part] < processes:
            raise TrainError(f"the {part} part has fewer galaxies than there are processes; use fewer")


def _galaxies(
    data: TrainingSet, tree: DecisionTree, part: str, preprocess: Preprocess, recipe: Recipe
) -> GalaxyDataset:
    rows = data.rows(part)
    return GalaxyDataset(
        [data.paths[row] for row in rows],
        Targets.of(data.cumulative[rows], tree),
        preprocess,
        recipe.augmentation if part == "train" else None,
        recipe.seed,
        # Only views of the training come from the packed frames; judged is what a prediction would see.
        (data.packed.file, data.packed_rows[rows]) if data.packed and part == "train" else None,
    )


def _export(
    module: MorphologyModule,
    data: TrainingSet,
    tree: DecisionTree,
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
    outputs = Outputs.of(recipe.task, recipe.output)
    deviations = {
        "float32": deviation(module.network, tree, outputs, single, pictures),
        "float16": deviation(module.network, tree, outputs, half, pictures),
    }
    bundle = Bundle(
        name=name,
        title=f"{recipe.network} at {recipe.size} px, {tree.title}",
        description=f"{_TELLS[recipe.task].format(tree.title)} from the central {recipe.crop:g} of a picture.",
        licence=about.get("credit", {}).get("licence", "BSD-3-Clause"),
        attribution=tuple(about.get("credit", {}).get("attribution", ())),
        tree=tree,
        networks=(Network(half, preprocess, recipe.network),),
        outputs=outputs,
        n_views=recipe.views,
        training={
            **{key: value for key, value in about.items() if key.endswith("_sha256")},
            "counts": counts,
            "recipe": recipe.to_dict(),
            **({"auxiliary": about["auxiliary"]} if "auxiliary" in about else {}),
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
