"""Pasted positions: lines of RA and Dec, optionally with a name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ...tables.positions import position
from .uploads import label

__all__ = ["Position", "parse_positions", "position_lines"]

#: Longer lines are no position.
MAX_LINE = 300
_HEADER = re.compile(r"\b(ra|dec|right|declination)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Position:
    """A row: a label and ICRS degrees, or an error; both are NaN then."""

    name: str
    ra: float
    dec: float
    error: str = ""


def position_lines(text: str) -> list[str]:
    """The lines of a text that are positions: without empty lines, comments (#) and a first line of column names."""
    lines = [line for line in (line.strip() for line in text.splitlines()) if line and not line.startswith("#")]
    if lines and len(lines[0]) <= MAX_LINE and _HEADER.search(lines[0]) and not re.search(r"\d", lines[0]):
        del lines[0]
    return lines


def parse_positions(lines: list[str]) -> list[Position]:
    """Parse one position a line: ``RA Dec`` or ``name RA Dec``, separated by spaces, commas, semicolons or tabs.

    Decimal numbers are degrees. With colons or letters (``12:22:54.9 +15:49:21``, ``12h22m54.9s +15d49m21s``)
    RA is in hours, as is usual.
    """
    return [_position(line, number) for number, line in enumerate(lines, 1)]


def _position(line: str, number: int) -> Position:
    if len(line) > MAX_LINE:
        return Position(label(line[:MAX_LINE], number), math.nan, math.nan, f"a line of {len(line)} characters")
    separator = next((sign for sign in "\t,;" if sign in line), None)
    cells = [cell for cell in (part.strip() for part in line.split(separator)) if cell]
    name = label(" ".join(cells[:-2]) or line, number)
    if len(cells) < 2:
        return Position(name, math.nan, math.nan, "a line has RA and Dec, such as 185.7289 15.8223")
    parsed = position(cells[-2], cells[-1])
    if parsed.reason:
        which = f"{parsed.column} {cells[-2] if parsed.column == 'RA' else cells[-1]}"
        return Position(name, math.nan, math.nan, f"{which[:60]}: {parsed.reason}")
    return Position(name, parsed.ra, parsed.dec)
