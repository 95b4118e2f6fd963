"""Which options of `tuningfork predict` go together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import typer

from .command_line import options_given

__all__ = ["Layout", "check_optional_columns", "check_usage", "cutouts_beside", "share_of"]


class Layout(StrEnum):
    """Column layouts of a prediction table."""

    words = "words"
    kaggle = "kaggle"


def check_usage(output: Path | None, source: str | None, as_json: bool, json_array: bool) -> None:
    """Wrong usage (exit code 2) of options that do not go together."""
    if output is None:
        needing = ("resume", "retry_failed", "shard", "layout", "workers", "engine", "address", "overwrite")
        for option in options_given(*needing):
            raise typer.BadParameter("needs an --output", param_hint=option)
    if output is not None and json_array:
        raise typer.BadParameter(
            "is for galaxies on the terminal; with --output, use --json", param_hint="--json-array"
        )
    if as_json and json_array:
        raise typer.BadParameter("not together with --json", param_hint="--json-array")
    if source is None:
        for option in options_given("cutouts", "layer", "mirror", "rate", "cache", "cache_size", "pixels"):
            raise typer.BadParameter("is for positions: give their --source", param_hint=option)


def check_optional_columns(
    output: Path | None, layout: Layout, *, embeddings: bool, draws: int, structure: bool, as_json: bool
) -> None:
    """Wrong usage (exit code 2) of columns on request that cannot be written where the output goes, or measured."""
    for option, is_requested in (("--embeddings", embeddings), ("--draws", draws), ("--structure", structure)):
        if is_requested and layout is Layout.kaggle:
            raise typer.BadParameter("Kaggle's layout has no columns for it", param_hint=option)
        if is_requested and output is None and option == "--draws":
            raise typer.BadParameter("needs an --output", param_hint=option)
        if is_requested and output is None and not as_json:
            raise typer.BadParameter("needs an --output, or --json", param_hint=option)
    suffix = output.suffix.lower() if output else ""
    if embeddings and suffix:
        from ..tables import formats

        known = formats().get(suffix)
        if not (known and known.vectors):
            raise typer.BadParameter(
                f"{suffix} cannot hold vectors; write .parquet, .fits, or a folder", param_hint="--embeddings"
            )
    if draws and suffix not in ("", ".parquet", ".pq"):
        raise typer.BadParameter(
            f"{suffix} cannot hold draws; write .parquet, or a folder of parts", param_hint="--draws"
        )
    if structure:
        from ..images.structure import StructureError, check_statmorph

        try:
            check_statmorph()
        except StructureError as error:
            raise typer.BadParameter(str(error), param_hint="--structure") from None


def cutouts_beside(
    output: Path | None, cutouts: Path | None, paths: Sequence[str], shard: tuple[int, int] | None
) -> Path:
    """The folder for the images of positions; wrong usage (exit code 2) if there can be none."""
    if len(paths) != 1:
        raise typer.BadParameter("takes one catalogue of positions", param_hint="--source")
    if shard is not None:
        raise typer.BadParameter(
            "shards would fetch the same images; make them with `tuningfork cutouts`, then predict its table",
            param_hint="--shard",
        )
    if cutouts is None and (output is None or str(output) == "-"):
        raise typer.BadParameter("the images need a place: give --output or --cutouts", param_hint="--source")
    return cutouts or output.with_name(f"{output.stem}-cutouts")  # type: ignore[union-attr]


def share_of(text: str | None) -> tuple[int, int] | None:
    """The share I/N of a shard; None: all."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter("I/N with 1 ≤ I ≤ N, for example 3/8", param_hint="--shard")
    return int(match[1]), int(match[2])
