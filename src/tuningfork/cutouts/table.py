"""The table beside the pictures: a catalogue that `predict` reads, with where each picture comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pyarrow as pa

from ..catalog import Column, arrow_schema, table_writer
from .journal import Done

__all__ = ["CARRIED", "TABLE", "write_table"]

TABLE = "cutouts.parquet"
#: Rows that are held together.
ROWS = 10_000

_COLUMNS = [
    Column("id", pa.string(), "Identifier of the galaxy, as the catalogue says"),
    Column("ra", pa.float64(), "Right ascension (ICRS); null: none that can be read", "deg"),
    Column("dec", pa.float64(), "Declination (ICRS); null: none that can be read", "deg"),
    Column("path", pa.string(), "Picture, from this table's folder; null: there is none"),
    Column("source", pa.string(), "What gave the picture, such as legacy, hips, mosaic"),
    Column("layer", pa.string(), "Survey, release or file that it comes from"),
    Column("pixel_scale", pa.float64(), "Side of a pixel of the picture", "arcsec"),
    Column("size", pa.float64(), "Side of the picture on the sky", "arcsec"),
    Column("time", pa.string(), "When it was made or fetched, UTC"),
    Column("address", pa.string(), "Address that gave it, without secrets"),
    Column("error", pa.string(), "Empty, or why there is no picture"),
]
#: What a table of predictions takes over: the column here, and what it is called there.
CARRIED = tuple(
    (column.name, Column(f"cutout_{column.name}", column.type, f"{column.description}; null: no picture", column.unit))
    for column in _COLUMNS
    if column.name in ("source", "layer", "pixel_scale", "time")
)


def write_table(done: Iterable[Done], file: Path) -> None:
    """Write the rows in their order; the file appears whole."""
    schema = arrow_schema(_COLUMNS)
    rows = iter(done)
    with table_writer(file, schema) as write:
        while block := list(islice(rows, ROWS)):
            write(pa.table([_array(block, field) for field in schema], schema=schema))


def _array(block: list[Done], field: pa.Field) -> pa.Array:
    values = [getattr(done, field.name) for done in block]
    if field.name in ("id", "error"):
        return pa.array(values, field.type)
    # Blank is what is not known; an error is empty where all is well.
    blank = ("", None)
    return pa.array([None if v in blank or (isinstance(v, float) and math.isnan(v)) else v for v in values], field.type)
