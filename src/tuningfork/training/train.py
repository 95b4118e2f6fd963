"""Training: labels and images in, a run folder with a bundle out. One function, from top to bottom."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from .._utils.environment import available_cores
from .._utils.files import write_text
from ..model.bundle import write_bundle
from ..model.model import Model
from ..model.training_ids import TrainingIDs
from ..tables import RowError
from ..votes.class_labels import OWN, is_class_tree, write_folder_labels
from ..votes.label_table import TOTAL, LabelTable, read_labels
from ..votes.tree import DecisionTree
from ..votes.values_kind import COUNTABLE
from .auxiliary.config import load_sources
from .auxiliary.dataset import read_auxiliary
from .batches import on_host, prepared_on_device, subset_batches
from .callbacks import AtomicCheckpoints, interrupt_between_batches, training_callbacks
from .dataset import loader
from .export_bundle import export_bundle
from .initial.pretrained import with_scaling
from .initial.weights import load_initial_weights
from .join import TrainError, TrainingSet, read_training_set, write_split
from .lightning_module import MorphologyModule
from .malloc import keep_freed_memory
from .network import synchronize_batch_norms
from .options import Hardware, TrainingOptions
from .recipe import Recipe
from .run_files import Curves, peak_memory_mb, write_predictions, write_result, write_truth
from .run_identity import about_run, check_run, claim_run

__all__ = ["TrainReport", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainReport:
    """The bundle's folder of a training, its best epoch and scores, and the rows left out.

    Of several processes only the main one writes the bundle and reports.
    """

    bundle: Path
    best_epoch: int
    best: dict[str, float]
    deviation: dict[str, float]
    errors: tuple[RowError, ...]
    seconds: float
    main_process: bool = True


def train(
    labels: str | Path | None,
    images: Sequence[str | Path],
    run: str | Path,
    recipe: Recipe,
    *,
    options: TrainingOptions | None = None,
    hardware: Hardware | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainReport:
    """Train a network by `recipe` and write `run`/bundle; interrupted, call it again with `resume` in `options`.

    Parameters
    ----------
    labels : path or None
        A table of the columns of the recipe's tree, or of a class for each galaxy; None: each sub-folder of
        `images` is a class, and `run`/labels.csv says so.
    images : paths
        Folders or files of images named by ID.
    run : path
        Folder for run.json, split.csv, curves.csv, checkpoints, bundle, truth.parquet, predictions.parquet
        and, at the end, result.json.
    on_epoch : function of (epoch from 1, its figures), optional
        Called after each epoch; what it raises ends the training.
    progress : function of (images done, images in all), optional
        As `read_training_set` takes it, before the first epoch.

    Returns
    -------
    TrainReport

    Raises
    ------
    TrainError
        If the data are unusable, the folder holds another training, or the loss is no longer a number.
    CacheError
        If the images cannot be cached.

    Examples
    --------
    >>> from tuningfork import load_recipe, train
    >>> train("votes.csv", ["images/"], "run", load_recipe("efficientnet_b0"))  # doctest: +SKIP
    """
    started = time.monotonic()
    options, hardware = options or TrainingOptions(), hardware or Hardware()
    run, cache = Path(run), Path(options.cache) if options.cache else None
    main_process = rank_zero_only.rank == 0
    if not main_process:  # its lines would be those of the main process once more
        logging.getLogger("tuningfork").setLevel(logging.ERROR)
        progress = None

    # What is wrong with the settings is said before any image is read.
    checkpoint = check_run(run, recipe, options)
    recipe = with_scaling(recipe)
    table = _labels(labels, images, run, recipe, options.values_kind)
    tree = table.tree
    recipe = recipe.changed(tree=OWN) if tree.name == OWN else recipe
    if is_class_tree(tree):
        logger.info("labels: %d classes", len(tree.classes))
    else:
        logger.info("labels: %s vote fractions%s", tree.values_kind,
                    f" ({tree.values_kind_source})" if tree.values_kind_source else "")  # fmt: skip
    tensorboard = _tensorboard(run) if options.tensorboard else False
    keep_freed_memory()
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    lightning.seed_everything(recipe.seed, verbose=False)

    # Labels and images, split into train, validation and test.
    data = read_training_set(table, [Path(path) for path in images], recipe, cache, progress)
    auxiliary = None
    if options.sources is not None:
        sources = load_sources(options.sources, tree, options.teacher)
        auxiliary = read_auxiliary(sources, data, tree, recipe, cache)
        data = replace(data, errors=(*data.errors, *auxiliary.errors))
    counts = data.counts(tree)
    recipe = recipe.scaled(counts["galaxies"]["train"])
    about = about_run(run, recipe, data, auxiliary, options.init, resumed=checkpoint is not None)
    if main_process:
        claim_run(run, about, resumed=checkpoint is not None)
        write_split(data, run / "split.csv")
        write_truth(run / "truth.parquet", data, tree)
    _log_data(data, counts, tree)

    # Network, optimiser and batches.
    module = MorphologyModule(recipe, tree, auxiliary.targets if auxiliary else ())
    callbacks, best_checkpoint = training_callbacks(run, recipe, on_epoch)
    with _quiet_lightning():
        trainer = _trainer(recipe, run, hardware, callbacks, tensorboard)
        world, rank = trainer.world_size, rank_zero_only.rank
        _check_process_count(recipe, counts["galaxies"], world)
        device = trainer.strategy.root_device
        image_device = device if prepared_on_device(data, recipe, hardware, device) else None
        batches, validation = (
            subset_batches(data, tree, subset, recipe, hardware, image_device, (rank, world))
            for subset in ("train", "validation")
        )
        if checkpoint is None:
            about["initial_weights"] = load_initial_weights(
                module.network, recipe, options.init, on_host(batches), tree
            )
            if main_process:
                write_text(run / "run.json", json.dumps(about, indent=1) + "\n")
        if not synchronize_batch_norms(module.network, world, trainer.strategy.root_device.type):
            logger.warning(
                "note: on CPUs batch norm takes the mean and variance of each process's own share of the batch, not of "
                "all"
            )
        training_batches: Any = batches
        if auxiliary:
            size = max(round(recipe.auxiliary_ratio * recipe.batch / world), 1) * world
            more = loader(auxiliary.dataset(), batch=size, shuffle=True, seed=recipe.seed + 1, steps=len(batches),
                          workers=hardware.workers, rank=rank, world=world)  # fmt: skip
            training_batches = {"labelled": batches, "auxiliary": more}

        # The training itself.
        try:
            with interrupt_between_batches(trainer.callbacks):
                trainer.fit(module, training_batches, validation, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:
            # Lightning turns an interrupt into an exit, and would have the caller believe in success.
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise

    # The best epoch's weights, their figures and the bundle.
    if not best_checkpoint.best_model_path or not Path(best_checkpoint.best_model_path).exists():
        raise TrainError("no epoch gave a finite validation error; lower learning_rate")
    state = torch.load(best_checkpoint.best_model_path, map_location="cpu", weights_only=True)
    # Anew, since synchronised batch norms belong to the processes.
    module = MorphologyModule(recipe, tree, auxiliary.targets if auxiliary else ())
    module.load_state_dict(state["state_dict"])
    best_epoch = int(state["epoch"]) + 1
    curves = Curves(run / "curves.csv")
    scores = {**curves.validation(best_epoch, recipe.monitor, best_checkpoint.best_model_score), "epoch": best_epoch}
    report = TrainReport(run / "bundle", best_epoch, scores, {}, data.errors, time.monotonic() - started, main_process)
    if not main_process:
        return replace(report, errors=())
    probes = next(on_host(validation))[0].numpy()
    bundle, deviations = export_bundle(module, options.name, probes, counts, scores, about)
    logger.info(
        "ONNX against PyTorch, largest difference of a fraction: %.2g with 32-bit weights, %.2g with 16-bit weights",
        deviations["float32"], deviations["float16"],
    )  # fmt: skip
    # What an evaluation of the model must leave out.
    subset_ids = {subset: [data.ids[row] for row in data.rows(subset)] for subset in ("train", "validation")}
    ids = TrainingIDs.of(subset_ids, salt=data.labels_sha256)
    bundle = replace(bundle, training={**bundle.training, "id_hashes": ids.to_dict()})
    write_bundle(bundle, run / "bundle")
    write_predictions(run / "predictions.parquet", Model(bundle, threads=hardware.threads), data)
    write_result(run / "result.json", {
        "name": options.name,
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
        "device": str(device),
        "augmented_on": str(image_device or "cpu"),
        "processes": trainer.world_size,
        "cores": available_cores(),
        "versions": bundle.versions,
    })  # fmt: skip
    return replace(report, deviation=deviations, seconds=time.monotonic() - started)


def _labels(
    labels: str | Path | None, images: Sequence[str | Path], run: Path, recipe: Recipe, values_kind: str
) -> LabelTable:
    """The label table; where there is none, one of the classes that the images' folders are."""
    if labels is None:
        labels = run / "labels.csv"
        run.mkdir(parents=True, exist_ok=True)
        write_folder_labels(images, labels)
    table = read_labels(labels, recipe.tree, learning=True, values_kind=values_kind)
    tree = table.tree
    if recipe.task == "classes" and not tree.classes:
        raise TrainError(f"tree {tree.name} has no classes to learn")
    if recipe.loss == "dirichlet" and recipe.task != "classes":
        if tree.values_kind not in COUNTABLE:
            raise TrainError(
                f"{labels}: has {tree.values_kind} vote fractions; loss dirichlet is a likelihood of votes that were "
                "counted: give a table of raw or weighted fractions (--values-kind says which), or of counts"
            )
        if table.votes.counts is None:
            raise TrainError(
                f"{labels}: loss dirichlet needs the number of votes; give a table of counts, or add the column "
                f"{tree.total_column or TOTAL!r}, how many volunteers saw the galaxy"
            )
    return table


