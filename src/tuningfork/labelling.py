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
from .catalog import CatalogError, Column, RowError, arrow_schema, read_table, table_format
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
    return arrow_schema(
        [
            Column("rank", pa.int32(), "Place in the order of labelling, from 1"),
            Column("id", pa.string(), "Identifier of the galaxy"),
            Column("path", pa.string(), "Picture file, empty where the predictions name none"),
            Column("score", pa.float64(), "Uncertainty times squared distance: what the choice went by"),
            Column("uncertainty", pa.float64(), "Entropy of one volunteer's answers as predicted, in nats"),
            Column("distance", pa.float64(), "Of the roots of the predicted cumulative fractions to those of the "
                   "nearest galaxy that is labelled or stands before this one; blank if there is none"),
            Column("reason", pa.string(), "The question that the prediction leaves most open, and its answers"),
        ]
    )  # fmt: skip


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
    for block in blocks:
        told = predictions_from_table(block, tree, source)
        vectors, weights = _seen(told.cumulative, told.probability, tree)
        good = np.isfinite(weights)
        failed_here = {error.row: error for error in told.errors}
        for at in np.flatnonzero(~good):
            row = told.rows[at] + 1
            failed_here.setdefault(row, RowError(source, row, told.ids[at], "", "its prediction is blank"))
        failed += len(failed_here)
        pictures = block["path"].to_pylist() if "path" in block.column_names else [""] * block.num_rows
        errors += [
            replace(e, row=rows + row, file=source or pictures[row - 1] or "") for row, e in sorted(failed_here.items())
        ][: MAX_REPORTED - len(errors)]
        # A row that failed has no vector, whatever else is wrong with it.
        good &= ~np.isin(np.array(told.rows) + 1, list(failed_here))
        has_label = np.array([id_ in labelled for id_ in told.ids], bool)
        strange, told_domain = _strange(block, told.rows)
        domain_known |= told_domain
        known += int((has_label & good).sum())
        if (has_label & good).any():
            centres.append(vectors[has_label & good])
        good &= ~has_label
        outside += int((strange & good).sum())
        if not out_of_domain:
            good &= ~strange
        texts = np.array([(id_, pictures[row] or "") for id_, row in zip(told.ids, told.rows, strict=True)], object)
        rows += block.num_rows
        # Where nothing is predicted, not even the vectors' length is known.
        if good.any():
            kept.add(weights[good], vectors[good], weights[good], texts[good])
    if not kept.seen:
        raise CatalogError(
            f"{source or 'the pictures'}: no galaxy is left to label: of {rows} rows, {known} are labelled, "
            f"{outside} out of the model's domain and {failed} without a prediction"
        )
    corrected, (vectors, entropies, texts) = kept.finish()
    begun = np.concatenate(centres) if centres else None
    wanted = len(vectors) if count is None else count
    order = ranking.weighted_seeding(vectors, corrected, wanted, centres=begun, seed=seed)
    return Ranked(
        _order_table(order, vectors, entropies, texts, tree),
        rows,
        known,
        outside,
        failed,
        len(vectors),
        domain_known,
        tuple(errors),
    )


def _seen(
    cumulative: NDArray[np.float64], probability: NDArray[np.float64] | None, tree: Tree
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Vectors (N, D) and uncertainties (N,); NaN in the second: no prediction."""
    if probability is None or not np.isnan(cumulative).all():
        return ranking.hellinger(cumulative), ranking.question_entropies(cumulative, tree).sum(-1)
    return ranking.hellinger(probability), ranking.entropy(probability)


def _strange(block: pa.Table, rows: Sequence[int]) -> tuple[NDArray[np.bool_], bool]:
    """Which rows are out of domain, and whether the block says so at all; blank is not out of it."""
    if "out_of_domain" not in block.column_names:
        return np.zeros(len(rows), bool), False
    marks = block["out_of_domain"].to_pylist()
    cells = [marks[row] for row in rows]
    # A CSV has words.
    return np.array([str(cell).strip().lower() in ("true", "1") for cell in cells], bool), any(
        cell is not None for cell in cells
    )


def _order_table(
    order: ranking.Order,
    vectors: NDArray[np.float32],
    entropies: NDArray[np.float64],
    texts: NDArray[Any],
    tree: Tree,
) -> pa.Table:
    rows = order.rows
    columns = [
        pa.array(np.arange(1, len(rows) + 1, dtype=np.int32)),
        pa.array(texts[rows, 0].tolist(), pa.string()),
        pa.array(texts[rows, 1].tolist(), pa.string()),
        order.scores,
        entropies[rows],
        pa.array(order.distances, mask=np.isinf(order.distances)),
        pa.array(_reasons(vectors[rows].astype(float) ** 2, tree), pa.string()),
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
