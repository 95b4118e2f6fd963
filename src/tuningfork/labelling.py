"""What to label next: predictions of unlabelled galaxies in, a table of the galaxies that would teach most out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from . import ranking
from .catalog import CatalogError, Column, RowError, arrow_schema, read_table, table_format, ucd
from .evaluate import predictions_from_table
from .images import find_pictures
from .model import Model
from .predict import MAX_REPORTED, PredictError, predict_batches
from .schema import Tree

__all__ = ["SHORTLIST", "Ranked", "blocks_of_pictures", "blocks_of_table", "labelled_ids", "order_schema", "rank"]

#: Galaxies that are compared with one another; of more, a sample weighted by uncertainty.
SHORTLIST = 50_000
_BLOCK = 65_536


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
    errors: tuple[RowError, ...]

    def to_dict(self) -> dict[str, Any]:
        """The counts, as plain types; `out_of_domain` is None where the predictions do not say it."""
        return {
            "rows": self.rows,
            "labelled": self.labelled,
            "out_of_domain": self.out_of_domain if self.domain_known else None,
            "failed": self.failed,
            "compared": self.compared,
        }


def order_schema() -> pa.Schema:
    """Columns of the table that `rank` gives."""
    distance = (
        "Of the roots of the predicted cumulative fractions to those of the nearest galaxy that is labelled or stands "
        "before this one; blank if there is none"
    )
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
            for batch in file.iter_batches(_BLOCK):
                yield pa.table(batch)
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file; check its name") from None
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: cannot be read as parquet: {error}; is the file whole?") from None


def blocks_of_pictures(
    model: Model, paths: Sequence[str | os.PathLike[str]], *, views: int | None = None, batch: int = 32
) -> Iterator[pa.Table]:
    """Predictions of all pictures under `paths`, as blocks of their table. Raises PredictError if there are none."""
    pictures: list[Path] = list(find_pictures(paths))
    if not pictures:
        raise PredictError(f"no picture in {', '.join(map(str, paths))}; is it the right folder?")
    for predictions in predict_batches(model, pictures, views=views, batch=batch):
        yield predictions.to_table()


def labelled_ids(path: str | os.PathLike[str], tree: Tree) -> frozenset[str]:
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
    tree: Tree,
    *,
    source: str = "",
    count: int | None = None,
    labelled: frozenset[str] = frozenset(),
    out_of_domain: bool = False,
    shortlist: int = SHORTLIST,
    seed: int = 0,
) -> Ranked:
    """Order unlabelled galaxies by what a label would teach.

    Drawn by `ranking.weighted_seeding`: weighted by the entropy of the predicted votes, at distances between
    the roots of the predicted cumulative fractions. A model of classes alone is ordered by its class
    probabilities. Labelled galaxies that have a prediction are the centres that the order begins from.

    Parameters
    ----------
    blocks : tables as `tuningfork predict` writes them, in our columns or in the campaign's
    source : text
        File that errors name; empty: they name the pictures.
    count : int or None
        Galaxies to choose; None: all of the shortlist, if the survey has no more.
    out_of_domain : bool
        Keep those whose column `out_of_domain` is true.
    shortlist : int
        At most so many galaxies are compared with one another: time and memory do not grow with the survey.

    Raises
    ------
    CatalogError
        If a table cannot be used, or no galaxy is left to label.
    """
    kept = ranking.Shortlist(shortlist, seed)
    centres: list[NDArray[np.float32]] = []
    errors: list[RowError] = []
    rows = known = outside = failed = 0
    domain_known = False
    for table in blocks:
        block = _read(table, tree, source)
        errors += [replace(error, row=rows + error.row) for error in block.errors[: MAX_REPORTED - len(errors)]]
        rows, failed = rows + table.num_rows, failed + len(block.errors)
        domain_known |= block.domain_known
        has_label = np.array([id_ in labelled for id_ in block.ids], bool)
        known += int(has_label.sum())
        outside += int((block.strange & ~has_label).sum())
        wanted = ~has_label & (out_of_domain | ~block.strange)
        # Of a block where nothing is predicted, not even the vectors' length is known.
        if has_label.any():
            centres.append(block.vectors[has_label])
        if wanted.any():
            kept.add(*(each[wanted] for each in (block.weights, block.vectors, block.weights, block.ids, block.paths)))
    if not kept.seen:
        raise CatalogError(
            f"{source or 'the pictures'}: no galaxy is left to label: of {rows} rows, {known} are labelled, "
            f"{outside} out of the model's domain and {failed} without a prediction"
        )
    corrected, (vectors, entropies, ids, paths) = kept.finish()
    begun = np.concatenate(centres) if centres else None
    count = len(vectors) if count is None else count
    order = ranking.weighted_seeding(vectors, corrected, count, centres=begun, seed=seed)
    return Ranked(
        _order_table(order, vectors[order.rows], entropies[order.rows], ids[order.rows], paths[order.rows], tree),
        rows,
        known,
        outside,
        failed,
        len(vectors),
        domain_known,
        tuple(errors),
    )


@dataclass(frozen=True, eq=False)
class _Block:
    """The n rows of a block that have a prediction, and the errors of the others (rows from 1 in the block).

    `vectors` (n, D) float32 and `weights` (n,) as `ranking` wants them; `strange` (n,) bool: out of domain.
    """

    ids: NDArray[np.object_]
    paths: NDArray[np.object_]
    vectors: NDArray[np.float32]
    weights: NDArray[np.float64]
    strange: NDArray[np.bool_]
    domain_known: bool
    errors: tuple[RowError, ...]


def _read(table: pa.Table, tree: Tree, source: str) -> _Block:
    told = predictions_from_table(table, tree, source)
    if told.probability is None or not np.isnan(told.cumulative).all():
        vectors = ranking.hellinger(told.cumulative)
        weights = ranking.question_entropies(told.cumulative, tree).sum(-1)
    else:  # a model of classes alone
        vectors, weights = ranking.hellinger(told.probability), ranking.entropy(told.probability)
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
        np.array([told.ids[at] for at in good], object),
        np.array([paths[row] or "" for row in rows], object),
        vectors[good],
        weights[good],
        # A CSV has words; blank is not out of domain.
        np.array([str(marks[row]).strip().lower() in ("true", "1") for row in rows], bool),
        any(mark not in (None, "") for mark in marks),
        tuple(replace(error, file=source or paths[row - 1] or "") for row, error in sorted(errors.items())),
    )


def _order_table(
    order: ranking.Order,
    vectors: NDArray[np.float32],
    entropies: NDArray[np.float64],
    ids: NDArray[np.object_],
    paths: NDArray[np.object_],
    tree: Tree,
) -> pa.Table:
    """The table of `order_schema`; all arrays in the order of labelling."""
    columns = [
        pa.array(np.arange(1, len(ids) + 1, dtype=np.int32)),
        pa.array(ids.tolist(), pa.string()),
        pa.array(paths.tolist(), pa.string()),
        order.scores,
        entropies,
        pa.array(order.distances, mask=np.isinf(order.distances)),
        pa.array(_reasons(vectors.astype(float) ** 2, tree), pa.string()),
    ]
    return pa.table(columns, schema=order_schema())


def _reasons(fractions: NDArray[np.float64], tree: Tree) -> list[str]:
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
