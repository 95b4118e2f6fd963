"""Data leakage: galaxies that a model was trained, validated or calibrated on are left out of its evaluation."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from ..model.bundle import BundleError, builtin_models, open_bundle
from ..model.training_ids import SUBSETS, TrainingIDs
from ..tables import CatalogError

__all__ = ["all_in_training", "leave_out_training", "training_ids_of", "training_to_exclude"]

logger = logging.getLogger(__name__)


def training_ids_of(about: Mapping[str, str], model: str | None = None) -> TrainingIDs | None:
    """Return the training IDs of the model that wrote a table of predictions; None if they are not known.

    Parameters
    ----------
    about : mapping
        What the table says of itself: `model` and `model_sha256`.
    model : str, optional
        Name or folder of the model; None: a shipped model that the table names.

    Raises
    ------
    BundleError
        If `model` cannot be opened.
    """
    name = model or about.get("model", "")
    bundle = None
    if model is not None or name in builtin_models():
        try:
            bundle = open_bundle(name)
        except BundleError:
            if model is not None:
                raise
    if bundle is None or (model is None and about.get("model_sha256", bundle.sha256) != bundle.sha256):
        logger.warning(
            "which galaxies the model was trained on is not known, so none is left out; name the model with --model"
        )
        return None
    if bundle.training_ids is None:
        logger.warning("model %s does not say which galaxies it was trained on, so none is left out", bundle.name)
    return bundle.training_ids


def training_to_exclude(
    ids: Sequence[str], about: Mapping[str, str], model: str | None, *, include: bool
) -> TrainingIDs | None:
    """Return what an evaluation of a table of predictions leaves out; with `include` nothing, after a warning."""
    training_ids = training_ids_of(about, model)
    if include:
        leave_out_training(ids, training_ids, include=True)
        return None
    return training_ids


def leave_out_training(
    ids: Sequence[str], training_ids: TrainingIDs | None, *, include: bool = False, among: Sequence[str] = SUBSETS
) -> tuple[list[int], dict[str, int]]:
    """Return the rows of galaxies that are new to the model, and how many are not, by subset; warn of these.

    Parameters
    ----------
    ids : (N,) texts
    training_ids : TrainingIDs or None
        None: not known; all rows stay.
    include : bool
        Whether galaxies that the model was trained on stay, too.
    among : subset names
        Which uses count.
    """
    if training_ids is None:
        return list(range(len(ids))), {}
    subsets = training_ids.subsets(ids, among)
    counts = {subset: count for subset, count in Counter(subsets).items() if subset}
    if counts:
        parts = ", ".join(f"{count} for {subset}" for subset, count in sorted(counts.items()))
        logger.warning(
            "%d of %d galaxies were in the training of the model (%s); %s",
            sum(counts.values()),
            len(ids),
            parts,
            "they are included, so the scores are better than those of new galaxies"
            if include
            else "they are left out; --include-training keeps them",
        )
    return [row for row, subset in enumerate(subsets) if include or not subset], counts


def all_in_training(source: object, count: int) -> CatalogError:
    """The error of an evaluation from which `leave_out_training` has left no galaxy; `source` is the table's name."""
    return CatalogError(
        f"{source}: all {count} galaxies were in the training of the model, whose scores say nothing of new ones; "
        "--include-training scores them (in Python: exclude=None)"
    )
