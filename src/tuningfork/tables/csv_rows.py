"""CSV, row by row: quotation marks, comment lines, rows of another length, and the apostrophes before formulas."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TextIO

import pyarrow as pa

from .columns import meaning
from .csv_header import csv_encoding, read_header
from .formats import CatalogError

__all__ = ["GUARDED", "CsvReader", "csv_error", "encoding_of", "open_csv", "read_dicts", "strict_rows"]

#: Text that got an apostrophe lest a spreadsheet take it for a formula; see `csv`.
GUARDED = re.compile(r"'+[=+\-@\t\r]")
#: What reading raises for what is no CSV.
csv_error = csv.Error


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
        self.skipped, self.blanks = header.skipped, header.blanks
        #: Lines of the row that is read.
        self._row: list[str] = []
        self._reader = csv.reader(self._noted(chain(header.ahead, lines)), **self._dialect)

    @property
    def _dialect(self) -> dict[str, Any]:
        return {"delimiter": self.separator, "skipinitialspace": self.blanks}

    def _noted(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._row.append(line)
            yield line

    @property
    def schema(self) -> pa.Schema:
        """The columns, each of text, with the units of a line below their names."""
        return pa.schema(
            [
                pa.field(_legible(name), pa.string(), metadata=meaning(unit=_legible(unit) or None) or None)
                for name, unit in zip(self.names, self.units, strict=True)
            ]
        )

    def rows(self, wanted: Sequence[int] | None = None) -> Iterator[tuple[list[str], str]]:
        """The cells of each row that is not blank, and "" or what is wrong with it.

        Comment lines (``#``) are left out, and so are blank cells behind the last column.

        Parameters
        ----------
        wanted : sequence of int, optional
            The columns whose cells are returned; None: all.

        Raises
        ------
        csv.Error
            If the rows that follow are lost.
        """
        line, count = 0, len(self.names)
        for row in self._reader:
            first, line = line + 1, self._reader.line_num
            lines = self._row[:]
            self._row.clear()
            if not row:
                continue
            if len(row) > count and not any(cell.strip() for cell in row[count:]):
                del row[count:]
            # A quotation mark that is not closed swallows rows.
            swallowed = f"lines {first + self.skipped} to {line + self.skipped}: is a quotation mark not closed?"
            where = f" ({swallowed})" if line > first else ""
            if len(row) != count:
                if not row[0].startswith("#"):
                    yield row, f"{len(row)} cells where the header has {count}; mend the row{where}"
                continue
            cells = row if wanted is None else [row[place] for place in wanted]
            if where and any("\n" in cell or "\r" in cell for cell in cells) and not self._is_quoted(lines):
                yield cells, f"a cell holds more than one line{where}"
            else:
                yield [cell[1:] if GUARDED.match(cell) else cell for cell in cells], ""

    def _is_quoted(self, lines: list[str]) -> bool:
        """Whether the quotation marks of a row of several lines are where they belong."""
        try:
            return bool(list(csv.reader(lines, strict=True, **self._dialect)))
        except csv.Error:
            return False


def _legible(name: str) -> str:
    """A column's name or unit; one that is no UTF-8, such as ``RA (°)`` of an older spreadsheet, is of Windows-1252."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return name


def open_csv(path: str | os.PathLike[str]) -> TextIO:
    """Open a CSV file; surrogates stand for bytes that are no UTF-8, as they may in names of files."""
    encoding = encoding_of(path)
    errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
    return open(path, encoding=encoding, errors=errors, newline="")


def encoding_of(path: str | os.PathLike[str]) -> str:
    """The encoding of a CSV file; see `csv_encoding`."""
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
        with open(path, encoding=encoding_of(path), newline="") as file:
            reader = CsvReader(file)
            if not set(needed) <= set(reader.names):
                raise CatalogError(f"{path}: columns {' and '.join(needed)} are expected")
            return [dict(zip(reader.names, cells, strict=False)) for cells, _ in reader.rows()]
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file; check its name") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path}: cannot be read as csv: {error}") from None
