"""Baselines: the mean votes of the training subset, and nearest neighbours in pixel space."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..images.find import find_images
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from ..images.read import read_image
from ..tables import RowError
from ..tables.identifiers import file_id
from ..votes.vote_table import VoteTable

__all__ = ["NEIGHBOURS", "baseline_votes", "nearest_neighbour_votes"]

Floats = NDArray[np.float64]
NEIGHBOURS = 25
_PIXELS = Preprocess(crop=0.5, size=32)
#: Of the test galaxies; the distances to 50,000 training galaxies then take 100 MB.
_ROWS_AT_ONCE = 512


def baseline_votes(
    train: VoteTable, test: VoteTable, images: Sequence[str | os.PathLike[str]] = ()
) -> tuple[dict[str, VoteTable], list[RowError]]:
    """Predict `test` without a model: by the mean votes of `train` and, with `images`, by nearest neighbours.

    Returns
    -------
    predictions : mapping of name → VoteTable
        Of the galaxies of `test` that it can predict.
    errors : list of RowError
        Images that are missing or cannot be read.
    """
    known = np.logical_not(np.isnan(train.fractions)).sum(0)
    mean = np.divide(np.nansum(train.fractions, 0), known, out=np.full(len(known), np.nan), where=known > 0)
    predictions = {"mean_of_training_votes": VoteTable(test.tree, test.ids, np.tile(mean, (len(test), 1)))}
    errors: list[RowError] = []
    if images:
        files = {file_id(path.name): path for path in find_images(images)}
        train_rows, train_pixels = _pixels(train.ids, files, errors)
        test_rows, test_pixels = _pixels(test.ids, files, errors)
        if train_rows and test_rows:
            near = nearest_neighbour_votes(train.fractions[train_rows], train_pixels, test_pixels)
            ids = test.select(test_rows).ids
            predictions[f"{NEIGHBOURS}_nearest_neighbours_32x32"] = VoteTable(test.tree, ids, near)
    return predictions, errors


def nearest_neighbour_votes(
    train: Floats, train_pixels: NDArray[np.float32], pixels: NDArray[np.float32], neighbours: int = NEIGHBOURS
) -> Floats:
    """Return the mean votes of each galaxy's nearest neighbours in pixel space.

    Parameters
    ----------
    train : (M, A), NaN unknown
        A column's neighbours are chosen from the galaxies where it is known.
    train_pixels : (M, D) float32
    pixels : (N, D) float32

    Returns
    -------
    (N, A) float64
    """
    columns_of: dict[bytes, list[int]] = {}  # by the rows where they are known: few different patterns
    for column in range(train.shape[1]):
        columns_of.setdefault((~np.isnan(train[:, column])).tobytes(), []).append(column)
    known_rows = [(np.flatnonzero(np.frombuffer(rows, bool)), columns) for rows, columns in columns_of.items()]
    square = (train_pixels**2).sum(1)
    out = np.full((len(pixels), train.shape[1]), np.nan)
    for start in range(0, len(pixels), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        distance = square - 2 * pixels[block] @ train_pixels.T  # squared, but for a constant of the row
        for known, columns in known_rows:
            if len(known):
                count = min(neighbours, len(known))
                nearest = known[np.argpartition(distance[:, known], count - 1, axis=1)[:, :count]]
                out[block, columns] = train[nearest][:, :, columns].mean(1)
    return out


def _pixels(
    ids: Sequence[str], files: Mapping[str, Path], errors: list[RowError]
) -> tuple[list[int], NDArray[np.float32]]:
    """Rows of `ids` whose image can be read, and its pixels (N, 32 · 32 · 3)."""
    rows, pixels = [], []
    for row, id_ in enumerate(ids):
        try:
            if id_ not in files:
                raise ImageError("no image of this ID")
            pixels.append(_PIXELS(read_image(files[id_]).rgb).ravel())
            rows.append(row)
        except ImageError as error:
            errors.append(RowError(str(files.get(id_, "")), 0, id_, "", str(error)))
    return rows, np.array(pixels, np.float32)
