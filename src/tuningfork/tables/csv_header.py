"""The first lines of a CSV file: comments, titles, the columns' names and units, and what separates cells."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .angles import NO_UNIT, is_angle_unit
from .column_roles import USUAL, is_position_name
from .formats import ECSV

__all__ = ["MAX_LINE", "Header", "csv_encoding", "read_header"]

#: Characters of a line; a longer one is no line.
MAX_LINE = 2**20
#: Comment lines before the header.
MAX_COMMENTS = 1000
#: What may separate cells; where the header leaves it open, the first of them.
_SEPARATORS = (",", ";", "\t", "|")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: The first line by which spreadsheets learn the separator.
_SPREADSHEET = re.compile(r"\"?sep=(.)\"?\s*", re.IGNORECASE)
_OTHER_FORMAT = re.compile(r"\s*(<(\?xml|!doctype|html|votable)|\{|\[\s*\{)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_USUAL = {name for names in USUAL.values() for name in names}
#: Columns of names, which have no unit.
_NAMES = {name for role in ("id", "path", "bytes") for name in USUAL[role]}
_STARTS_AS_NUMBER = re.compile(r"\s*[+-]?\.?\d")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
#: Lines of dashes under the names, as VizieR and databases print them; two dashes are a masked cell.
_RULE = re.compile(r"[\s|+:;,=-]*[-=]{3}[\s|+:;,=-]*")


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a CSV file.

    Parameters
    ----------
    names : list of str
        Empty if there is no header.
    units : list of str
        Of a line of units below the names, as VizieR writes it; "" for none.
    skipped : int
        Lines before the rows.
    ahead : list of str
        Lines of the rows that were read already.
    separator : str
    blanks : bool
        Whether blanks stand before the quotation marks of cells, as in ``"id", "ra"``.
    """

    names: list[str]
    units: list[str]
    skipped: int
    ahead: list[str]
    separator: str
    blanks: bool = False


def csv_encoding(start: bytes) -> str:
    """The encoding of a CSV file that begins with these bytes: UTF-8, or UTF-16 as its mark or its zeros say."""
    if start.startswith(_UTF16):
        return "utf-16"
    if len(start) > 1 and 0 in start[:2] and any(start[:2]):
        return "utf-16-le" if start[0] else "utf-16-be"
    return "utf-8-sig"


def read_header(lines: Iterator[str]) -> Header:
    """Read lines up to the first row; see `Header`.

    Raises
    ------
    csv.Error
        If there is no header, or the lines are those of another format.
    """
    reader = _Lines(lines)
    separator = ""
    comments: list[str] = []
    while line := reader.next():
        if line.startswith(ECSV):
            raise csv.Error("it is ECSV, whose header says more than CSV can; name it .ecsv")
        if match := _OTHER_FORMAT.match(line):
            kind = "JSON" if match[0][0] in "{[" else "XML or HTML"
            raise csv.Error(f"it is {kind}, not CSV; is its extension right?")
        if _CONTROL.search(line):
            raise csv.Error("it is no text; is its extension right?")
        if not comments and not separator and (match := _SPREADSHEET.fullmatch(line)):
            separator = match[1]
        elif line.startswith("#") and reader.number <= MAX_COMMENTS:
            comments.append(line.lstrip("#"))
        else:
            break
    separator = separator or _separator(line or (comments[-1] if comments else ""))
    commented = [cells_of(comment, separator) for comment in comments[-2:]]
    units = _units(commented[1], commented[0]) if len(commented) == 2 else []
    if units:
        del comments[-1], commented[-1]
    names = commented[-1] if commented else []
    if not line:
        names = names if len(names) > 1 else []
        return Header(names, _fitting(units, names), 0, [], separator)
    cells = cells_of(line, separator)
    if _is_header(names, cells):
        return Header(
            names, _fitting(units, names), reader.number - 1, [line], separator, _has_blanks([line], separator)
        )
    if len(cells) == 1:
        _check_blanks([line, *comments[-1:]])
        cells, separator = _below_title(reader, cells, separator)
    skipped, header = reader.number, line
    while line := reader.peek():
        row = cells_of(line, separator)
        below = [] if units else _units(row, cells)
        if not below and not _RULE.fullmatch(line):
            break
        units = units or below
        reader.drop()
        skipped = reader.number
    blanks = _has_blanks([header, *reader.ahead], separator)
    return Header(cells, _fitting(units, cells), skipped, reader.ahead, separator, blanks)


