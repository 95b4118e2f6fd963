"""Tables out: whichever format the file's extension asks for, part by part."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from .._utils.files import atomic_file, write_text
from .columns import plain_schema
from .csv import beside_csv, csv_metadata, write_csv
from .ecsv import write_ecsv
from .fits import write_fits
from .formats import VECTOR_FORMATS, CatalogError, check_format, table_format
from .parquet import write_parquet
from .votable import write_votable

__all__ = ["table_writer", "unheld_columns"]

_WRITERS = {
    "csv": write_csv,
    "parquet": write_parquet,
    "fits": write_fits,
    "votable": write_votable,
    "ecsv": write_ecsv,
}


@contextmanager
def table_writer(path: str | os.PathLike[str], schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function to call with each Arrow table; the file appears, whole, when the block ends well.

    No format holds more than one of these tables in memory. What columns mean and the formats can say comes from
    the schema's metadata, see `Column`; beside a CSV, which cannot, comes ``PATH-metadata.json``.

    Raises
    ------
    CatalogError
        If the format needs a library that is missing, or cannot hold a column.
    """
    kind = table_format(path)
    check_format(path)
    with atomic_file(path) as beside:
        try:
            writer = _WRITERS[kind](beside, schema)
            with writer as write:
                yield write
        except CatalogError as error:
            raise CatalogError(f"{path}: {error}") from None
    if kind == "csv":
        write_text(beside_csv(path), csv_metadata(Path(path).name, schema))


def unheld_columns(path: str | os.PathLike[str], schema: pa.Schema) -> list[str]:
    """Names of the columns that a file of this extension cannot hold."""
    kind, names = table_format(path), []
    for field in schema if kind != "parquet" else ():
        try:
            plain_schema(pa.schema([field]), kind, vectors=kind in VECTOR_FORMATS)
        except CatalogError:
            names.append(field.name)
    return names
