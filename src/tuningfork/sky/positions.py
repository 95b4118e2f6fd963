"""Positions as people write them → ICRS degrees: decimal, sexagesimal; what looks like hours is told."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Positions", "check_positions"]

#: Positions after which right ascensions that are all below 24 look like hours, if they and the declinations are
#: spread over so many degrees: few surveys lie so.
ENOUGH, SPREAD, DECLINATIONS = 8, 12.0, 30.0
_SEXAGESIMAL = re.compile(r"^[+−-]?\d{1,3}(?:[:hdms°'\" ]+\d{1,2}){1,2}(?:\.\d*)?[ms'\"′″]?$")


@dataclass(frozen=True, eq=False)
class Positions:
    """Checked positions.

    Parameters
    ----------
    ra, dec : (N,) float64
        ICRS, degrees in 0…360 and ±90; NaN where there is an error.
    errors : (N,) texts
        Why a row has no position, naming the column; "" where it has one.
    warning : str
        What is odd about all of them together; "" if nothing is.
    """

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    errors: tuple[str, ...]
    warning: str


def check_positions(
    ra: Sequence[object], dec: Sequence[object], *, ra_name: str = "ra", dec_name: str = "dec"
) -> Positions:
    """Numbers of degrees, or texts, also sexagesimal (then right ascension is in hours: ``12:34:56.7 -01:02:03``).

    Parameters
    ----------
    ra_name, dec_name : str
        The columns' names, for the messages.
    """
    right, declinations, errors = [], [], []
    for one, other in zip(ra, dec, strict=True):
        x, problem = _degrees(one, ra_name, is_ra=True)
        y, other_problem = _degrees(other, dec_name, is_ra=False)
        problem = problem or other_problem
        errors.append(problem)
        right.append(math.nan if problem else x % 360)
        declinations.append(math.nan if problem else y)
    found = Positions(np.array(right, float), np.array(declinations, float), tuple(errors), "")
    sexagesimal = any(isinstance(value, str) and _is_sexagesimal(value) for value in ra)
    if sexagesimal or not _look_like_hours(found):
        return found
    count = int(np.isfinite(found.ra).sum())
    told = f"column {ra_name!r}: all {count} right ascensions are below 24: are they hours? Degrees are expected"
    return Positions(found.ra, found.dec, found.errors, told)


def _look_like_hours(found: Positions) -> bool:
    ra, dec = found.ra[np.isfinite(found.ra)], found.dec[np.isfinite(found.dec)]
    return bool(len(ra) >= ENOUGH and ra.max() < 24 and np.ptp(ra) > SPREAD and np.ptp(dec) > DECLINATIONS)


def _is_sexagesimal(value: str) -> bool:
    return _SEXAGESIMAL.match(value.strip()) is not None


def _degrees(value: object, column: str, *, is_ra: bool) -> tuple[float, str]:
    least, most = (0, 360) if is_ra else (-90, 90)
    shown = repr(str(value)[:40])
    if isinstance(value, str) and _is_sexagesimal(value):
        from astropy.coordinates import Angle

        try:
            number = float(Angle(value.strip().replace("−", "-"), unit="hourangle" if is_ra else "deg").deg)
        except ValueError:  # minutes or seconds of 60 and above, too
            return math.nan, f"column {column!r}: {shown} is no angle"
    else:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
            if value is not None and str(value).strip():
                return math.nan, f"column {column!r}: {shown} is no angle"
    if math.isnan(number):
        return math.nan, f"no position: column {column!r} is blank"
    if not least <= number <= most:
        return math.nan, f"column {column!r}: {number:g} is outside of {least}…{most} degrees"
    return number, ""
