"""Angles and positions on the sky: degrees, hours, radians or sexagesimal text → ICRS degrees."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.errors import InputError, TuningforkError
from .columns import about, name_and_unit

__all__ = [
    "NO_UNIT",
    "AngleError",
    "Position",
    "PositionColumns",
    "degrees_per_unit",
    "hours_warning",
    "is_angle_unit",
    "is_blank",
    "parse_angle",
    "parse_declination",
    "parse_right_ascension",
    "parse_size",
    "position",
    "size_unit",
]

#: Positions after which right ascensions that are all below 24 look like hours.
ENOUGH = 20
_RADIAN = math.degrees(1)
_RADIANS = ("rad", "radian", "radians")
#: Units by their names in headers and behind numbers, as degrees; any other is astropy's to know.
_UNITS = {
    **dict.fromkeys(("deg", "degs", "degree", "degrees", "d", "°", "d:m:s", "dd:mm:ss", "dms", "d m s"), 1.0),
    **dict.fromkeys(("hourangle", "hour", "hours", "hr", "hrs", "h", "h:m:s", "hh:mm:ss", "hms", "h m s"), 15.0),
    **dict.fromkeys(_RADIANS, _RADIAN),
    **dict.fromkeys(("arcmin", "arcmins", "arcminute", "arcminutes", "'", "′"), 1 / 60),
    **dict.fromkeys(("arcsec", "arcsecs", "arcsecond", "arcseconds", "asec", '"', "″", "''"), 1 / 3600),
    "mas": 1 / 3.6e6,
}
#: How headers spell sexagesimal columns: HH:MM:SS.SS, "h m s".
_NOTATION = re.compile(r"([hd])+[:. ]*m+[:. ]*s+(\.s+)?")
#: What headers write for "no unit".
NO_UNIT = ("", "-", "--", "---", "none", "null", "unitless")
#: Words for nothing, also those of R and SQL, and the errors of spreadsheets.
_BLANK = frozenset(
    (
        *("", "nan", "none", "null", "--", "na", "n/a", "<na>", "<null>", "\\n", "#n/a", "#na", "#value!", "#ref!"),
        *("#name?", "#div/0!", "#num!", "#null!"),
    )
)
#: The reason of a row whose position is blank.
_EMPTY = "no position"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\D*)", re.ASCII)
_SEXAGESIMAL = re.compile(
    r"([+-]?)\s*(\d+)\s*([:hdʰᵈ°\s])\s*(\d+(?:\.\d*)?)\s*"
    r"(?:[:mᵐ′'\s]\s*(?:(\d+(?:\.\d*)?)\s*(?:[sˢ″\"]|''|′′)?)?)?",
    re.IGNORECASE | re.ASCII,
)
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


class AngleError(TuningforkError, ValueError):
    """A cell that is no angle, or one out of its range; the message does not name the column."""


@lru_cache
def degrees_per_unit(unit: str) -> float | None:
    """How many degrees one `unit` is; None for no unit.

    Raises
    ------
    AngleError
        If it is no unit of an angle.

    Examples
    --------
    >>> degrees_per_unit("hourangle"), degrees_per_unit('"h:m:s"'), degrees_per_unit("")
    (15.0, 15.0, None)
    """
    name = unit.strip().lower()
    if name in NO_UNIT:
        return None
    # VizieR writes "h:m:s" with its quotation marks.
    known = _UNITS.get(name) or _UNITS.get(name.strip("\"'[]. "))
    if known is not None:
        return known
    if match := _NOTATION.fullmatch(name.strip("\"'")):
        return 15.0 if match[1] == "h" else 1.0
    try:
        from astropy.units import Unit

        return float(Unit(unit).to("deg"))
    except (ImportError, ValueError, TypeError):
        raise AngleError(f"{unit!r} is no unit of an angle") from None


def is_angle_unit(word: str) -> bool:
    """Whether a cell is the unit of an angle as headers spell it out; `h` or `d` alone may be anything.

    Examples
    --------
    >>> is_angle_unit("deg"), is_angle_unit('"h:m:s"'), is_angle_unit("mag"), is_angle_unit("d")
    (True, True, False, False)
    """
    name = word.strip().strip("\"'[]()").lower()
    return len(name) > 1 and (name in _UNITS or bool(_NOTATION.fullmatch(name)))


def is_blank(value: object) -> bool:
    """Whether a cell holds nothing: null, NaN, or a word for it, as is ``####``, a number that did not fit its cell."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return value is None or value != value
    cell = value.strip(" \0\t\r\n").lower()
    return cell in _BLANK or not cell.strip("#")


