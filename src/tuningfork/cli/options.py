"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from . import completion

__all__ = [
    "BatchOption",
    "CacheOption",
    "ColumnOption",
    "EmbeddingsArgument",
    "GalaxiesSeedOption",
    "GroupsOption",
    "ImagesOption",
    "IncludeTrainingOption",
    "JsonOption",
    "LabelsArgument",
    "LabelsOption",
    "ModelArgument",
    "ModelOfImagesOption",
    "ModelOfTableOption",
    "ModelOption",
    "NoCacheOption",
    "OverwriteOption",
    "PartOption",
    "PredictionsArgument",
    "ProcessesOption",
    "ResamplesOption",
    "SomeLabelsArgument",
    "SplitOption",
    "ThreadsOption",
    "TreeOfTableOption",
    "TreeOption",
    "ValuesKind",
    "ValuesKindOption",
    "ViewsOption",
    "WorkersOption",
    "check_views",
]


class ValuesKind(StrEnum):
    """What vote fractions are, of which one can be told."""

    RAW = "raw"
    WEIGHTED = "weighted"
    DEBIASED = "debiased"


_MODEL = "A shipped model's name, or a bundle's folder."
ModelOption = Annotated[str, typer.Option("--model", help=_MODEL, autocompletion=completion.models)]
ModelArgument = Annotated[str, typer.Argument(help=_MODEL, autocompletion=completion.models)]
ModelOfImagesOption = Annotated[
    str, typer.Option("--model", help=f"For images: {_MODEL[0].lower()}{_MODEL[1:]}", autocompletion=completion.models)
]
ViewsOption = Annotated[
    int | None,
    typer.Option("--views", help="Rotated and reflected views to average: 1, 2, 4 or 8 [default: the model's]."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
TreeOption = Annotated[
    str,
    typer.Option(
        "--tree",
        help="Decision tree: gz2, gz_decals, gz_euclid, …, a TOML file, or a model's folder.",
        autocompletion=completion.trees,
    ),
]
ValuesKindOption = Annotated[
    ValuesKind | None,
    typer.Option(help="What the labels' fractions are.  [default: what the table says of itself, else its tree]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for another program.")]
ImagesOption = Annotated[list[Path], typer.Option("--images", help="Folder of images named by ID; may be repeated.")]
LabelsOption = Annotated[Path, typer.Option("--labels", help="Table of votes: CSV, Parquet, FITS, VOTable or ECSV.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of the image cache, shared by all trainings.")]
NoCacheOption = Annotated[bool, typer.Option("--no-cache", help="Read the images each time.")]
WorkersOption = Annotated[int, typer.Option(min=0, help="Processes that read images.")]
ModelOfTableOption = Annotated[
    str | None,
    typer.Option(
        "--model", help="Model that made the predictions, to know its training galaxies [default: as the table says]."
    ),
]
IncludeTrainingOption = Annotated[
    bool,
    typer.Option("--include-training", help="Keep galaxies that the model was trained, validated or calibrated on."),
]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads of the network; 0: all cores.")]
LabelsArgument = Annotated[Path, typer.Argument(help="Table of votes: CSV, Parquet, FITS, VOTable or ECSV.")]
ColumnOption = Annotated[
    str | None,
    typer.Option("--column", help="Column of the labels with the number of a class; -1 or none: of no class."),
]
GroupsOption = Annotated[
    str | None,
    typer.Option(
        "--groups",
        help="Classes that count as one, such as 0,1,2,3,4+5; with --column what its numbers 0, 1, … stand for.",
    ),
]
SplitOption = Annotated[
    Path | None, typer.Option("--split", help="split.csv of a training: use one part of its galaxies, see --part.")
]
PartOption = Annotated[str, typer.Option("--part", help="Part to use with --split: train, validation or test.")]
ResamplesOption = Annotated[int, typer.Option(min=10, max=100_000, help="Bootstrap resamples.")]
PredictionsArgument = Annotated[
    Path, typer.Argument(help="Table written by `tuningfork predict`, or its folder of parts.")
]
SomeLabelsArgument = Annotated[
    Path, typer.Argument(help="Table of votes, or with --column of classes, of some of these galaxies.")
]
BatchOption = Annotated[int, typer.Option(min=1, max=4096, help="Images at a time.")]
ProcessesOption = Annotated[int, typer.Option("--workers", min=0, help="Processes; 0: one for each core.")]
TreeOfTableOption = Annotated[
    str | None, typer.Option("--tree", help="Decision tree of the predictions.  [default: by the columns]")
]
EmbeddingsArgument = Annotated[
    list[str], typer.Argument(help="Parquet that `predict --embeddings` wrote, or folders of it; or images.")
]
GalaxiesSeedOption = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same galaxies.")]


def check_views(views: int | None) -> None:
    """Wrong usage (exit code 2) of a number of views that there is not."""
    if views is None:
        return
    from ..model.views import VIEW_COUNTS

    if views not in VIEW_COUNTS:
        raise typer.BadParameter(f"one of {', '.join(map(str, VIEW_COUNTS))} is expected", param_hint="--views")
