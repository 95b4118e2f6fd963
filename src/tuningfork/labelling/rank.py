"""What to label next: predictions of unlabelled galaxies in, a table of the galaxies that would teach most out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from .._utils.sampling import Shortlist
from ..evaluation.prediction_table import predictions_from_table
from ..images.find import find_images
from ..model.embeddings import COLUMN
from ..model.model import Model
from ..model.options import InferenceOptions
from ..pipeline.predict import PredictError, predict_batches
from ..similarity.pca import principal_components
from ..tables import MAX_REPORTED, CatalogError, Column, RowError, arrow_schema, read_table, table_format, ucd
from ..tables.arrow import vectors as embeddings_of
from ..votes.tree import DecisionTree
from . import acquisition as ranking

__all__ = ["SHORTLIST", "Ranked", "blocks_of_pictures", "blocks_of_table", "labelled_ids", "order_schema", "rank"]

#: Galaxies that are compared with one another; of more, a sample weighted by uncertainty.
SHORTLIST = 50_000
_BLOCK = 65_536
#: Rows of a table with embeddings that are read together: 40 MB of `default`.
_WIDE_BLOCK = 4096
#: Principal components of embeddings that galaxies are compared by, as `study labour` does; and the first rows, to
#: which they are fitted.
_COMPONENTS, _FITTED = 64, 4096


@dataclass(frozen=True)
class Ranked:
    """An order of labelling and what became of all rows.

    Parameters
    ----------
    table : Arrow table
        Columns of `order_schema`, the first galaxy to label in the first row.
    rows, labelled, out_of_domain, failed : int
        Rows in all, those left out since they have labels, since the model does not know their kind of
        picture, and since they have no prediction.
    compared : int
        Galaxies that the order was drawn from.
    domain_known : bool
        Whether the predictions say which pictures are out of domain.
    by_features : bool
        Whether galaxies were compared by what the network sees, not by the votes that it predicts.
    errors : tuple of RowError
        The first of the rows that failed, by name.
    """

    table: pa.Table
    rows: int
    labelled: int
    out_of_domain: int
    failed: int
    compared: int
    domain_known: bool
    by_features: bool
    errors: tuple[RowError, ...]

    def to_dict(self) -> dict[str, Any]:
        """The counts, as plain types; `out_of_domain` is None where the predictions do not say it."""
        return {
            "rows": self.rows,
            "labelled": self.labelled,
            "out_of_domain": self.out_of_domain if self.domain_known else None,
            "failed": self.failed,
            "compared": self.compared,
            "by": "features" if self.by_features else "votes",
        }


def order_schema(by_features: bool = False) -> pa.Schema:
    """Columns of the table that `rank` gives."""
    what = "Of what the network sees" if by_features else "Of the roots of the predicted cumulative fractions"
    distance = f"{what}, to the nearest galaxy that is labelled or stands before this one; blank if there is none"
    entropy = "Entropy of one volunteer's answers as predicted, in nats"
    return arrow_schema(
        [
            Column("rank", pa.int32(), "Place in the order of labelling, from 1", ucd=ucd.RANK),
            Column("id", pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER),
            Column("path", pa.string(), "Picture file, empty where the predictions name none", ucd=ucd.FILE),
            Column("score", pa.float64(), "Uncertainty times squared distance: what the choice went by", "", ucd.VALUE),
            Column("uncertainty", pa.float64(), entropy, "", ucd.VALUE),
            Column("distance", pa.float64(), distance, "", ucd.VALUE),
            Column("reason", pa.string(), "The question that is most open, and its predicted answers", ucd=ucd.NOTE),
        ]
    )


def blocks_of_table(path: str | os.PathLike[str]) -> Iterator[pa.Table]:
    """A prediction table in blocks of rows; of a Parquet file, no more than one is in memory. Raises CatalogError."""
    if table_format(path) != "parquet":
        yield read_table(path, text=True)
        return
    try:
        with pa.parquet.ParquetFile(os.fspath(path)) as file:
            for batch in file.iter_batches(_WIDE_BLOCK if COLUMN in file.schema_arrow.names else _BLOCK):
                yield pa.table(batch)
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file; check its name") from None
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: cannot be read as parquet: {error}; is the file whole?") from None


def blocks_of_pictures(
    model: Model,
    paths: Sequence[str | os.PathLike[str]],
    *,
    views: int | None = None,
    batch: int = 32,
    embeddings: bool = False,
) -> Iterator[pa.Table]:
    """Predictions of all pictures under `paths`, as blocks of their table. Raises PredictError if there are none."""
    pictures: list[Path] = list(find_images(paths))
    if not pictures:
        raise PredictError(f"no picture in {', '.join(map(str, paths))}; is it the right folder?")
    for predictions in predict_batches(model, pictures, InferenceOptions(views, batch, embeddings)):
        yield predictions.to_table()


def labelled_ids(path: str | os.PathLike[str], tree: DecisionTree) -> frozenset[str]:
    """IDs of a table's rows that have a label: any cell that is not blank beside the ID. Raises CatalogError."""
    table = read_table(path, text=True)
    column = next((name for name in ("id", *tree.id_columns) if name in table.column_names), None)
    if column is None:
        raise CatalogError(f"{path}: no ID column; call it id or {tree.id_columns[0]}")
    others = [table[name] for name in table.column_names if name != column]
    labelled = np.array([pc.is_valid(other).to_numpy(zero_copy_only=False) for other in others]).any(0)
    ids = table[column].to_pylist()
    return frozenset(
        str(int(id_)) if isinstance(id_, float) and id_.is_integer() else str(id_).strip()
        for row, id_ in enumerate(ids)
        if id_ is not None and (not others or labelled[row])
    )


