"""The table of a chunk's predictions: its columns, and the bytes of the Parquet file that is a part of a run."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..inputs import InputItem
from ..model.draw_columns import draw_columns, draw_schema
from ..model.embeddings import Embedder
from ..model.prediction_columns import kaggle_schema, output_schema
from ..model.predictions import Predictions
from ..model.structure_columns import REASON
from ..tables import Column, arrow_schema, ucd
from ..tables.arrow import number_array
from ..votes.tree import DecisionTree

__all__ = ["ChunkResult", "TableLayout", "chunk_result", "part_bytes", "table_schema"]


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Columns of the output table.

    Parameters
    ----------
    kaggle : GalaxyID and the cumulative columns in the campaign's order, instead of named columns
    positions : columns `ra` and `dec` behind the path, in degrees; not in Kaggle's layout
    embedder : whose embeddings are the last column; None: there is none
    carried : columns of the catalogue behind these; see `inputs.Columns`
    temporary : whether parts are joined and removed at the end: quick to write and to read, rather than small
    draws : how many draws of each fraction are in the last columns; not in Kaggle's layout
    structure : whether there are columns of structural parameters; not in Kaggle's layout
    """

    kaggle: bool = False
    positions: bool = False
    embedder: Embedder | None = None
    carried: tuple[Column, ...] = ()
    temporary: bool = False
    draws: int = 0
    structure: bool = False


@dataclass(frozen=True)
class ChunkResult:
    """A predicted chunk: the bytes of a Parquet file, how many rows it has, and how many of them failed."""

    number: int
    data: bytes
    rows: int
    failed: int


def table_schema(tree: DecisionTree, layout: TableLayout) -> pa.Schema:
    """The columns of the output table."""
    if layout.kaggle:
        return kaggle_schema(tree)
    schema = output_schema(tree, layout.embedder, structure=layout.structure)
    added = list(arrow_schema(layout.carried))
    if layout.positions:
        position = arrow_schema(
            [
                Column(name, pa.float64(), f"{text} (ICRS), of the input; null: it has none", "deg", ucd_word)
                for name, text, ucd_word in (
                    ("ra", "Right ascension", ucd.RIGHT_ASCENSION),
                    ("dec", "Declination", ucd.DECLINATION),
                )
            ]
        )
        added = [*position, *added]
    drawn = draw_schema(tree, layout.draws) if layout.draws else ()
    own = list(schema)
    return pa.schema([*own[:2], *added, *own[2:], *drawn], schema.metadata)


def chunk_result(number: int, items: Sequence[InputItem], predictions: Predictions, layout: TableLayout) -> ChunkResult:
    """Write the predictions of a chunk's items as a Parquet file.

    Errors and flags are in the file's metadata, too, since Kaggle's layout has no columns for them: `errors`, a JSON
    of row → path, ID, reason, and `out_of_domain`, `warnings`, `not_measured` and `classes` (a JSON), counts.
    """
    table = _result_table(items, predictions, layout)
    errors = {
        str(row): [predictions.paths[row], predictions.ids[row], reason]
        for row, reason in enumerate(predictions.errors)
        if reason
    }
    metadata: dict[str | bytes, str | bytes] = {
        **(table_schema(predictions.tree, layout).metadata or {}),
        "errors": json.dumps(errors),
        "out_of_domain": str(predictions.out_of_domain.sum()),
        "warnings": str(sum(map(bool, predictions.warnings))),
        "classes": json.dumps(predictions.class_counts()),
    }
    if layout.structure:
        metadata["not_measured"] = str(sum(map(bool, table[REASON.name].to_pylist())))
    data = part_bytes(table.replace_schema_metadata(metadata), temporary=layout.temporary)
    return ChunkResult(number, data, len(table), len(errors))


def _result_table(items: Sequence[InputItem], predictions: Predictions, layout: TableLayout) -> pa.Table:
    table = predictions.to_kaggle() if layout.kaggle else predictions.to_table()
    columns: dict[str, Any] = dict(zip(table.column_names, table.columns, strict=True))
    if layout.positions:
        columns["ra"] = number_array(np.array([item.right_ascension for item in items]), np.float64)
        columns["dec"] = number_array(np.array([item.declination for item in items]), np.float64)
    rows = [json.loads(item.carried) if item.carried else [None] * len(layout.carried) for item in items]
    for number, column in enumerate(layout.carried):
        columns[column.name] = pa.array([row[number] for row in rows], column.type)
    if layout.draws:
        names = draw_schema(predictions.tree, layout.draws).names
        columns.update(zip(names, draw_columns(predictions, layout.draws), strict=True))
    schema = table_schema(predictions.tree, layout)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def part_bytes(table: pa.Table, *, temporary: bool = False) -> bytes:
    """A table as the bytes of a Parquet file with checksums; a temporary one is quick to write rather than small."""
    import pyarrow.parquet as pq

    from ..tables.parquet import repeating_columns

    buffer = io.BytesIO()
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": repeating_columns(table.schema)}
    if temporary:
        options = {"compression": "lz4", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(buffer, table.schema, write_page_checksum=True, **options) as writer:
        writer.write_table(table)
    return buffer.getvalue()
