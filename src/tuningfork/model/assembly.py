"""Predictions from what the networks say of images, calibrated: a row for each image, readable or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..votes.tree import DecisionTree
from ..votes.vote_table import VoteTable
from .calibration import Calibration
from .class_calibration import class_probabilities
from .ensemble import NetworkOutputs
from .image_reader import LoadedImage
from .predictions import Predictions

__all__ = ["assembled"]


def assembled(
    images: Sequence[LoadedImage],
    outputs: NetworkOutputs,
    finite: NDArray[np.bool_],
    *,
    tree: DecisionTree,
    calibration: Calibration,
    has_votes: bool,
    structure: bool,
) -> Predictions:
    """Return predictions of N images, of which the networks were given the M that could be read.

    Parameters
    ----------
    images : N LoadedImage
    outputs : NetworkOutputs of the M images, in their order
    finite : (M,) bool
        Where it is False, the networks gave something else than finite numbers, which is the row's error.
    tree : DecisionTree
    calibration : Calibration
        Of the views that `outputs` are means of.
    has_votes : bool
        Whether the model predicts vote fractions, which classes are then calibrated from.
    structure : bool
        Whether structural parameters belong to the predictions.
    """
    readable = [i for i, row in enumerate(images) if row.inputs is not None]
    intervals = calibration.intervals
    unknown = np.full_like(outputs.cumulative, np.nan)
    with np.errstate(invalid="ignore"):  # of rows that are not finite
        low, high = intervals.bounds(outputs.cumulative, tree) if intervals else (unknown, unknown)
        probability, no_class = class_probabilities(
            calibration.classes,
            tree,
            votes=outputs.cumulative if has_votes else None,
            probability=outputs.class_probability,
        )
    level = np.full(len(readable), intervals.level if intervals else np.nan)
    errors = [row.error for row in images]
    for at in np.flatnonzero(~finite):
        errors[readable[at]] = "the network gave no finite numbers (NaN or infinity) for this image"
    good = [i for i in readable if not errors[i]]

    def rows(values: NDArray[Any]) -> NDArray[Any]:
        out = np.full((len(images), *values.shape[1:]), np.nan, values.dtype)
        out[good] = values[finite]
        return out

    return Predictions(
        votes=VoteTable(tree, tuple(row.id for row in images), rows(outputs.cumulative)),
        paths=tuple(row.path for row in images),
        class_probability=rows(probability),
        no_class_probability=rows(no_class),
        errors=tuple(errors),
        low=rows(low),
        high=rows(high),
        level=rows(level),
        rotation_spread=rows(outputs.rotation_spread),
        network_spread=rows(outputs.network_spread),
        domain_score=np.array([row.domain_score for row in images]),
        warnings=tuple(row.warning for row in images),
        embeddings=None if outputs.features is None else rows(outputs.features),
        posterior=calibration.posterior,
        structure=tuple(row.structure or {} for row in images) if structure else None,
    )
