"""The table of cutouts: a catalogue that `predict` reads, with the provenance of each image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ..inputs.catalogues import open_rows
from ..inputs.cell_types import converted_row
from ..tables import Column, arrow_schema, table_writer, ucd
from .journal import Entry

if TYPE_CHECKING:
    from ..inputs.table_rows import Row

__all__ = ["CARRIED", "TABLE", "add_columns", "cutouts_schema", "is_cutouts", "write_table"]

TABLE = "cutouts.parquet"
#: Metadata that mark such a table, whatever its name is.
KIND = {"tuningfork": "cutouts"}
#: Rows of a batch.
ROWS = 10_000

_COLUMNS = [
    Column("id", pa.string(), "Identifier of the galaxy, as the catalogue says", ucd=ucd.IDENTIFIER),
    Column("ra", pa.float64(), "Right ascension (ICRS); null: none that can be read", "deg", ucd.RIGHT_ASCENSION),
    Column("dec", pa.float64(), "Declination (ICRS); null: none that can be read", "deg", ucd.DECLINATION),
    Column("path", pa.string(), "Image file, from this table's folder; null: there is none", ucd=ucd.FILE),
    Column("source", pa.string(), "Source of the image, such as legacy, hips, mosaic", ucd=ucd.ORIGIN),
    Column("layer", pa.string(), "Survey, release or file that it comes from", ucd=ucd.SURVEY),
    Column("pixel_scale", pa.float64(), "Side of a pixel of the image", "arcsec", ucd.PIXEL_SCALE),
    Column("size", pa.float64(), "Side of the image on the sky", "arcsec", ucd.SIZE),
    Column("time", pa.string(), "When it was cut out or fetched, UTC", ucd=ucd.WHEN),
    Column("address", pa.string(), "Address that it came from, without secrets", ucd=ucd.ADDRESS),
    Column("warning", pa.string(), "Empty, or what to know of the image, such as a part without data", ucd=ucd.NOTE),
    Column("error", pa.string(), "Empty, or why there is no image", ucd=ucd.NOTE),
]
#: Columns that a table of predictions takes over, and their names there.
CARRIED = tuple(
    (
        column.name,
        Column(f"cutout_{column.name}", column.type, f"{column.description}; null: no image", column.unit, column.ucd),
    )
    for column in _COLUMNS
    if column.name in ("source", "layer", "pixel_scale", "time", "warning")
)


def cutouts_schema() -> pa.Schema:
    """Columns of the table."""
    return arrow_schema(_COLUMNS, KIND)


def is_cutouts(path: str) -> bool:
    """Whether a file is a table that `write_table` wrote."""
    if Path(path).suffix != Path(TABLE).suffix or not Path(path).is_file():
        return False
    import pyarrow.parquet as pq

    try:
        about = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return False
    return all(about.get(key.encode()) == value.encode() for key, value in KIND.items())


def write_table(entries: Iterable[Entry], file: Path) -> None:
    """Write the rows in their order; the file appears complete."""
    schema = cutouts_schema()
    rows = iter(entries)
    with table_writer(file, schema) as write:
        while block := list(islice(rows, ROWS)):
            write(pa.table([_array(block, field) for field in schema], schema=schema))


def add_columns(file: Path, catalogue: str, columns: Sequence[tuple[str, Column]]) -> None:
    """Add columns of the catalogue to its table of cutouts, whose rows are in its order.

    Parameters
    ----------
    file : Path
        The table, which is replaced.
    catalogue : str
        The table of positions that the cutouts are of.
    columns : sequence of (name in the catalogue, `Column` of the table)
    """
    import pyarrow.parquet as pq

    if not columns:
        return
    schema = cutouts_schema()
    for each in arrow_schema([column for _, column in columns]):
        schema = schema.append(each)
    rows = open_rows(catalogue)[0].rows([name for name, _ in columns])
    with pq.ParquetFile(file) as table, table_writer(file, schema) as write:
        for batch in table.iter_batches(ROWS, columns=cutouts_schema().names):
            cells = [_cells(next(rows, ((), "")), columns) for _ in range(batch.num_rows)]
            added = [pa.array([row[n] for row in cells], column.type) for n, (_, column) in enumerate(columns)]
            write(pa.table([*batch.columns, *added], schema=schema))


def _cells(row: Row, columns: Sequence[tuple[str, Column]]) -> list[object]:
    """The cells of a row as the columns' types; None for those that cannot be read: their row has an error."""
    values, problem = row
    if problem or len(values) != len(columns):
        return [None] * len(columns)
    return converted_row(values, [column.type for _, column in columns])


def _array(block: list[Entry], field: pa.Field) -> pa.Array:
    values = [getattr(entry, field.name) for entry in block]
    if field.name in ("id", "warning", "error"):
        return pa.array(values, field.type)
    # Blank is what is not known; an error is empty where all is well.
    blank = ("", None)
    return pa.array([None if v in blank or (isinstance(v, float) and math.isnan(v)) else v for v in values], field.type)
