"""Columns that a prediction took over from its catalogue, beside what another command made of the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .table_options import print_column_changes

if TYPE_CHECKING:
    import pyarrow as pa

    from ..votes.tree import DecisionTree

__all__ = ["with_kept_columns"]


def with_kept_columns(table: pa.Table, predictions: Path, keep: Sequence[str] | None, tree: DecisionTree) -> pa.Table:
    """Add columns of a table of predictions to another table of its galaxies, by ID.

    Parameters
    ----------
    table : pyarrow.Table
        With a column ``id``.
    predictions : Path
        A table of any format; of a folder of parts nothing is kept.
    keep : sequence of str, optional
        Names of columns; None: those that are no predictions.
    tree : DecisionTree
        Of the predictions.
    """
    import pyarrow as pa

    from ..inputs import table_columns
    from ..inputs.catalogues import id_limit, open_rows, row_id
    from ..inputs.cell_types import converted_row
    from ..model.prediction_columns import kaggle_schema, output_schema
    from ..tables.column_roles import Columns, id_column
    from ..tables.columns import arrow_schema

    if predictions.is_dir() or keep == []:
        return table
    where = str(predictions)
    schema = open_rows(where)[0].schema
    name = id_column(Columns(), schema, where)
    own = {name} if keep else {name, *output_schema(tree).names, *kaggle_schema(tree).names, "embedding", "path"}
    carried = table_columns(where, table.column_names, keep=keep, own=own)
    print_column_changes(carried.renamed, carried.left_out)
    if not carried.columns:
        return table
    wanted: dict[str, list[object]] = {id_: [None] * len(carried.columns) for id_ in table["id"].to_pylist()}
    rows = open_rows(where)[0].rows([name, *(old for old, _ in carried.columns)])
    limit = id_limit(name, schema)
    for number, (cells, problem) in enumerate(rows, 1):
        if problem:
            continue
        id_ = row_id(cells[0], name, where, number, limit)
        if id_ in wanted:
            wanted[id_] = converted_row(cells[1:], [column.type for _, column in carried.columns])
    values = [wanted[id_] for id_ in table["id"].to_pylist()]
    for number, field in enumerate(arrow_schema([column for _, column in carried.columns])):
        table = table.append_column(field, pa.array([row[number] for row in values], field.type))
    return table