def parse_angle(value: object, unit: str = "", *, in_hours: bool = False) -> float:
    """Parse an angle in any of the usual notations into degrees.

    Parameters
    ----------
    value : float, int or str
        A number (of `unit`), a number with its own unit (``2.62 rad``, ``10.5h``), or sexagesimal text:
        ``10h00m24s``, ``+02d12m21.6s``, ``10:00:24``, ``10 00 24``.
    unit : str
        Of the column; "" for degrees. A unit within the text takes precedence.
    in_hours : bool
        Whether sexagesimal text without letters and without a unit is hours, as right ascensions are.

    Returns
    -------
    float
        Degrees, of any size.

    Raises
    ------
    AngleError
        If it is none of these.

    Examples
    --------
    >>> parse_angle("10:00:24", in_hours=True), parse_angle("-00:30"), parse_angle("0.1h"), parse_angle(90, "arcmin")
    (150.1, -0.5, 1.5, 1.5)
    """
    factor = degrees_per_unit(unit)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise AngleError(f"{str(value)[:40]!r} is no angle")
        return number * (factor or 1.0)
    text = value.strip().replace("−", "-").replace("–", "-")
    if _DECIMAL_COMMA.fullmatch(text):
        raise AngleError(f"{value[:40]!r} has a decimal comma; write a point")
    if match := _NUMBER.fullmatch(text):
        number, suffix = float(match[1]), match[2].strip()
        if not math.isfinite(number):
            raise AngleError(f"{value[:40]!r} is no angle")
        return number * ((degrees_per_unit(suffix) if suffix else factor) or 1.0)
    if match := _SEXAGESIMAL.fullmatch(text):
        return _sexagesimal(match, value, factor, in_hours)
    raise AngleError(f"{value[:40]!r} is no angle; write degrees (150.1), or sexagesimal (10:00:24.0)")


def _sexagesimal(match: re.Match[str], value: str, factor: float | None, in_hours: bool) -> float:
    sign, whole, mark, minutes, seconds = match.groups()
    if mark.lower() in "hʰ":
        scale = 15.0
    elif mark.lower() in "dᵈ°":
        scale = 1.0
    elif factor in (None, 1.0, 15.0):
        if factor == 1.0 and in_hours:
            raise AngleError(
                f"{value[:40]!r} may be hours or, by the column's unit, degrees; write 10h00m24s or 150d06m00s"
            )
        scale = factor or (15.0 if in_hours else 1.0)
    else:
        raise AngleError(f"{value[:40]!r} is sexagesimal, which the column's unit is not; correct the unit")
    if float(minutes) >= 60 or float(seconds or 0) >= 60 or (seconds and "." in minutes):
        raise AngleError(f"{value[:40]!r} is no angle: minutes and seconds are below 60")
    number = (int(whole) * 3600 + float(minutes) * 60 + float(seconds or 0)) / 3600
    return (-number if sign == "-" else number) * scale


def parse_right_ascension(value: object, unit: str = "") -> float:
    """Parse a right ascension into degrees in [0, 360); see `parse_angle`.

    Values of -360…720 degrees are taken modulo 360; anything beyond, such as -999, is no position.

    Examples
    --------
    >>> parse_right_ascension(-149.5), parse_right_ascension("10 00 24"), parse_right_ascension(360)
    (210.5, 150.1, 0.0)
    """
    degrees = parse_angle(value, unit, in_hours=True)
    if not -360 <= degrees <= 720:
        raise AngleError(f"{degrees:g} is outside of 0…360 degrees")
    return _modulo(degrees)


def _modulo(degrees: float) -> float:
    # The remainder of a tiny negative number rounds to 360.
    return 0.0 if (rest := degrees % 360.0) == 360.0 else rest


def parse_declination(value: object, unit: str = "") -> float:
    """Parse a declination into degrees in [-90, 90]; see `parse_angle`.

    Examples
    --------
    >>> parse_declination("-00:30:00"), parse_declination("+02d12m00s")
    (-0.5, 2.2)
    """
    degrees = parse_angle(value, unit)
    if not -90 <= degrees <= 90:
        raise AngleError(f"{degrees:g} is outside of -90…90 degrees")
    return degrees


def parse_size(value: object, unit: str = "") -> float:
    """Parse an angular size into arcseconds; a number without a unit is in arcseconds.

    Raises
    ------
    AngleError
        If it is no angle above 0.

    Examples
    --------
    >>> parse_size(0.5, "arcmin"), parse_size("12"), parse_size("1.5 arcmin")
    (30.0, 12.0, 90.0)
    """
    arcsec = math.nan if is_blank(value) else parse_angle(value, unit or "arcsec") * 3600
    if not arcsec > 0:
        raise AngleError(f"{str(value)[:40]!r} is no angle above 0, arcsec")
    # Conversions to degrees and back shall not spoil round numbers.
    return float(f"{arcsec:.15g}")


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
            units.append(_checked_unit(_unit(schema.field(name)), name, where))
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
    if unit.lower() in _RADIANS and column.lower().endswith(unit.lower()):
        unit = about(schema.field(column)).get("unit", "")
    return _checked_unit(unit, column, where)


def hours_warning(count: int, greatest: float, column: str = "") -> str:
    """A warning, or "", for `count` right ascensions whose greatest, in degrees, suggests another unit."""
    if count < ENOUGH or not greatest < 24:
        return ""
    name = f" in {column!r}" if column else ""
    return f"all {count} right ascensions{name} are below 24: are they hours? Or radians? Degrees are expected"
