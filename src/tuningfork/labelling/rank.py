"""Active learning: rank unlabelled galaxies by uncertainty and diversity, from their predictions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .._utils.sampling import Shortlist
from ..tables import MAX_REPORTED, CatalogError, Column, RowError, arrow_schema, read_table, ucd
from ..tables.identifiers import exact_ids
from ..tables.numbers import without_blanks
from ..votes.tree import DecisionTree
from .acquisition import Order, question_entropies, weighted_seeding
from .prediction_blocks import fit_embedding_space, predicted_blocks, read_block, table_blocks

__all__ = [
    "SHORTLIST",
    "RankOptions",
    "Ranking",
    "labelled_ids",
    "order_schema",
    "predicted_blocks",
    "rank",
    "table_blocks",
]

#: Galaxies that are compared with one another; of more, a sample weighted by uncertainty.
SHORTLIST = 50_000


@dataclass(frozen=True)
class RankOptions:
    """Options of `rank`.

    Parameters
    ----------
    count : int or None
        Number of galaxies to choose; None: the complete shortlist.
    labelled : frozenset of str
        IDs that have labels: left out, and those that have a prediction are the centres that the order starts from.
    out_of_domain : bool
        Whether to include images that the predictions mark as out of domain.
    features : bool
        Whether to use embeddings if the first block has some.
    shortlist : int
        Number of galaxies that are compared with one another: time and memory do not grow with the survey.
    seed : int
        Of the random draw.
    """

    count: int | None = None
    labelled: frozenset[str] = frozenset()
    out_of_domain: bool = False
    features: bool = True
    shortlist: int = SHORTLIST
    seed: int = 0


@dataclass(frozen=True)
class Ranking:
    """An order of labelling, and counts of all rows.

    Parameters
    ----------
    table : Arrow table
        Columns of `order_schema`, the first galaxy to label in the first row.
    rows, labelled, out_of_domain, failed : int
        All rows, those that have labels, those out of the model's domain, and those without a prediction.
    compared : int
        Galaxies that the order was drawn from.
    domain_known : bool
        Whether the predictions contain which images are out of domain.
    by_features : bool
        Whether galaxies were compared by their embeddings, not by the predicted votes.
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
        """The counts, as plain types; `out_of_domain` is None where the predictions do not contain it."""
        return {
            "rows": self.rows,
            "labelled": self.labelled,
            "out_of_domain": self.out_of_domain if self.domain_known else None,
            "failed": self.failed,
            "compared": self.compared,
            "by": "features" if self.by_features else "votes",
        }


def order_schema(by_features: bool = False) -> pa.Schema:
    """Columns of the table that `rank` returns."""
    what = "Between embeddings" if by_features else "Between square roots of the predicted cumulative fractions"
    distance = f"{what}, to the nearest galaxy that is labelled or ranked before this one; blank if there is none"
    entropy = "Entropy of one volunteer's answers as predicted, in nats"
    return arrow_schema(
        [
            Column("rank", pa.int32(), "Place in the order of labelling, from 1", ucd=ucd.RANK),
            Column("id", pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER),
            Column("path", pa.string(), "Image file, empty where the predictions name none", ucd=ucd.FILE),
            Column("score", pa.float64(), "Uncertainty times squared distance: acquisition function", "", ucd.VALUE),
            Column("uncertainty", pa.float64(), entropy, "", ucd.VALUE),
            Column("distance", pa.float64(), distance, "", ucd.VALUE),
            Column("reason", pa.string(), "The most uncertain question, and its predicted answers", ucd=ucd.NOTE),
        ]
    )


def labelled_ids(path: str | os.PathLike[str], tree: DecisionTree) -> frozenset[str]:
    """IDs of a table's rows that have a label: any cell that is not blank beside the ID. Raises CatalogError."""
    table = read_table(path, text=True)
    column = tree.id_column(table.column_names, "id")
    if column is None:
        raise CatalogError(f"{path}: no ID column; call it id or {tree.id_columns[0]}")
    others = [table[name] for name in table.column_names if name != column]
    filled = [_is_filled(other) for other in others]
    labelled = np.logical_or.reduce(filled) if filled else np.ones(table.num_rows, bool)
    ids = exact_ids(table[column], column, path)
    return frozenset(id_ for row, id_ in enumerate(ids) if id_ and labelled[row])


