"""Positions on the sky: the columns of a table that hold them, with their units → ICRS degrees."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.errors import InputError
from .angles import (
    NO_UNIT,
    RADIANS,
    AngleError,
    degrees_per_unit,
    is_blank,
    parse_declination,
    parse_right_ascension,
)
from .columns import about, name_and_unit

__all__ = ["Position", "PositionColumns", "hours_warning", "position", "size_unit"]

#: Positions after which right ascensions that are all below 24 look like hours.
ENOUGH = 20
#: The reason of a row whose position is blank.
_EMPTY = "no position"
#: Equinoxes other than J2000, in names of columns; and names of coordinates that are not the equator's.
_OTHER_EQUINOX = re.compile(r"19[05]0|1875|1855")
_OTHER_NAME = re.compile(
    r"_?(sg|g|e)(lon|lat)(_.*)?|(super)?(gal|ecl)(actic|iptic)?[_ ]?(l|b|lon|lat|longitude|latitude)|[lb](ii)?"
    r"|az(imuth)?|alt(itude)?",
    re.IGNORECASE,
)
#: What brackets behind a column's name may hold that is no unit.
_EQUINOX = re.compile(r"(ICRS|FK5)?[ ,;_]*J?2000(\.0)?|ICRS|FK5", re.IGNORECASE)
#: Systems of coordinates, by the words of UCD1+, that are not the equator's.
_OTHER_FRAMES = ("pos.galactic", "pos.ecliptic", "pos.supergalactic", "pos.az", "pos.cartesian", "pos.earth")

Floats = NDArray[np.float64]


class Position(NamedTuple):
    """A position (ICRS, degrees); NaN if there is none, and then the reason and the column at fault."""

    ra: float
    dec: float
    reason: str = ""
    column: str = ""

    @property
    def error(self) -> str:
        """The reason with the column's name; "" for a good position."""
        if self.reason == _EMPTY:
            return f"{_EMPTY}: column {self.column!r} is empty"
        return self.reason and f"column {self.column!r}: {self.reason}"


def position(ra: object, dec: object) -> Position:
    """Parse a position as people write it, without a table around it."""
    return PositionColumns("RA", "Dec").read(ra, dec)


@dataclass(frozen=True, slots=True)
class PositionColumns:
    """The columns of a table that hold its positions, with their units ("" for none)."""

    ra: str
    dec: str
    ra_unit: str = ""
    dec_unit: str = ""

    @classmethod
    def of(cls, ra: str, dec: str, schema: pa.Schema, where: str) -> PositionColumns:
        """Look up the units of two columns of the table `where`.

        Raises
        ------
        InputError
            If a unit is none of an angle, or the coordinates are not those of the equator of J2000.
        """
        units = []
        for name in (ra, dec):
            known = about(schema.field(name))
            if known.get("ucd", "").lower().startswith(_OTHER_FRAMES):
                raise InputError(
                    f"{where}: column {name!r} is {known['ucd']!r}; right ascension and declination are needed"
                )
            frame = known.get("frame") or (_OTHER_EQUINOX.search(name) and "of another equinox, by its name")
            if not frame and _OTHER_NAME.fullmatch(name_and_unit(name)[0]) and not known.get("ucd"):
                frame = "no right ascension or declination, by its name"
            if frame:
                raise InputError(f"{where}: column {name!r} is {frame}; convert the positions to ICRS or J2000")
            unit = _checked_unit(_unit(schema.field(name)), name, where)
            if name == dec and degrees_per_unit(unit) == degrees_per_unit("hourangle"):
                raise InputError(f"{where}: column {name!r} is in {unit}, which no declination is; correct the unit")
            units.append(unit)
        return cls(ra, dec, *units)

    def read(self, ra: object, dec: object) -> Position:
        """Parse the two cells of a row; never raises."""
        values = []
        for name, cell, unit, parse in (
            (self.ra, ra, self.ra_unit, parse_right_ascension),
            (self.dec, dec, self.dec_unit, parse_declination),
        ):
            if is_blank(cell):
                return Position(math.nan, math.nan, _EMPTY, name)
            try:
                values.append(parse(cell, unit))
            except AngleError as error:
                return Position(math.nan, math.nan, str(error), name)
        return Position(values[0], values[1])

    def read_table(self, table: pa.Table) -> tuple[Floats, dict[int, Position]]:
        """Parse all positions of a table.

        Returns
        -------
        positions : (N, 2) float64
            Right ascension and declination, ICRS degrees; NaN where there is none.
        failures : dict
            Row, counted from 0 → what is wrong with it.
        """
        positions = np.full((len(table), 2), np.nan)
        numeric = [_numeric(table[name]) for name in (self.ra, self.dec)]
        todo = np.arange(len(table))
        if numeric[0] is not None and numeric[1] is not None:
            ra = numeric[0] * (degrees_per_unit(self.ra_unit) or 1.0)
            dec = numeric[1] * (degrees_per_unit(self.dec_unit) or 1.0)
            with np.errstate(invalid="ignore"):
                good = (ra >= -360) & (ra <= 720) & (np.abs(dec) <= 90)
                wrapped = np.mod(ra, 360.0)
            positions[good] = np.stack([np.where(wrapped == 360.0, 0.0, wrapped), dec], 1)[good]
            todo = np.flatnonzero(~good)
        failures: dict[int, Position] = {}
        cells = [table[name].take(pa.array(todo)).to_pylist() for name in (self.ra, self.dec)]
        for row, ra_cell, dec_cell in zip(todo.tolist(), *cells, strict=True):
            parsed = self.read(ra_cell, dec_cell)
            if parsed.reason:
                failures[row] = parsed
            else:
                positions[row] = parsed.ra, parsed.dec
        return positions, failures


def _numeric(column: pa.ChunkedArray) -> Floats | None:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        # An integer that a float cannot hold is no angle anyway.
        return column.cast(pa.float64(), safe=False).to_numpy()
    return None


def _unit(field: pa.Field) -> str:
    """The unit of a column, by what the table says of it or, where that is nothing, by its name; "" for none."""
    unit = about(field).get("unit", "")
    if unit.strip().lower() not in NO_UNIT:
        return unit
    words = re.split(r"\s*[,;]\s*", name_and_unit(field.name)[1])
    return ", ".join(word for word in words if not _EQUINOX.fullmatch(word))


def _checked_unit(unit: str, column: str, where: str) -> str:
    try:
        degrees_per_unit(unit)
    except AngleError as error:
        raise InputError(f"{where}: column {column!r}: {error}; give degrees, or correct the unit") from None
    return unit


def size_unit(column: str, schema: pa.Schema, where: str) -> str:
    """The unit of a column of angular sizes, "" for arcseconds. Raises InputError if it is none of an angle."""
    unit = _unit(schema.field(column))
    # `petro_rad` is a radius.
    if unit.lower() in RADIANS and column.lower().endswith(unit.lower()):
        unit = about(schema.field(column)).get("unit", "")
    return _checked_unit(unit, column, where)


def hours_warning(count: int, greatest: float, column: str = "") -> str:
    """A warning, or "", for `count` right ascensions whose greatest, in degrees, suggests another unit."""
    if count < ENOUGH or not greatest < 24:
        return ""
    name = f" in {column!r}" if column else ""
    return f"all {count} right ascensions{name} are below 24: are they hours? Or radians? Degrees are expected"
