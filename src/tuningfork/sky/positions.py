"""An angle as people write it → ICRS degrees: decimal or sexagesimal."""

from __future__ import annotations

import math
import re

__all__ = ["degrees"]

_SEXAGESIMAL = re.compile(r"^[+−-]?\d{1,3}(?:[:hdms°'\" ]+\d{1,2}){1,2}(?:\.\d*)?[ms'\"′″]?$")


def degrees(value: object, column: str, *, is_ra: bool) -> tuple[float, str]:
    """A cell's angle in degrees, and "" or why there is none, naming the column; it is NaN then.

    Numbers and their texts are degrees; sexagesimal right ascensions are hours, declinations degrees
    (``12:34:56.7 -01:02:03``, ``12h34m56.7s``).
    """
    least, most = (0, 360) if is_ra else (-90, 90)
    if isinstance(value, str) and _SEXAGESIMAL.match(value.strip()):
        from astropy.coordinates import Angle

        try:
            number = float(Angle(value.strip().replace("−", "-"), unit="hourangle" if is_ra else "deg").deg)
        except ValueError:  # minutes or seconds of 60 and above, too
            return math.nan, f"column {column!r}: {_shown(value)} is no angle"
    else:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
            if value is not None and str(value).strip():
                return math.nan, f"column {column!r}: {_shown(value)} is no number of degrees"
    if math.isnan(number):
        return math.nan, f"no position: column {column!r} is empty"
    if not least <= number <= most:
        return math.nan, f"column {column!r}: {number:g} is outside of {least:g}…{most:g} degrees"
    return number, ""


def _shown(value: object) -> str:
    return repr(str(value)[:40])