def _is_filled(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """(N,) whether a cell holds anything; formats write blank text, NaN, and words for nothing."""
    if pa.types.is_string(column.type):
        filled = pc.is_valid(without_blanks(column))
    elif pa.types.is_floating(column.type):
        filled = pc.invert(pc.is_nan(column))
    else:
        filled = pc.is_valid(column)
    return np.asarray(pc.fill_null(filled, False).to_numpy(zero_copy_only=False), bool)


def rank(
    blocks: Iterable[pa.Table], tree: DecisionTree, options: RankOptions = RankOptions(), *, source: str = ""
) -> Ranking:
    """Rank unlabelled galaxies: active learning by uncertainty and diversity.

    The order is drawn by `acquisition.weighted_seeding`: weighted by the entropy of the predicted votes, at distances
    between the embeddings if the tables have them, which saves labels (`study label-efficiency`), else between the
    square roots of the predicted cumulative fractions. For a model of classes alone, class probabilities are used.

    Parameters
    ----------
    blocks : iterable of Arrow tables
        As `tuningfork predict` writes them, in our columns or in those of the campaign.
    source : str
        File that errors name; "": they name the images.

    Raises
    ------
    CatalogError
        If a table cannot be used, or no galaxy is left to label.
    """
    shortlist = Shortlist(options.shortlist, options.seed)
    centres: list[NDArray[np.float32]] = []
    errors: list[RowError] = []
    rows = labelled = outside = failed = 0
    domain_known = False
    stream = iter(blocks)
    space, stream = fit_embedding_space(stream, source) if options.features else (None, stream)
    for table in stream:
        block = read_block(table, tree, source)
        vectors = block.roots if space is None else space.project(table, block.rows, source)
        errors += [replace(error, row=rows + error.row) for error in block.errors[: MAX_REPORTED - len(errors)]]
        rows, failed = rows + table.num_rows, failed + len(block.errors)
        domain_known |= block.domain_known
        has_label = np.array([id_ in options.labelled for id_ in block.ids], bool)
        labelled += int(has_label.sum())
        outside += int((block.out_of_domain & ~has_label).sum())
        wanted = ~has_label & (options.out_of_domain | ~block.out_of_domain)
        # Of a block where nothing is predicted, not even the vectors' length is known.
        if has_label.any():
            centres.append(vectors[has_label])
        if wanted.any():
            columns = (block.weights, vectors, block.roots, block.weights, block.ids, block.paths)
            shortlist.add(*(each[wanted] for each in columns))
    if not shortlist.total:
        raise CatalogError(
            f"{source or 'the images'}: no galaxy is left to label: of {rows} rows, {labelled} are labelled, "
            f"{outside} out of the model's domain and {failed} without a prediction"
            + (f", such as {errors[0]}" if errors else "")
        )
    corrected, (vectors, roots, entropies, ids, paths) = shortlist.finish()
    known = np.concatenate(centres) if centres else None
    count = len(vectors) if options.count is None else options.count
    order = weighted_seeding(vectors, corrected, count, centres=known, seed=options.seed)
    chosen = order.rows
    return Ranking(
        _order_table(
            order, roots[chosen], entropies[chosen], ids[chosen], paths[chosen], tree, by_features=space is not None
        ),
        rows,
        labelled,
        outside,
        failed,
        len(vectors),
        domain_known,
        space is not None,
        tuple(errors),
    )


def _order_table(
    order: Order,
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
        most_uncertain = question_entropies(fractions, tree).argmax(-1)
        return [
            f"{tree.questions[q].text} {_best([a.text for a in tree.questions[q].answers], row[tree.slices[q]])}"
            for q, row in zip(most_uncertain, fractions, strict=True)
        ]
    return [f"class: {_best([rule.name for rule in tree.classes], row)}" for row in fractions]


def _best(names: Sequence[str], values: NDArray[np.float64]) -> str:
    first = np.argsort(-values, kind="stable")[:2]
    total = values.sum() or 1.0
    return ", ".join(f"{names[i]} {values[i] / total:.2f}" for i in first)
