"""Write tables: whichever format the file's extension asks for, part by part."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from .._utils.files import atomic_file
from .columns import plain_schema
from .formats import CatalogError, check_format, format_of

__all__ = ["table_writer", "unheld_columns", "write_table"]


@contextmanager
def table_writer(path: str | os.PathLike[str], schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function to call with each Arrow table; the file appears, complete, when the block ends well.

    No format holds more than one of these tables in memory. What columns mean and the formats can say comes from
    the schema's metadata, see `Column`; beside a CSV, which cannot, comes ``PATH-metadata.json``.

    Raises
    ------
    CatalogError
        If the format needs a library that is missing, or cannot hold a column.
    """
    kind = format_of(path)
    check_format(path)
    with atomic_file(path) as part:
        try:
            with kind.write(part, schema) as write:
                yield write
        except CatalogError as error:
            raise CatalogError(f"{path}: {error}") from None
    if kind.companion is not None:
        kind.companion(Path(path), schema)


def write_table(path: str | os.PathLike[str], table: pa.Table) -> None:
    """Write a table that is in memory; see `table_writer`.

    Parameters
    ----------
    path : path-like
        The extension decides the format.
    table : pyarrow.Table
        Descriptions, units and UCDs are taken from the metadata of its schema.

    Raises
    ------
    CatalogError
        If the format needs a library that is missing, or cannot hold a column.

    Examples
    --------
    >>> import pyarrow as pa, tempfile
    >>> from tuningfork.tables import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(f"{folder}/a.csv", pa.table({"id": ["a", "b"], "x": [0.5, 1.0]}))
    ...     read_table(f"{folder}/a.csv").num_rows
    2
    """
    with table_writer(path, table.schema) as write:
        write(table)


def unheld_columns(path: str | os.PathLike[str], schema: pa.Schema) -> list[str]:
    """Names of the columns that a file of this extension cannot hold."""
    kind, names = format_of(path), []
    for field in schema if kind.name != "parquet" else ():
        try:
            plain_schema(pa.schema([field]), kind.name, vectors=kind.vectors)
        except CatalogError:
            names.append(field.name)
    return names
