"""Parquet, whose metadata says what its columns mean twice: field by field, and as a VOTable without rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from .formats import CatalogError
from .votable import votable_header

__all__ = ["read_parquet", "write_parquet"]

_VOPARQUET = "IVOA.VOTable-Parquet"


@contextmanager
def write_parquet(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends Arrow tables to the file, a row group each.

    Its metadata follow IVOA's convention VOParquet 1.0 too, if a VOTable can have all its columns.
    """
    with pa.parquet.ParquetWriter(str(path), schema, compression="zstd") as writer:
        with suppress(CatalogError):
            told = {f"{_VOPARQUET}.version": "1.0", f"{_VOPARQUET}.content": votable_header(schema)}
            writer.add_key_value_metadata(told)
        yield writer.write_table


def read_parquet(path: str | os.PathLike[str]) -> pa.Table:
    """The whole table. Raises OSError or ArrowException."""
    table = pa.parquet.read_table(os.fspath(path), partitioning=None)
    # Of the file, not of its content: the numbers of its fields, and a VOTable of what it says once more.
    fields = [
        field.with_metadata({k: v for k, v in (field.metadata or {}).items() if k != b"PARQUET:field_id"})
        for field in table.schema
    ]
    kept = {k: v for k, v in (table.schema.metadata or {}).items() if not k.startswith(_VOPARQUET.encode())}
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields, kept))
