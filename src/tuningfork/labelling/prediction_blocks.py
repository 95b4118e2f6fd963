"""Predictions of unlabelled galaxies, block by block: from a table or from images, as uncertainties and vectors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from ..evaluation.prediction_table import predictions_from_table
from ..images.find import find_images
from ..model.embeddings import COLUMN
from ..model.model import Model
from ..model.options import InferenceOptions
from ..pipeline.in_process import predict_batches
from ..pipeline.merge import part_tables
from ..pipeline.options import PredictError
from ..similarity.pca import principal_components
from ..tables import CatalogError, RowError, format_of, read_table
from ..tables.arrow import vectors
from ..tables.columns import is_true
from ..tables.formats import readable
from ..votes.tree import DecisionTree
from .acquisition import entropy, hellinger, question_entropies

__all__ = ["EmbeddingSpace", "PredictedBlock", "fit_embedding_space", "predicted_blocks", "read_block", "table_blocks"]

_BLOCK = 65_536
#: Rows of a table with embeddings that are read together: 40 MB of `default`.
_WIDE_BLOCK = 4096
#: Principal components of embeddings that galaxies are compared by, as in the study of label efficiency; and the
#: number of first rows that they are fitted to.
_COMPONENTS, _FITTED = 64, 4096


def table_blocks(path: str | os.PathLike[str]) -> Iterator[pa.Table]:
    """A prediction table in blocks of rows; of a Parquet file or a folder of parts, no more than one is in memory.

    Raises
    ------
    CatalogError, ManifestError
        If it cannot be read, or the folder is no run, or a part is missing.
    """
    if os.path.isdir(path):
        yield from part_tables(path)
        return
    if format_of(path).name != "parquet":
        yield read_table(path, text=True)
        return
    with readable(path, "parquet"), pa.parquet.ParquetFile(os.fspath(path)) as file:
        for batch in file.iter_batches(_WIDE_BLOCK if COLUMN in file.schema_arrow.names else _BLOCK):
            yield pa.table(batch)


def predicted_blocks(
    model: Model, paths: Sequence[str | os.PathLike[str]], options: InferenceOptions = InferenceOptions()
) -> Iterator[pa.Table]:
    """Predict all images in `paths`, as blocks of the prediction table. Raises PredictError if there is none."""
    images: list[Path] = list(find_images(paths))
    if not images:
        raise PredictError(f"no image in {', '.join(map(str, paths))}; is it the right folder?")
    for predictions in predict_batches(model, images, options):
        yield predictions.to_table()


@dataclass(frozen=True, eq=False)
class PredictedBlock:
    """The n rows of a block that have a prediction, and the errors of the others (rows from 1 in the block).

    Parameters
    ----------
    rows : (n,) int64
        Their positions in the table.
    roots : (n, A) float32
        Square roots of cumulative fractions, or of class probabilities, for Hellinger distances.
    weights : (n,) float64
        Uncertainty: entropy in nats.
    out_of_domain : (n,) bool
    domain_known : bool
        Whether the table contains which images are out of domain.
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.object_]
    paths: NDArray[np.object_]
    roots: NDArray[np.float32]
    weights: NDArray[np.float64]
    out_of_domain: NDArray[np.bool_]
    domain_known: bool
    errors: tuple[RowError, ...]


def read_block(table: pa.Table, tree: DecisionTree, source: str) -> PredictedBlock:
    """Uncertainties and vectors of a block of predictions; `source` names the table in errors."""
    predicted = predictions_from_table(table, tree, source)
    if predicted.probability is None or not np.isnan(predicted.votes.fractions).all():
        roots = hellinger(predicted.votes.fractions)
        weights = question_entropies(predicted.votes.fractions, tree).sum(-1)
    else:  # a model of classes alone
        roots, weights = hellinger(predicted.probability), entropy(predicted.probability)
    errors = {error.row: error for error in predicted.errors}
    for at in np.flatnonzero(np.isnan(weights)).tolist():
        row = predicted.row_number(at)
        errors.setdefault(row, RowError(source, row, predicted.ids[at], "", "its prediction is blank"))
    empty = [None] * table.num_rows
    paths = table["path"].to_pylist() if "path" in table.column_names else empty
    marks = table["out_of_domain"].to_pylist() if "out_of_domain" in table.column_names else empty
    good = [at for at, row in enumerate(predicted.rows) if row + 1 not in errors]
    rows = [predicted.rows[at] for at in good]
    return PredictedBlock(
        np.array(rows, np.int64),
        np.array([predicted.ids[at] for at in good], object),
        np.array([paths[row] or "" for row in rows], object),
        roots[good],
        weights[good],
        np.array([is_true(marks[row]) for row in rows], bool),
        any(mark not in (None, "") for mark in marks),
        tuple(replace(error, file=source or paths[row - 1] or "") for row, error in sorted(errors.items())),
    )


class EmbeddingSpace:
    """Embeddings on the principal components of some of them (N, D), scaled to variance 1 on average."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        # Where nothing is predicted yet, any axes will do.
        values = values if len(values) else np.zeros((1, values.shape[1]), np.float32)
        self._mean, axes, variances = principal_components(values, _COMPONENTS)
        self._axes = axes.T / (np.sqrt(variances.mean()) or 1)

    def project(self, table: pa.Table, rows: NDArray[np.int64], source: str) -> NDArray[np.float32]:
        """(n, K) float32 of these rows of a table. Raises CatalogError if one has no embedding."""
        values = _embeddings(table, source)[rows]
        broken = rows[~np.isfinite(values).all(1)]
        if len(broken):
            raise CatalogError(
                f"{source}, row {broken[0] + 1}: it has a prediction and no embedding; use --no-features"
            )
        return (values - self._mean) @ self._axes


def fit_embedding_space(blocks: Iterator[pa.Table], source: str) -> tuple[EmbeddingSpace | None, Iterator[pa.Table]]:
    """Fit the space to the first blocks; returns it and all blocks. None if the first block has no embeddings."""
    first: list[pa.Table] = []
    for block in blocks:
        first.append(block)
        if COLUMN not in block.column_names:
            return None, chain(first, blocks)
        if sum(map(len, first)) >= _FITTED:
            break
    if not first:
        return None, blocks
    values = np.concatenate([_embeddings(block, source) for block in first])[:_FITTED]
    return EmbeddingSpace(values[np.isfinite(values).all(1)]), chain(first, blocks)


def _embeddings(table: pa.Table, source: str) -> NDArray[np.float32]:
    column = table[COLUMN]
    if not pa.types.is_fixed_size_list(column.type):
        raise CatalogError(f"{source}: column {COLUMN!r} is {column.type}, no vectors; use --no-features")
    return vectors(column)