def rank(
    blocks: Iterable[pa.Table],
    tree: DecisionTree,
    *,
    source: str = "",
    count: int | None = None,
    labelled: frozenset[str] = frozenset(),
    out_of_domain: bool = False,
    features: bool = True,
    shortlist: int = SHORTLIST,
    seed: int = 0,
) -> Ranked:
    """Order unlabelled galaxies by what a label would teach.

    Drawn by `ranking.weighted_seeding`: weighted by the entropy of the predicted votes, at distances between the
    embeddings if the tables have them, which saves labels (`study labour`), else between the roots of the predicted
    cumulative fractions. A model of classes alone is ordered by its class probabilities. Labelled galaxies that have
    a prediction are the centres that the order begins from.

    Parameters
    ----------
    blocks : tables as `tuningfork predict` writes them, in our columns or in the campaign's
    source : text
        File that errors name; empty: they name the pictures.
    count : int or None
        Galaxies to choose; None: all of the shortlist, if the survey has no more.
    out_of_domain : bool
        Keep those whose column `out_of_domain` is true.
    features : bool
        Whether to use embeddings where there are some; the first block tells.
    shortlist : int
        At most so many galaxies are compared with one another: time and memory do not grow with the survey.

    Raises
    ------
    CatalogError
        If a table cannot be used, or no galaxy is left to label.
    """
    kept = Shortlist(shortlist, seed)
    centres: list[NDArray[np.float32]] = []
    errors: list[RowError] = []
    rows = known = outside = failed = 0
    domain_known = False
    stream = iter(blocks)
    seeing, stream = _seeing(stream, source) if features else (None, stream)
    for table in stream:
        block = _read(table, tree, source)
        vectors = block.roots if seeing is None else seeing.of(table, block.rows, source)
        errors += [replace(error, row=rows + error.row) for error in block.errors[: MAX_REPORTED - len(errors)]]
        rows, failed = rows + table.num_rows, failed + len(block.errors)
        domain_known |= block.domain_known
        has_label = np.array([id_ in labelled for id_ in block.ids], bool)
        known += int(has_label.sum())
        outside += int((block.strange & ~has_label).sum())
        wanted = ~has_label & (out_of_domain | ~block.strange)
        # Of a block where nothing is predicted, not even the vectors' length is known.
        if has_label.any():
            centres.append(vectors[has_label])
        if wanted.any():
            columns = (block.weights, vectors, block.roots, block.weights, block.ids, block.paths)
            kept.add(*(each[wanted] for each in columns))
    if not kept.seen:
        raise CatalogError(
            f"{source or 'the pictures'}: no galaxy is left to label: of {rows} rows, {known} are labelled, "
            f"{outside} out of the model's domain and {failed} without a prediction"
        )
    corrected, (vectors, roots, entropies, ids, paths) = kept.finish()
    begun = np.concatenate(centres) if centres else None
    count = len(vectors) if count is None else count
    order = ranking.weighted_seeding(vectors, corrected, count, centres=begun, seed=seed)
    chosen = (each[order.rows] for each in (roots, entropies, ids, paths))
    return Ranked(
        _order_table(order, *chosen, tree, by_features=seeing is not None),
        rows,
        known,
        outside,
        failed,
        len(vectors),
        domain_known,
        seeing is not None,
        tuple(errors),
    )


