"""A submission to Kaggle's Galaxy Challenge as a file: its columns and rows, or its first fault."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from ..tables import format_of, has_format
from ..tables.csv_rows import csv_error, strict_rows
from ..votes.tree import DecisionTree

__all__ = ["SubmissionError", "read_header", "read_rows"]

Floats = NDArray[np.float64]
#: A line longer than this is no line of a submission; a file without line ends must not fill the memory.
MAX_LINE = 100_000
#: A cell is shown in an error up to this many characters.
MAX_CELL = 40


class SubmissionError(TuningforkError, ValueError):
    """A submission or solution that cannot be scored; names the first bad line, and what to do about it."""


def read_header(path: str | os.PathLike[str], tree: DecisionTree) -> list[str]:
    """Return the names of a submission's columns, the ID first, if they are those of the challenge in its order.

    Raises
    ------
    SubmissionError
        If a name is missing, unknown, repeated or out of order, or the file is no CSV.
    """
    if not Path(path).exists():
        raise SubmissionError(f"{path}: no such file; check its name")
    if not Path(path).is_file():
        # It is read up to three times, and a pipe can be read once only.
        raise SubmissionError(f"{path}: a folder or a pipe; name a CSV file")
    if has_format(path) and format_of(path).name != "csv":
        raise SubmissionError(f"{path}: a submission is a CSV; write it by `tuningfork predict --format kaggle`")
    expected = [tree.id_columns[0], *tree.columns]
    line, cells = next(_lines(path), (0, []))
    if not cells:
        raise SubmissionError(f"{path}: the file is empty; a line with {expected[0]}, {expected[1]}, … comes first")
    names = [cell.strip() for cell in cells]

    def fault(column: int, reason: str) -> SubmissionError:
        return SubmissionError(f"{path}, line 1, column {column + 1}: {reason}")

    if line > 1:
        raise SubmissionError(f"{path}, line 1: it is blank; begin with the columns' names")
    if names[0] not in tree.id_columns:
        raise fault(0, f"{_excerpt(names[0])} stands where {expected[0]} is expected; {_advice(names, tree)}")
    for column in tree.columns:
        if column not in names:
            near = get_close_matches(column, [name for name in names[1:] if name not in tree.columns], 1, 0.7)
            hint = f"is {_excerpt(near[0])} meant? rename it" if near else "add it"
            raise SubmissionError(f"{path}, line 1: column {column} is missing; {hint}")
    for number, name in enumerate(names[1:], 1):
        if name in names[:number]:
            raise fault(number, f"{_excerpt(name)} came before, in column {names.index(name) + 1}; keep one")
        if name not in tree.columns:
            raise fault(number, f"{_excerpt(name)} is none of the {len(tree.columns)} of the challenge; leave it out")
    for number, (name, wanted) in enumerate(zip(names[1:], tree.columns, strict=True), 1):
        if name != wanted:
            raise fault(number, f"{name} stands where {wanted} is expected; put the columns in the challenge's order")
    return names


def _advice(names: Sequence[str], tree: DecisionTree) -> str:
    first = names[0]
    if not _decodable(first) or "\0" in first:
        return "the file is no text in UTF-8; save it as CSV (UTF-8)"
    if len(names) == 1 and (";" in first or "\t" in first):
        return "separate the cells by commas"
    if not first:
        return "leave out the column of row numbers (pandas: index=False)"
    if set(tree.fraction_names) <= set(names):
        return "write it by `tuningfork predict --format kaggle`"
    return "begin the first line with it"


def read_rows(
    path: str | os.PathLike[str], columns: Sequence[str], position: Mapping[str, int]
) -> tuple[NDArray[np.intp], Floats]:
    """Read the fractions of a submission, one row for each galaxy of the solution.

    Parameters
    ----------
    path : path-like
    columns : sequence of str
        As `read_header` returns them.
    position : mapping of ID → row of the solution

    Returns
    -------
    order : (N,) int
        For each row of the submission, its row in the solution.
    values : (N, A) float64 in [0, 1]
        In the solution's order.

    Raises
    ------
    SubmissionError
        At the first fault.
    """
    return _read_fast(path, columns, position) or _read_carefully(path, columns, position)


def _read_fast(
    path: str | os.PathLike[str], columns: Sequence[str], position: Mapping[str, int]
) -> tuple[NDArray[np.intp], Floats] | None:
    """As `_read_carefully`, in a sixth of the time, or None if anything at all is unusual."""
    values = np.empty((len(position), len(columns) - 1))
    order = np.empty(len(position), np.intp)
    start = 0
    types = {name: pa.float64() for name in columns} | {columns[0]: pa.string()}
    try:
        # An open file, because Arrow would unpack a path that ends in .gz.
        with (
            open(path, "rb") as file,
            pa.csv.open_csv(
                file,
                read_options=pa.csv.ReadOptions(use_threads=False, column_names=columns, skip_rows=1),
                # Quotation marks are the other reader's, since Arrow forgives some that are out of place.
                parse_options=pa.csv.ParseOptions(quote_char=False),
                convert_options=pa.csv.ConvertOptions(column_types=types, null_values=[]),
            ) as batches,
        ):
            for batch in batches:
                rows = [position.get(_unquoted(id_), -1) for id_ in batch.column(0).to_pylist()]
                stop = start + len(rows)
                if -1 in rows or stop > len(order):
                    return None
                order[start:stop] = rows
                values[rows] = np.stack([column.to_numpy() for column in batch.columns[1:]], 1)
                start = stop
    except pa.ArrowException:
        return None
    sound = start == len(order) and len(np.unique(order)) == start and ((values >= 0) & (values <= 1)).all()
    return (order, values) if sound else None


def _read_carefully(
    path: str | os.PathLike[str], columns: Sequence[str], position: Mapping[str, int]
) -> tuple[NDArray[np.intp], Floats]:
    """As `read_rows`, line by line."""
    values = np.empty((len(position), len(columns) - 1))
    line_of: dict[int, int] = {}
    lines = _lines(path)
    next(lines)
    for line, cells in lines:
        id_ = cells[0].strip()

        def fault(column: str, reason: str, line: int = line, id_: str = id_) -> SubmissionError:
            who = f" ({id_ if id_.isprintable() and len(id_) <= MAX_CELL else _excerpt(id_)})" if id_ else ""
            return SubmissionError(f"{path}, line {line}{who}{column and f', column {column}'}: {reason}")

        if len(cells) != len(columns):
            few = "few: give" if len(cells) < len(columns) else "many: keep"
            reason = f"{len(cells)} cells where the header has {len(columns)}, too {few} one for each column"
            raise fault("", reason)
        row = position.get(id_)
        if row is None:
            raise fault(columns[0], _unknown_id(id_, position))
        if row in line_of:
            raise fault(columns[0], f"the ID came before, in line {line_of[row]}; keep one of the two")
        line_of[row] = line
        for number, column in enumerate(columns[1:]):
            try:
                values[row, number] = _fraction(cells[number + 1])
            except ValueError as error:
                raise fault(column, str(error)) from None
    missing = [id_ for id_, row in position.items() if row not in line_of]
    if missing:
        count = f"{len(missing)} of the solution's {len(position)} galaxies"
        raise SubmissionError(f"{path}: {count} have no row, first {missing[0]}; give each galaxy one")
    return np.fromiter(line_of, np.intp, len(line_of)), values


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number, as a text editor counts, and cells of each row; blank lines are skipped.

    A byte that is no UTF-8 becomes a lone surrogate, for the cell that it spoils to be named.
    """
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:

        def bounded() -> Iterator[str]:
            number = 0
            while text := file.readline(MAX_LINE + 1):
                number += 1
                if len(text) > MAX_LINE:
                    raise SubmissionError(f"{path}, line {number}: longer than {MAX_LINE} characters; is it a CSV?")
                yield text

        try:
            yield from strict_rows(bounded())
        except csv_error as error:
            # Also a cell that goes on in the next line: an ID or a number never does.
            reason = "a quotation mark is out of place, or its cell does not end in this line; remove it"
            raise SubmissionError(f"{path}, line {error}: {reason}") from None


