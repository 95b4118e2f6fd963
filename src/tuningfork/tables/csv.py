"""CSV, read and written: the only place that knows of quotation marks, comment lines and spreadsheets' formulas."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from .._utils.text import text
from .column_roles import USUAL
from .columns import meaning, plain_schema
from .csv_header import csv_encoding, read_header
from .csvw import metadata_path, metadata_text, with_metadata
from .formats import CatalogError, Format

__all__ = [
    "CsvReader",
    "FORMAT",
    "csv_error",
    "csv_text",
    "number_types",
    "read_dicts",
    "read_csv",
    "strict_rows",
    "write_csv",
    "write_rows",
]

#: What spreadsheets take for a formula (OWASP, "CSV Injection"); a number is none. Such a text is written with an
#: apostrophe before it, which reading takes away again.
_FORMULA, _NUMBER = r"^'*[=+\-@\t\r]", r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_GUARDED = re.compile(r"'+[=+\-@\t\r]")
#: What reading raises for what is no CSV.
csv_error = csv.Error


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


class CsvReader:
    """Read CSV from lines, row by row; a row with too few or too many cells is a problem, those after it are good.

    Blank lines, a title and comment lines (``#``) before the header are left out; a comment line may be the header
    itself. A line of units below the names is read as such.

    Parameters
    ----------
    lines : iterable of str
        With their line breaks.

    Attributes
    ----------
    names : list of str
        The columns; empty if there is no header.
    units : list of str
        Of the columns; "" for none.
    separator : str
        What separates cells: a comma, semicolon, tab or bar, as the header shows.

    Raises
    ------
    csv.Error
        If a line is no line, or the header cannot be read.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        lines = iter(lines)
        header = read_header(lines)
        self.names, self.units, self.separator = header.names, header.units, header.separator
        self.skipped = header.skipped
        self._reader = csv.reader(chain(header.ahead, lines), delimiter=self.separator)

    @property
    def schema(self) -> pa.Schema:
        """The columns, each of text, with the units of a line below their names."""
        return pa.schema(
            [
                pa.field(text(name), pa.string(), metadata=meaning(unit=text(unit) or None) or None)
                for name, unit in zip(self.names, self.units, strict=True)
            ]
        )

    def rows(self, wanted: Sequence[int] | None = None) -> Iterator[tuple[list[str], str]]:
        """The cells of each row that is not blank, and "" or what is wrong with it.

        Parameters
        ----------
        wanted : sequence of int, optional
            The columns whose cells must be of one line, and which are returned; None: all.

        Raises
        ------
        csv.Error
            If the rows that follow are lost.
        """
        line = 0
        for row in self._reader:
            first, line = line + 1, self._reader.line_num
            if not row:
                continue
            # A quotation mark that is not closed swallows rows.
            lines = f"lines {first + self.skipped} to {line + self.skipped}: is a quotation mark not closed?"
            where = f" ({lines})" if line > first else ""
            cells = row if wanted is None or len(row) != len(self.names) else [row[place] for place in wanted]
            if len(row) != len(self.names):
                yield row, f"{len(row)} cells where the header has {len(self.names)}; mend the row{where}"
            elif line > first and any("\n" in cell or "\r" in cell for cell in cells):
                yield cells, f"a cell holds more than one line{where}"
            else:
                yield [cell[1:] if _GUARDED.match(cell) else cell for cell in cells], ""


def _encoding(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return csv_encoding(file.read(2))


def strict_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The number of the line, from 1, and the cells of each row that is not blank; a cell ends in its line.

    Raises
    ------
    csv_error
        If a quotation mark is out of place; its argument is the number of the line.
    """
    reader = csv.reader(lines, strict=True)
    line = 1
    try:
        for cells in reader:
            if reader.line_num > line:
                raise csv.Error
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error:
        raise csv.Error(line) from None


def read_dicts(path: str | os.PathLike[str], needed: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a small CSV file, each as a mapping of the columns' names to text.

    Raises
    ------
    CatalogError
        If the file is missing or no CSV, or lacks one of the columns `needed`.
    """
    try:
        with open(path, encoding=_encoding(path), newline="") as file:
            reader = CsvReader(file)
            if not set(needed) <= set(reader.names):
                raise CatalogError(f"{path}: columns {' and '.join(needed)} are expected")
            return [dict(zip(reader.names, cells, strict=False)) for cells, _ in reader.rows()]
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file; check its name") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path}: cannot be read as csv: {error}") from None


def read_csv(path: str | os.PathLike[str], *, text: bool = False, problems: dict[int, str] | None = None) -> pa.Table:
    """Read a CSV file.

    Parameters
    ----------
    text : bool
        Whether every cell stays text. Else columns have the type that all their cells have; identifiers that would
        lose leading zeros stay text.
    problems : dict, optional
        With `text`: gets the rows, counted from 0, with too few or too many cells, and what is wrong with each; all
        but the first of their cells are null. Without it such a row is an error.

    Raises
    ------
    CatalogError, OSError, pa.ArrowInvalid
        If the file is empty, missing, or no CSV.
    """
    encoding = _encoding(path)
    with open(path, encoding=encoding, errors="replace", newline="") as file:
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
    ids = {name for name in names if name.lower() in USUAL["id"]}
    types = dict.fromkeys(names if text else ids, pa.string())
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
            convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""]),
        )
    except pa.ArrowInvalid:
        ragged = None
        if text and problems is not None and len(set(names)) == len(names):
            ragged = _read_ragged(path, names, problems)
        if ragged is None:
            raise
        table = ragged
    columns = [
        _unguarded(column if text or name not in ids else _integers(column))
        for name, column in zip(names, table.columns, strict=True)
    ]
    schema = pa.schema([field.with_type(column.type) for field, column in zip(reader.schema, columns, strict=True)])
    return pa.Table.from_arrays(columns, schema=with_metadata(schema, path))