def _log_data(data: TrainingSet, counts: dict[str, Any], tree: DecisionTree) -> None:
    parts = ", ".join(
        f"{part} {number} ({counts['complete_rows'][part]} complete)" for part, number in counts["galaxies"].items()
    )
    logger.info("galaxies: %s; left out: %d", parts, len(data.errors))
    for line in data.warnings(tree):
        logger.warning("note: %s", line)
    if data.cache:
        logger.info("images: cached at %d px in %s, %.0f MB, once at %.0f images/s",
                    data.cache.side, data.cache.folder, data.cache.bytes / 1e6, data.cache.rate)  # fmt: skip


def _tensorboard(run: Path) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(run, name="", version="tensorboard")
    except ModuleNotFoundError:
        raise TrainError("logging for TensorBoard needs it: pip install tensorboard; or train without") from None


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without Lightning's warnings of few workers, of missing loggers and of its own deprecations."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _trainer(
    recipe: Recipe, run: Path, hardware: Hardware, callbacks: list[Any], tensorboard: TensorBoardLogger | bool
) -> lightning.Trainer:
    try:
        return lightning.Trainer(
            max_epochs=recipe.epochs,
            callbacks=callbacks,
            logger=tensorboard,
            plugins=[AtomicCheckpoints()],
            default_root_dir=run,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            gradient_clip_val=recipe.gradient_clip or None,
            precision=recipe.precision,
            devices=int(hardware.devices) if hardware.devices.isdecimal() else hardware.devices,
            num_nodes=hardware.nodes,
            accelerator=hardware.accelerator,
            strategy=hardware.strategy,
            use_distributed_sampler=False,  # ours gives the batches of one process
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        names = f"accelerator {hardware.accelerator}, devices {hardware.devices}, strategy {hardware.strategy}"
        raise TrainError(f"{names}: {error}") from None


def _check_process_count(recipe: Recipe, galaxies: dict[str, int], processes: int) -> None:
    """Each process must have as many steps as the others, and something to validate: they wait for each other."""
    if recipe.batch % processes:
        raise TrainError(f"batch = {recipe.batch} cannot be shared by {processes} processes; change it")
    for subset in ("train", "validation"):
        if galaxies[subset] < processes:
            raise TrainError(f"the {subset} part has fewer galaxies than there are processes; use fewer")