class _Features:
    """Embeddings on the principal components of some of them (N, D), scaled to variance 1 on average."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        # Where nothing is predicted yet, any axes will do.
        values = values if len(values) else np.zeros((1, values.shape[1]), np.float32)
        self._mean, axes, variances = principal_components(values, _COMPONENTS)
        self._axes = axes.T / (np.sqrt(variances.mean()) or 1)

    def of(self, table: pa.Table, rows: NDArray[np.int64], source: str) -> NDArray[np.float32]:
        """(n, K) float32 of these rows of a table. Raises CatalogError if one has no embedding."""
        values = _embeddings(table, source)[rows]
        broken = rows[~np.isfinite(values).all(1)]
        if len(broken):
            raise CatalogError(
                f"{source}, row {broken[0] + 1}: it has a prediction and no embedding; use --no-features"
            )
        return (values - self._mean) @ self._axes


def _seeing(blocks: Iterator[pa.Table], source: str) -> tuple[_Features | None, Iterator[pa.Table]]:
    """Features fitted on the first blocks, and all blocks; None if the first one has no embeddings."""
    held: list[pa.Table] = []
    for block in blocks:
        held.append(block)
        if COLUMN not in block.column_names:
            return None, chain(held, blocks)
        if sum(map(len, held)) >= _FITTED:
            break
    if not held:
        return None, blocks
    values = np.concatenate([_embeddings(block, source) for block in held])[:_FITTED]
    return _Features(values[np.isfinite(values).all(1)]), chain(held, blocks)


def _embeddings(table: pa.Table, source: str) -> NDArray[np.float32]:
    column = table[COLUMN]
    if not pa.types.is_fixed_size_list(column.type):
        raise CatalogError(f"{source}: column {COLUMN!r} is {column.type}, no vectors; use --no-features")
    return embeddings_of(column)


@dataclass(frozen=True, eq=False)
class _Block:
    """The n rows of a block that have a prediction, and the errors of the others (rows from 1 in the block).

    `rows` (n,) are their places in the table; `roots` (n, A) float32, of fractions or probabilities, and `weights`
    (n,) are as `ranking` wants them; `strange` (n,) bool: out of domain.
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.object_]
    paths: NDArray[np.object_]
    roots: NDArray[np.float32]
    weights: NDArray[np.float64]
    strange: NDArray[np.bool_]
    domain_known: bool
    errors: tuple[RowError, ...]


def _read(table: pa.Table, tree: DecisionTree, source: str) -> _Block:
    told = predictions_from_table(table, tree, source)
    if told.probability is None or not np.isnan(told.votes.fractions).all():
        roots = ranking.hellinger(told.votes.fractions)
        weights = ranking.question_entropies(told.votes.fractions, tree).sum(-1)
    else:  # a model of classes alone
        roots, weights = ranking.hellinger(told.probability), ranking.entropy(told.probability)
    errors = {error.row: error for error in told.errors}
    for at in np.flatnonzero(np.isnan(weights)):
        row = told.rows[at] + 1
        errors.setdefault(row, RowError(source, row, told.ids[at], "", "its prediction is blank"))
    blank = [None] * table.num_rows
    paths = table["path"].to_pylist() if "path" in table.column_names else blank
    marks = table["out_of_domain"].to_pylist() if "out_of_domain" in table.column_names else blank
    good = [at for at, row in enumerate(told.rows) if row + 1 not in errors]
    rows = [told.rows[at] for at in good]
    return _Block(
        np.array(rows, np.int64),
        np.array([told.ids[at] for at in good], object),
        np.array([paths[row] or "" for row in rows], object),
        roots[good],
        weights[good],
        # A CSV has words; blank is not out of domain.
        np.array([str(marks[row]).strip().lower() in ("true", "1") for row in rows], bool),
        any(mark not in (None, "") for mark in marks),
        tuple(replace(error, file=source or paths[row - 1] or "") for row, error in sorted(errors.items())),
    )


def _order_table(
    order: ranking.Order,
    roots: NDArray[np.float32],
    entropies: NDArray[np.float64],
    ids: NDArray[np.object_],
    paths: NDArray[np.object_],
    tree: DecisionTree,
    *,
    by_features: bool,
) -> pa.Table:
    """The table of `order_schema`; all arrays in the order of labelling."""
    columns = [
        pa.array(np.arange(1, len(ids) + 1, dtype=np.int32)),
        pa.array(ids.tolist(), pa.string()),
        pa.array(paths.tolist(), pa.string()),
        order.scores,
        entropies,
        pa.array(order.distances, mask=np.isinf(order.distances)),
        pa.array(_reasons(roots.astype(float) ** 2, tree), pa.string()),
    ]
    return pa.table(columns, schema=order_schema(by_features))


def _reasons(fractions: NDArray[np.float64], tree: DecisionTree) -> list[str]:
    if len(fractions) and fractions.shape[1] == len(tree.columns):
        each = ranking.question_entropies(fractions, tree).argmax(-1)
        return [
            f"{tree.questions[q].text} {_best([a.text for a in tree.questions[q].answers], row[tree.slices[q]])}"
            for q, row in zip(each, fractions, strict=True)
        ]
    return [f"class: {_best([rule.name for rule in tree.classes], row)}" for row in fractions]


def _best(names: Sequence[str], values: NDArray[np.float64]) -> str:
    first = np.argsort(-values, kind="stable")[:2]
    total = values.sum() or 1.0
    return ", ".join(f"{names[i]} {values[i] / total:.2f}" for i in first)