def _fraction(cell: str) -> float:
    """The number in a cell; raises ValueError with the reason why it is none from 0 to 1."""
    text = cell.strip()
    if not text:
        raise ValueError("the cell is blank; predict a number from 0 to 1")
    try:
        value = float(text)
    except ValueError:
        value = None
    # Python also reads 1_0 and digits of other scripts, which Kaggle does not.
    if value is None or "_" in text or not text.isascii():
        what = "a number" if _decodable(text) else "text in UTF-8"
        raise ValueError(f"{_excerpt(text)} is not {what}; write a fraction such as 0.25")
    if not 0 <= value <= 1:
        if not math.isfinite(value):
            raise ValueError(f"{_excerpt(text)} is not a finite number; predict one from 0 to 1")
        raise ValueError(f"{_excerpt(text)} is outside [0, 1], where all vote fractions lie (Kaggle takes it); clip it")
    return value


def _unquoted(cell: str) -> str:
    return cell[1:-1] if cell[:1] == cell[-1:] == '"' else cell


def _unknown_id(id_: str, position: Mapping[str, int]) -> str:
    if not id_:
        return "the ID is blank; name the galaxy"
    if not _decodable(id_):
        return "the ID is not text in UTF-8; write it as in the solution"
    try:
        plain = format(float(id_), ".0f")
    except ValueError:
        plain = ""
    if plain in position:
        return f"the ID is not in the solution; write it as {plain}"
    return "the ID is not in the solution; leave the row out, or is this the solution of other galaxies?"


def _decodable(text: str) -> bool:
    return not any("\udc80" <= letter <= "\udcff" for letter in text)


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…")
