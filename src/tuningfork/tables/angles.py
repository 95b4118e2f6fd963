"""An angle as people write it → ICRS degrees: decimal or sexagesimal."""

from __future__ import annotations

import math
import re

__all__ = ["angle", "degrees"]

_SEXAGESIMAL = re.compile(r"[:hd°]|\d\s+\d", re.IGNORECASE)
_BETWEEN = re.compile(r"[:hdms°′″'\"\s]+")


def angle(text: str, *, hours: bool) -> float:
    """Degrees: of a number of degrees, or of one with minutes and seconds (``12:34:56.7``, ``-01d02m03s``).

    Parameters
    ----------
    hours : bool
        Whether minutes and seconds are of hours, as of right ascensions everywhere, not of degrees.

    Raises
    ------
    ValueError
        If it is neither.
    """
    text = text.strip().replace("−", "-")
    if not _SEXAGESIMAL.search(text):
        return float(text)
    sign = -1 if text.startswith("-") else 1
    parts = [float(part) for part in _BETWEEN.split(text.lstrip("+-").lower()) if part]
    if not 1 <= len(parts) <= 3 or any(part < 0 or part >= 60 for part in parts[1:]):
        raise ValueError(text)
    value = sum(part / 60**power for power, part in enumerate(parts))
    return sign * value * (15 if hours else 1)


def degrees(value: object, column: str, *, is_ra: bool) -> tuple[float, str]:
    """A cell's angle in degrees, and "" or why there is none, naming the column; it is NaN then.

    Numbers are degrees, texts are read by `angle`.
    """
    least, most = (0, 360) if is_ra else (-90, 90)
    if value is None or str(value).strip().lower() in ("", "nan"):
        return math.nan, f"no position: column {column!r} is empty"
    try:
        number = angle(value, hours=is_ra) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        written = isinstance(value, str) and _SEXAGESIMAL.search(value)
        return math.nan, f"column {column!r}: {str(value)[:40]!r} is no {'angle' if written else 'number of degrees'}"
    if not least <= number <= most:
        return math.nan, f"column {column!r}: {number:g} is outside of {least:g}…{most:g} degrees"
    return number, ""
