"""CSV as whole tables, read and written; see `csv_rows` for reading it row by row."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from .._utils.text import text
from .column_roles import USUAL
from .columns import plain_schema
from .csv_rows import GUARDED, CsvReader, encoding_of, open_csv
from .csv_types import typed_column
from .csvw import metadata_path, metadata_text, with_metadata
from .formats import CatalogError, Format

__all__ = [
    "FORMAT",
    "csv_text",
    "read_csv",
    "write_csv",
    "write_rows",
]

logger = logging.getLogger(__name__)

#: What spreadsheets take for a formula (OWASP, "CSV Injection"); a number is none. Such a text is written with an
#: apostrophe before it, which reading takes away again.
_FORMULA, _NUMBER = r"^'*[=+\-@\t\r]", r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


# ---------------------------------------------------------------- writing


@contextmanager
def write_csv(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends Arrow tables to the file."""
    plain = plain_schema(schema, "CSV", vectors=False)

    def guarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
        if not pa.types.is_string(column.type):
            return column
        formula = pc.and_not(
            pc.match_substring_regex(column, _FORMULA), pc.match_substring_regex(column, _NUMBER)
        ).fill_null(False)
        return pc.if_else(formula, pc.binary_join_element_wise("'", column, ""), column)

    with pa.csv.CSVWriter(str(path), plain) as writer:

        def write(table: pa.Table) -> None:
            table = table.cast(plain)
            writer.write_table(pa.Table.from_arrays([guarded(column) for column in table.columns], schema=plain))

        yield write


def csv_text(rows: Iterable[Sequence[Any] | Mapping[str, Any]]) -> str:
    """Format rows as CSV; mappings have their keys as the header.

    Examples
    --------
    >>> csv_text([{"id": "a, b", "n": 1}])
    'id,n\\n"a, b",1\\n'
    """
    text = io.StringIO()
    write_rows(text, rows)
    return text.getvalue()


def write_rows(file: TextIO, rows: Iterable[Sequence[Any] | Mapping[str, Any]]) -> None:
    """Write rows as CSV to an open file, one after the other; see `csv_text`."""
    writer = csv.writer(file, lineterminator="\n")
    header: list[str] | None = None
    for row in rows:
        if isinstance(row, Mapping):
            if header is None:
                header = list(row)
                writer.writerow(header)
            row = [row[name] for name in header]
        writer.writerow([_guarded(cell) for cell in row])


def _guarded(cell: Any) -> Any:
    if isinstance(cell, str) and re.match(_FORMULA, cell) and not re.match(_NUMBER, cell):
        return f"'{cell}"
    return cell


# ---------------------------------------------------------------- reading


def read_csv(path: str | os.PathLike[str], *, text: bool = False, problems: dict[int, str] | None = None) -> pa.Table:
    """Read a CSV file.

    Parameters
    ----------
    text : bool
        Whether every cell stays text. Else columns have the type that all their cells have, see `csv_types`;
        identifiers stay text if they are no integers.
    problems : dict, optional
        Gets the rows, counted from 0, with too few or too many cells, and what is wrong with each; of their cells
        no more than the first is kept. Without it such a row is an error.

    Raises
    ------
    CatalogError, OSError, pa.ArrowInvalid
        If the file is empty, missing, or no CSV.
    """
    with open_csv(path) as file:
        try:
            reader = CsvReader(iter(file.readline, ""))
        except csv.Error as error:
            raise CatalogError(f"{path}: cannot be read as csv: {error}") from None
        names = reader.names
        has_rows = next(reader.rows(), None) is not None
    if not any(names):
        raise CatalogError(f"{path}: the file is empty; a line with the columns' names is expected first")
    if not has_rows:
        return with_metadata(reader.schema, path).empty_table()
    wrong: dict[int, str] = {}
    columns = _fast_columns(path, reader)
    if columns is None:
        columns = _read_rows(path, wrong)
    if wrong and problems is None:
        row, reason = next(iter(wrong.items()))
        raise CatalogError(f"{path}, row {row + 1}: {reason}")
    if problems is not None:
        problems |= wrong
    if not text:
        columns = [typed_column(column, _is_id(name), wrong) for name, column in zip(names, columns, strict=True)]
    schema = pa.schema([field.with_type(column.type) for field, column in zip(reader.schema, columns, strict=True)])
    table = pa.Table.from_arrays(columns, schema=with_metadata(schema, path))
    for place, name in enumerate(names):
        if not name and not _numbers_rows(columns[place]):
            logger.warning("%s: column %d has no name and is left out", path, place + 1)
    return table.select([place for place, name in enumerate(names) if name])


def _is_id(name: str) -> bool:
    return name.lower() in USUAL["id"]


def _numbers_rows(column: pa.ChunkedArray) -> bool:
    """Whether a column is blank, or only counts the rows from 0 or 1."""
    cells = pc.fill_null(column.cast(pa.string()), "")
    if not pc.any(pc.not_equal(pc.utf8_trim_whitespace(cells), "")).as_py():
        return True
    counts = [pa.array(range(first, first + len(cells))).cast(pa.string()) for first in (0, 1)]
    return any(pc.all(pc.equal(cells, each)).as_py() for each in counts)


def _fast_columns(path: str | os.PathLike[str], reader: CsvReader) -> list[pa.ChunkedArray] | None:
    """The columns as text, read by Arrow; None if a row, a cell or a letter is out of the ordinary."""
    if reader.blanks:
        return None
    names, encoding = reader.schema.names, encoding_of(path)
    try:
        table = pa.csv.read_csv(
            os.fspath(path),
            read_options=pa.csv.ReadOptions(
                use_threads=False,
                column_names=names,
                skip_rows=reader.skipped,
                encoding="utf8" if encoding == "utf-8-sig" else encoding,
            ),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, delimiter=reader.separator),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowInvalid:
        return None
    if any(pc.any(pc.match_substring_regex(column, r"[\r\n]")).as_py() for column in table.columns):
        return None
    return [_unguarded(column) for column in table.columns]


def _unguarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    guarded = pc.match_substring_regex(column, rf"^{GUARDED.pattern}").fill_null(False)
    if not pc.any(guarded).as_py():
        return column
    return pc.if_else(guarded, pc.replace_substring_regex(column, "^'", "", max_replacements=1), column)


def _read_rows(path: str | os.PathLike[str], wrong: dict[int, str]) -> list[pa.ChunkedArray]:
    """The columns as text, read row by row; `wrong` gets the rows that have too few or too many cells.

    Raises
    ------
    CatalogError
        If the file is no text, or a quotation mark that is never closed swallows other rows.
    """
    rows: list[list[str | None]] = []
    try:
        with open_csv(path) as file:
            reader = CsvReader(file)
            count = len(reader.names)
            for cells, problem in reader.rows():
                if problem and any("\n" in cell or "\r" in cell for cell in cells):
                    raise csv.Error(problem)
                if problem:
                    wrong[len(rows)] = problem
                    cells = [cells[0], *[""] * (count - 1)]
                rows.append([text(cell) or None for cell in cells])
    except csv.Error as error:
        raise CatalogError(f"{path}: cannot be read as csv: row {len(rows) + 1}: {error}") from None
    return [pa.chunked_array([pa.array(column, pa.string())]) for column in zip(*rows, strict=True)]


def _write_metadata(path: Path, schema: pa.Schema) -> None:
    from .._utils.files import write_text

    write_text(metadata_path(path), metadata_text(path.name, schema))


FORMAT = Format("csv", (".csv", ".tsv"), read_csv, write_csv, vectors=False, companion=_write_metadata)