def _unguarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_string(column.type):
        return column
    guarded = pc.match_substring_regex(column, rf"^{_GUARDED.pattern}").fill_null(False)
    if not pc.any(guarded).as_py():
        return column
    return pc.if_else(guarded, pc.replace_substring_regex(column, "^'", "", max_replacements=1), column)


def _integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as integers, if that is what all of it is."""
    try:
        numbers = column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column
    return numbers if numbers.cast(pa.string()).equals(column) else column


def number_types(table: pa.Table) -> dict[str, pa.DataType]:
    """The columns of text that are numbers throughout: name → int64 or float64, where no digit is lost."""
    types: dict[str, pa.DataType] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_string(column.type) or column.null_count == len(column):
            continue
        if pa.types.is_integer(_integers(column).type):
            types[name] = pa.int64()
            continue
        # Leading zeros and many digits are those of identifiers.
        if pc.any(pc.match_substring_regex(column, r"^[+-]?(0[0-9]|[0-9]{16})")).as_py():
            continue
        try:
            column.cast(pa.float64())
        except pa.ArrowInvalid:
            continue
        types[name] = pa.float64()
    return types


def _read_ragged(path: str | os.PathLike[str], names: list[str], problems: dict[int, str]) -> pa.Table | None:
    """Cells as text; None if the file is no text, or a quotation mark that is never closed swallows other rows."""
    rows: list[list[str | None]] = []
    wrong: dict[int, str] = {}
    try:
        with open(path, encoding=_encoding(path), newline="") as file:
            for cells, problem in CsvReader(file).rows():
                if len(cells) != len(names):
                    if any("\n" in cell for cell in cells):
                        return None
                    wrong[len(rows)] = problem
                    cells = [cells[0], *[""] * (len(names) - 1)]
                rows.append([cell or None for cell in cells])
    except (UnicodeDecodeError, csv.Error):
        return None
    problems |= wrong
    return pa.table([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=names)


def _write_metadata(path: Path, schema: pa.Schema) -> None:
    from .._utils.files import write_text

    write_text(metadata_path(path), metadata_text(path.name, schema))


FORMAT = Format("csv", (".csv", ".tsv"), read_csv, write_csv, vectors=False, companion=_write_metadata)
