"""Tables as streams of rows: Parquet and CSV a block at a time, the formats of astronomy completely."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from .._utils.compression import DAMAGE, MAGIC_SIZE, compression_of, decompressed
from .._utils.errors import InputError
from .._utils.text import one_line
from ..tables import CatalogError, read_table
from ..tables.columns import is_text
from ..tables.csv_header import MAX_LINE, csv_encoding
from ..tables.csv_rows import CsvReader, csv_error
from ..tables.csvw import with_metadata
from ..tables.parquet import pandas_index, schema_with_units
from .byte_source import ByteSource, ByteStream, SourceUnavailable
from .objects import open_byte_source

__all__ = ["CsvRows", "HatsRows", "ParquetRows", "Row", "Rows", "WholeRows", "cells", "parquet_file"]

#: Characters of a cell: a name, a path or an address.
MAX_CELL = 2**16
#: Rows of a table that are held together.
BLOCK = 4096
_DAMAGED = (csv_error, *DAMAGE)

#: Its cells, or why there are none.
Row = tuple[Sequence[object], str]


class Rows(Protocol):
    """A table that is read from the first row to the last."""

    schema: pa.Schema

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """The cells of the columns `names`, row by row. One that stands for all rows that are lost comes last.

        Raises
        ------
        InputError
            If the table cannot be reached any more.
        """


def parquet_file(source: ByteSource, **options: Any) -> pq.ParquetFile:
    """A Parquet file that is read a buffer at a time, not a row group at a time."""
    return pq.ParquetFile(ByteStream(source), pre_buffer=False, buffer_size=source.block, **options)


class ParquetRows:
    """Parquet; row groups of any size are streamed, other columns are not read."""

    def __init__(self, source: ByteSource, where: str) -> None:
        self._where = where
        try:
            file = parquet_file(source)
            self.schema = schema_with_units(file.schema_arrow)
            self._index = pandas_index(self.schema, file.metadata.num_rows) or ("", range(0))
            # As dictionaries, so that one long text, to which many rows refer, is held once.
            texts = [field.name for field in self.schema if pa.types.is_string(field.type)]
            self._file = parquet_file(source, metadata=file.metadata, read_dictionary=texts)
            if self._index[0]:
                self.schema = self.schema.append(pa.field(self._index[0], pa.int64()))
        except SourceUnavailable as error:
            raise InputError(f"{where}: {error}") from None
        except Exception as error:  # damaged files raise many kinds
            raise InputError(f"{where}: cannot be read as Parquet: {one_line(error)}; is the file complete?") from None

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """See `Rows.rows`."""
        number, expected = 0, self._file.metadata.num_rows
        index, numbers = self._index
        stored = [name for name in names if name != index]
        try:
            for batch in self._file.iter_batches(BLOCK, columns=stored, use_threads=False):
                columns = [
                    list(numbers[number : number + len(batch)])
                    if name == index
                    else cells(batch.column(_top(name, self.schema)), name)
                    for name in names
                ]
                # Without columns there are rows all the same.
                for row in zip(*columns, strict=True) if columns else repeat((), batch.num_rows):
                    number += 1
                    longest = max((len(cell) for cell in row if isinstance(cell, str)), default=0)
                    yield ((), _too_long(longest)) if longest > MAX_CELL else (row, "")
        except SourceUnavailable as error:
            raise InputError(f"{self._where}: {error}") from None
        except Exception as error:  # damaged files raise many kinds
            yield (
                (),
                f"the table is damaged from row {number + 1} on, {expected - number} rows are lost: {one_line(error)}",
            )


class HatsRows:
    """A HATS catalogue: its partitions, one after the other."""

    def __init__(self, partitions: Sequence[Path], where: str) -> None:
        self._partitions, self._where = partitions, where
        self.schema = self._open(partitions[0]).schema

    def _open(self, partition: Path) -> ParquetRows:
        return ParquetRows(open_byte_source(str(partition)), self._where)

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """See `Rows.rows`."""
        for partition in self._partitions:
            yield from self._open(partition).rows(names)


def _too_long(size: int) -> str:
    return f"a cell of {size} characters; at most {MAX_CELL} are read"


def _top(name: str, schema: pa.Schema) -> str:
    return name if name in schema.names else name.partition(".")[0]


def cells(column: pa.Array, name: str = "") -> list[object]:
    """Arrow → Python; text need not be UTF-8, its other bytes stand as surrogates.

    `name` may point into a column of structs: ``image.path``.
    """
    _, _, field = name.partition(".")
    if field and pa.types.is_struct(column.type):
        column = column.flatten()[column.type.get_field_index(field)]
    if pa.types.is_dictionary(column.type):
        # Many rows share one object.
        values = cells(column.dictionary)
        return [None if index is None else values[index] for index in column.indices.to_pylist()]
    if is_text(column.type):
        column = column.cast(pa.large_binary())
    values = column.to_pylist()
    return [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in values]


class CsvRows:
    """CSV as text, row by row; a row with too few or too many cells is a problem, those after it are good."""

    def __init__(self, source: ByteSource, where: str) -> None:
        self._where = where
        stream = io.BufferedReader(ByteStream(source), source.block)
        try:
            if compression := compression_of(stream.peek(MAGIC_SIZE)):
                stream = io.BufferedReader(decompressed(stream, compression), source.block)  # type: ignore[arg-type]
            encoding = csv_encoding(stream.peek(2)[:2])
            # Paths are bytes on Linux: surrogates stand for those that are no UTF-8.
            errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
            self._text = io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="")
            self._reader = CsvReader(self._lines())
        except SourceUnavailable as error:
            raise InputError(f"{where}: cannot be read as CSV: {error}") from None
        except _DAMAGED as error:
            raise InputError(f"{where}: cannot be read as CSV: {error}") from None
        if not any(self._reader.names):
            raise InputError(f"{where}: the file is empty; a line with the columns' names is expected first")
        self.schema = with_metadata(self._reader.schema, where)

    def _lines(self) -> Iterator[str]:
        for line in iter(partial(self._text.readline, MAX_LINE), ""):
            if len(line) >= MAX_LINE:
                raise csv_error(f"a line is longer than {MAX_LINE} characters")
            yield line

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """See `Rows.rows`."""
        places = [self.schema.names.index(name) for name in names]
        number = 0
        try:
            for cells, problem in self._reader.rows(places):
                number += 1
                yield ((), problem) if problem else (cells, "")
        except SourceUnavailable as error:
            raise InputError(f"{self._where}: {error}") from None
        except _DAMAGED as error:
            yield (), f"the table is damaged from row {number + 1} on, which is lost with all that follow: {error}"


class WholeRows:
    """FITS, VOTable and ECSV: their readers hold the complete table."""

    def __init__(self, path: str) -> None:
        try:
            self._table = read_table(path)
        except (CatalogError, MemoryError) as error:
            raise InputError(
                str(error) or f"{path}: not enough memory for the complete table; save it as Parquet"
            ) from None
        self.schema = self._table.schema

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """See `Rows.rows`."""
        for batch in self._table.select(list(names)).to_batches(BLOCK):
            for row in zip(*(cells(batch.column(name)) for name in names), strict=True):
                yield row, ""
