"""Angles: degrees, hours, radians or sexagesimal text → degrees."""

from __future__ import annotations

import math
import re
from functools import lru_cache

from .._utils.errors import TuningforkError

__all__ = [
    "BLANK",
    "NO_UNIT",
    "RADIANS",
    "AngleError",
    "degrees_per_unit",
    "is_angle_unit",
    "is_blank",
    "parse_angle",
    "parse_declination",
    "parse_right_ascension",
    "parse_size",
]

_RADIAN = math.degrees(1)
#: Words for radians.
RADIANS = ("rad", "radian", "radians")
#: Units by their names in headers and behind numbers, as degrees; any other is astropy's to know.
_UNITS = {
    **dict.fromkeys(("deg", "degs", "degree", "degrees", "d", "°", "d:m:s", "dd:mm:ss", "dms", "d m s"), 1.0),
    **dict.fromkeys(("hourangle", "hour", "hours", "hr", "hrs", "h", "h:m:s", "hh:mm:ss", "hms", "h m s"), 15.0),
    **dict.fromkeys(RADIANS, _RADIAN),
    **dict.fromkeys(("arcmin", "arcmins", "arcminute", "arcminutes", "'", "′"), 1 / 60),
    **dict.fromkeys(("arcsec", "arcsecs", "arcsecond", "arcseconds", "asec", '"', "″", "''"), 1 / 3600),
    "mas": 1 / 3.6e6,
}
#: How headers spell sexagesimal columns: HH:MM:SS.SS, "h m s".
_NOTATION = re.compile(r"([hd])+[:. ]*m+[:. ]*s+(\.s+)?")
#: What headers write for "no unit".
NO_UNIT = ("", "-", "--", "---", "none", "null", "unitless")
#: Words for nothing, also those of R and SQL, and the errors of spreadsheets.
BLANK = frozenset(
    (
        *("", "nan", "none", "null", "--", "na", "n/a", "<na>", "<null>", "\\n", "#n/a", "#na", "#value!", "#ref!"),
        *("#name?", "#div/0!", "#num!", "#null!"),
    )
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
#: A number of hours by its mark.
_HOURS = re.compile(r"\s*[-+−]?\s*[\d.]+\s*(h|ʰ)", re.IGNORECASE)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\D*)", re.ASCII)
_SEXAGESIMAL = re.compile(
    r"([+-]?)\s*(\d+)\s*([:hdʰᵈ°\s])\s*(\d+(?:\.\d*)?)\s*"
    r"(?:[:mᵐ′'\s]\s*(?:(\d+(?:\.\d*)?)\s*(?:[sˢ″\"]|''|′′)?)?)?",
    re.IGNORECASE | re.ASCII,
)


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
    return cell in BLANK or not cell.strip("#")


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
    if isinstance(value, str) and _HOURS.match(value):
        raise AngleError(f"{value[:40]!r} is in hours, which no declination is; is it the right ascension?")
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
