"""Columns that a table of predictions has on request: whether its format and the model have them."""

from __future__ import annotations

from pathlib import Path

from .._utils.text import counted
from ..images.structure import check_statmorph
from ..model.draw_columns import MAX_DRAWS
from ..model.model import Model
from ..model.options import InferenceOptions
from ..tables import format_of
from .options import PredictError

__all__ = ["check_optional_columns"]


def check_optional_columns(model: Model, output: Path, inference: InferenceOptions, *, is_kaggle: bool) -> None:
    """Raise if embeddings, draws or structural parameters are requested that cannot be written.

    Raises
    ------
    PredictError
        If the layout or the format of `output` cannot hold them, or the model has no posterior to draw from.
    StructureError
        If statmorph is not installed.
    """
    requested = {
        "embeddings": inference.embeddings,
        "draws": inference.draws,
        "structural parameters": inference.structure,
    }
    if is_kaggle and (names := [name for name, value in requested.items() if value]):
        raise PredictError(f"Kaggle's layout has no columns for {' and '.join(names)}; leave them out, or that layout")
    if inference.embeddings:
        _check_embeddings(output)
    if inference.draws:
        _check_draws(output, model, inference)
    if inference.structure:
        check_statmorph()


def _check_embeddings(output: Path) -> None:
    if output.suffix and not format_of(output).vectors:
        raise PredictError(
            f"{output}: embeddings are vectors, which CSV cannot hold; name it {output.stem}.parquet, or a folder"
        )


def _check_draws(output: Path, model: Model, inference: InferenceOptions) -> None:
    if output.suffix and format_of(output).name != "parquet":
        raise PredictError(f"{output}: draws are written to Parquet only; name it {output.stem}.parquet, or a folder")
    if inference.draws > MAX_DRAWS:
        raise PredictError(f"{inference.draws} draws; {MAX_DRAWS} are the most, and `tuningfork population` needs none")
    if model.calibration_of(inference.n_views).posterior is None:
        raise PredictError(
            f"model {model.bundle.name} has no posterior of {counted(inference.n_views or model.n_views, 'view')} to "
            "draw from: calibrate it (`tuningfork calibrate`), or predict with its own number of views"
        )