class _Lines:
    """Lines that are not blank, with their numbers from 1, and a look at those to come."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.number = 0
        #: Lines that were looked at, blank ones included.
        self.ahead: list[str] = []

    def next(self) -> str:
        """The next line; "" at the end."""
        if line := self.peek():
            self.drop()
        return line

    def peek(self) -> str:
        """The line that `next` would give."""
        if self.ahead and self.ahead[-1].strip():
            return self.ahead[-1]
        for line in self._lines:
            if len(line) >= MAX_LINE:
                raise csv.Error(f"a line is longer than {MAX_LINE} characters")
            if not self.number and not self.ahead:
                line = line.lstrip("\ufeff")
            self.ahead.append(line)
            if line.strip():
                return line
        return ""

    def drop(self) -> None:
        """Go on to the line behind the one that was looked at."""
        self.number += len(self.ahead)
        self.ahead = []


def _has_blanks(lines: Sequence[str], separator: str) -> bool:
    """Whether blanks stand between separators and quotation marks."""
    return any(re.search(rf'(^|{re.escape(separator)}) +"', line) for line in lines)


def cells_of(line: str, separator: str) -> list[str]:
    """The cells of a line, without blanks around them."""
    return [
        cell.strip().strip("\ufeff")
        for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    ]


def _separator(line: str) -> str:
    splits = [each for each in _SEPARATORS if len(cells_of(line, each)) > 1]
    return next((each for each in splits if _is_usual(cells_of(line, each))), splits[0] if splits else ",")


def _is_usual(cells: Sequence[str]) -> bool:
    return any(cell.lower() in _USUAL for cell in cells)


def _is_header(comment: Sequence[str], first: Sequence[str]) -> bool:
    """Whether a comment line names the columns of the line behind it."""
    if len(comment) != len(first) or len(first) < 2:
        return False
    usual = [_is_usual(cells) for cells in (comment, first)]
    numbers = [any(_NUMBER.fullmatch(cell) for cell in cells) for cells in (comment, first)]
    return numbers == [False, True] or (usual == [True, False] and not any(numbers))


def _check_blanks(lines: Sequence[str]) -> None:
    """Raise csv.Error if the header is one cell in which names stand with blanks between."""
    for line in lines:
        words = line.split()
        if len(words) > 1 and sum(word.lower() in _USUAL for word in words) > 1:
            raise csv.Error("its cells are separated by blanks; save it with commas or tabs between them")


def _below_title(reader: _Lines, cells: list[str], separator: str) -> tuple[list[str], str]:
    """The columns' names and the separator, of the line below where the first is a title of one cell."""
    below = reader.peek()
    below_separator = _separator(below)
    names = cells_of(below, below_separator)
    if len(names) < 2 or _is_usual(cells):
        return cells, separator
    if not _is_usual(names):
        raise csv.Error(
            f"the first line, {cells[0][:40]!r}, is no header: it has 1 cell, and the next line {len(names)}"
        )
    reader.drop()
    return names, below_separator


def _units(row: Sequence[str], names: Sequence[str]) -> list[str]:
    """The units that a line below the names gives, "" for none; empty if it is no such line."""
    if len(row) != len(names):
        return []
    if not any(is_position_name(name) and is_angle_unit(cell) for cell, name in zip(row, names, strict=True)):
        return []
    for cell, name in zip(row, names, strict=True):
        is_blank = cell.lower() in NO_UNIT
        if _STARTS_AS_NUMBER.match(cell) or (name.lower() in _NAMES and not is_blank):
            return []
    return ["" if cell.lower() in NO_UNIT else cell for cell in row]


def _fitting(units: list[str], names: Sequence[str]) -> list[str]:
    return units if len(units) == len(names) else [""] * len(names)
