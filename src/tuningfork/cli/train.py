"""`tuningfork train`: labels and images to a model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .command_line import app
from .console import echo, print_json
from .errors import libraries, must_exist, report_rows, trouble
from .files import cache_folder, writing
from .options import (
    CacheOption,
    ImagesOption,
    JsonOption,
    NoCacheOption,
    ThreadsOption,
    ValuesKindOption,
    WorkersOption,
)
from .progress import progress_bar

__all__ = ["train"]


class AugmentOn(StrEnum):
    """Where images are augmented."""

    AUTO = "auto"
    HOST = "host"
    DEVICE = "device"


@app.command()
def train(
    images: ImagesOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run: logs, checkpoints, bundle.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            help="Table of votes, or of an ID and a `label`: CSV, Parquet, FITS, VOTable or ECSV. "
            "Left out: each sub-folder of the images is a class.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A shipped recipe's name, or a TOML file.  [default: efficientnet_b0; from a model, finetune]",
            autocompletion=completion.recipes,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Initial weights: a model's name or folder, the recipe's file of weights, `imagenet`, `scratch`, "
            "or a network in timm's hub format: `hf-hub:OWNER/NAME`, `local-dir:FOLDER`."
        ),
    ] = None,
    sources: Annotated[
        Path | None, typer.Option(help="TOML file of auxiliary sources: more galaxies to train on, with other labels.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Teacher model for the sources' images, instead of the one they name.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Any network of timm, instead of the recipe's.")] = None,
    size: Annotated[int | None, typer.Option(help="Input size in pixels, instead of the recipe's.")] = None,
    crop: Annotated[
        float | None,
        typer.Option(help="Side of the central crop as a fraction of the image's, instead of the recipe's."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs, instead of the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Batch size, instead of the recipe's.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of weights, order and augmentation; the split keeps its own.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Cross-validation: split all but the test part into so many.")
    ] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="The fold that validates, counted from 0.")] = None,
    tree: Annotated[
        str | None, typer.Option(help="Decision tree, instead of the recipe's.", autocompletion=completion.trees)
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="Loss of the votes, instead of the recipe's: squared, rmse, dirichlet.")
    ] = None,
    values_kind: ValuesKindOption = None,
    improve: Annotated[
        list[str] | None,
        typer.Option(
            help="One of our choices on top of the paper's: tree, adamw, cosine, ema, views; may be repeated."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The model's name.")] = "model",
    cache: CacheOption = None,
    no_cache: NoCacheOption = False,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 0,
    devices: Annotated[str, typer.Option(help="Number of devices, or which: 2, or 0,1 (as in Lightning).")] = "auto",
    nodes: Annotated[int, typer.Option(min=1, help="Machines; start the command on each with torchrun.")] = 1,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu, auto (as in Lightning).")] = "auto",
    strategy: Annotated[str, typer.Option(help="ddp, auto (as in Lightning).")] = "auto",
    augment_on: Annotated[
        AugmentOn, typer.Option(help="Where images are augmented; auto: on the device unless it is a CPU.")
    ] = AugmentOn.AUTO,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard too.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted training.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network on images and votes; blank columns are ignored. Needs `pip install '.[train]'`.

    With --init and a model's name, that model is adapted to another tree, or to your own classes, from a few hundred
    labels: a table of ID and label, or a folder for each class. `run/bundle` is a model like any other.

    Examples:

        tuningfork train --images images_training_rev1 --labels training_solutions_rev1.csv -o run

        tuningfork train --images images_training_rev1 --labels training_solutions_rev1.csv -o run --resume

        tuningfork train --images images --labels votes.csv -o run --recipe mobilenetv2 --init weights.tflite

        tuningfork train --init default --images images --labels classes.csv -o run

        tuningfork train --init default --images folder-of-class-folders -o run

        tuningfork train --recipe efficientnet_lite/2 --images images --labels votes.csv -o run

        tuningfork train --images images --labels votes.csv -o run --recipe paper/votes-efficientnet-b0 --improve ema

        tuningfork train --images images --labels counts.csv --tree gz_decals_counts --loss dirichlet -o run

        tuningfork train --images images --labels votes.csv -o run --devices 4 --strategy ddp

        tuningfork predict images_test_rev1 -o votes.csv --model run/bundle
    """
    must_exist([*images, *([labels] if labels else []), *([sources] if sources else [])])
    again = "repeat the command with --resume to continue"
    inputs = [*images, labels, sources, Path(init) if init else None]
    with (
        trouble(again),
        writing(output, inputs, resumable=True, own=("run.json", "split.csv", "labels.csv")),
        progress_bar("reading images") as progress,
    ):
        with libraries("training", "train"):
            from ..training.initial.weights import adapt_recipe, is_model, names_recipe_init
            from ..training.options import Hardware, TrainingOptions
            from ..training.recipe import load_recipe
            from ..training.train import train as fit
        replaced = names_recipe_init(init)
        if init and not replaced and not is_model(init):
            _init_exists(init)
        chosen = (
            adapt_recipe(load_recipe(recipe or ("finetune" if is_model(init) else "efficientnet_b0")), init)
            .changed(
                network=network,
                weights="" if network else None,
                size=size,
                crop=crop,
                epochs=epochs,
                batch=batch,
                seed=seed,
                folds=folds,
                fold=fold,
                loss=loss,
            )
            .changed(tree=tree, min_steps=0 if epochs else None)
            .improved(improve or ())
        )
        report = fit(
            labels,
            images,
            output,
            chosen,
            options=TrainingOptions(
                name=name,
                resume=resume,
                init=None if replaced else init,
                sources=sources,
                teacher=teacher,
                cache=cache_folder(cache, no_cache),
                tensorboard=tensorboard,
                values_kind=values_kind.value if values_kind else "",
            ),
            hardware=Hardware(workers, threads, devices, nodes, accelerator, strategy, augment_on.value),
            progress=progress,
        )
        if not report.main_process:  # one of several processes reports
            return
        if as_json:
            print_json(
                {"bundle": str(report.bundle), "best": report.best, "onnx_deviation": report.deviation,
                 "left_out": len(report.errors), "seconds": report.seconds}
            )  # fmt: skip
        else:
            shown = ", ".join(f"{key} {value:.4f}" for key, value in report.best.items() if key != "epoch")
            echo(f"{report.bundle}: best epoch {report.best_epoch}, {shown}")
        report_rows(report.errors)


def _init_exists(init: str) -> None:
    """Wrong usage (exit code 2) if `--init` is neither a file nor the name of a model."""
    from .._utils.text import nearest
    from ..model.bundle import builtin_models

    if not Path(init).exists():
        names = (*builtin_models(), "imagenet", "scratch")
        raise typer.BadParameter(
            f"{init}: neither {', '.join(names)}, hf-hub:OWNER/NAME, local-dir:FOLDER, nor a file or a bundle's folder"
            f"{nearest(init, names)}",
            param_hint="--init",
        )
