"""Tables as streams of rows: Parquet and CSV a block at a time, the formats of astronomy whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from .._utils.errors import InputError
from .._utils.text import one_line, text
from ..tables import CatalogError, read_table
from .byte_source import ByteSource, ByteStream, SourceUnavailable

__all__ = ["CsvRows", "ParquetRows", "Row", "Rows", "WholeRows", "cells", "parquet_file"]

#: Rows of a table that are held together.
BLOCK = 4096
#: Characters of a line; a longer one is no line.
MAX_LINE = 2**20

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


def parquet_file(source: ByteSource) -> pq.ParquetFile:
    """A Parquet file that is read a buffer at a time, not a row group at a time."""
    return pq.ParquetFile(ByteStream(source), pre_buffer=False, buffer_size=source.block)


class ParquetRows:
    """Parquet; row groups of any size are streamed, columns that are not asked for are not read."""

    def __init__(self, source: ByteSource, where: str) -> None:
        self._where = where
        try:
            self._file = parquet_file(source)
            self.schema = self._file.schema_arrow
        except SourceUnavailable as error:
            raise InputError(f"{where}: {error}") from None
        except Exception as error:  # damaged files raise many kinds
            raise InputError(f"{where}: cannot be read as Parquet: {one_line(error)}; is the file whole?") from None

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """See `Rows.rows`."""
        number, expected = 0, self._file.metadata.num_rows
        try:
            for batch in self._file.iter_batches(BLOCK, columns=list(names), use_threads=False):
                columns = [cells(batch.column(_top(name, self.schema)), name) for name in names]
                # Without columns there are rows all the same.
                for row in zip(*columns, strict=True) if columns else repeat((), batch.num_rows):
                    number += 1
                    yield row, ""
        except SourceUnavailable as error:
            raise InputError(f"{self._where}: {error}") from None
        except Exception as error:  # damaged files raise many kinds
            yield (
                (),
                f"the table is damaged from row {number + 1} on, {expected - number} rows are lost: {one_line(error)}",
            )


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
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_binary())
    values = column.to_pylist()
    return [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in values]


class CsvRows:
    """CSV as text, row by row; a row with too few or too many cells is told, those after it are good."""

    def __init__(self, source: ByteSource, where: str) -> None:
        self._where = where
        buffered = io.BufferedReader(ByteStream(source), source.block)
        # Paths are bytes on Linux: surrogates stand for those that are no UTF-8.
        self._text = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self._reader = csv.reader(self._lines())
        try:
            self._names = [name.strip() for name in next(self._reader, [])]
        except (SourceUnavailable, csv.Error) as error:
            raise InputError(f"{where}: cannot be read as CSV: {error}") from None
        if not any(self._names):
            raise InputError(f"{where}: the file is empty; a line with the columns' names is expected first")
        self.schema = pa.schema([(text(name), pa.string()) for name in self._names])

    def _lines(self) -> Iterator[str]:
        for line in iter(partial(self._text.readline, MAX_LINE), ""):
            if len(line) >= MAX_LINE:
                raise csv.Error(f"a line is longer than {MAX_LINE} characters")
            yield line

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """See `Rows.rows`."""
        places = [self.schema.names.index(name) for name in names]
        number, line = 0, self._reader.line_num
        try:
            for row in self._reader:
                first, line = line + 1, self._reader.line_num
                if not row:
                    continue
                number += 1
                if len(row) != len(self._names):
                    problem = f"{len(row)} cells where the header has {len(self._names)}; mend the row"
                    yield (), problem + _spanned(first, line)
                    continue
                values = [row[place] for place in places]
                if line > first and any("\n" in value or "\r" in value for value in values):
                    yield (), "a cell holds more than one line" + _spanned(first, line)
                    continue
                yield values, ""
        except SourceUnavailable as error:
            raise InputError(f"{self._where}: {error}") from None
        except csv.Error as error:
            yield (), f"the table is damaged from row {number + 1} on, which is lost with all that follow: {error}"


def _spanned(first: int, last: int) -> str:
    return f" (lines {first} to {last}: is a quotation mark not closed?)" if last > first else ""


class WholeRows:
    """FITS, VOTable and ECSV: their readers hold the whole table."""

    def __init__(self, path: str) -> None:
        try:
            self._table = read_table(path)
        except (CatalogError, MemoryError) as error:
            raise InputError(
                str(error) or f"{path}: not enough memory for the whole table; save it as Parquet"
            ) from None
        self.schema = self._table.schema

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """See `Rows.rows`."""
        for batch in self._table.select(list(names)).to_batches(BLOCK):
            for row in zip(*(cells(batch.column(name)) for name in names), strict=True):
                yield row, ""
