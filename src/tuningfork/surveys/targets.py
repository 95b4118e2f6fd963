"""Rows of a catalogue → places in the sky, each with the size of its picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count

from .._utils.text import text
from .._utils.urls import public_url
from ..images.fits.framing import FRAME_RADII
from ..inputs import Columns
from ..inputs.catalogues import id_limit, open_rows, row_id
from ..tables.angles import AngleError, hours_warning, parse_size
from ..tables.column_roles import sky_columns

__all__ = ["PIXELS", "Frame", "Place", "Survey", "places", "survey"]

#: A side of Galaxy Zoo 2's pictures (Willett et al. 2013).
PIXELS = 424


@dataclass(frozen=True)
class Frame:
    """How large the pictures are: a size for all, or a radius for each.

    Parameters
    ----------
    size : float, optional
        Arcseconds a side.
    radius_column : str, optional
        Column of the galaxies' radii (petroR90), arcseconds; the side is `radii` of them.
    pixels : int
        A side.

    Raises
    ------
    ValueError
        If neither or both are given, or a number is out of its range.
    """

    size: float | None = None
    radius_column: str | None = None
    radii: float = FRAME_RADII
    pixels: int = PIXELS

    def __post_init__(self) -> None:
        if (self.size is None) == (self.radius_column is None):
            raise ValueError("how large are the pictures? Give a size in arcseconds, or a column of radii")
        for name, value in (("size", self.size), ("radii", self.radii)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} = {value}; a number above 0 is expected")

    def side(self, radius: object, unit: str = "") -> float:
        """Arcseconds a side, for a galaxy of this radius if one is needed. Raises AngleError if it is none."""
        return self.size if self.size is not None else self.radii * parse_size(radius, unit)


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the catalogue.

    Parameters
    ----------
    row : int
        Its number, from 0.
    id : str
    ra, dec : float
        ICRS, degrees; NaN if the row says none.
    size : float
        Arcseconds a side of its picture; NaN if it cannot be told.
    error : str
        Why there can be no picture; "" if there can.
    """

    row: int
    id: str
    ra: float
    dec: float
    size: float
    error: str = ""


@dataclass(frozen=True)
class Survey:
    """What a look through the places tells: how many there are, and what is odd about all of them together."""

    rows: int
    warning: str


def survey(wanted: Iterable[Place]) -> Survey:
    """Count places, and find out right ascensions that must be hours: none above 24 among so many."""
    rows = good = 0
    greatest = 0.0
    for place in wanted:
        rows += 1
        if not place.error:
            good += 1
            greatest = max(greatest, place.ra)
    return Survey(rows, hours_warning(good, greatest))


def places(catalogue: str, frame: Frame, columns: Columns = Columns()) -> Iterator[Place]:
    """The rows of a catalogue, each a place or an error; IDs as in `inputs.tables`, else the row's number.

    Raises
    ------
    InputError
        If the table cannot be read, or it is not clear which columns are meant.
    """
    table, _ = open_rows(catalogue)
    where = text(public_url(catalogue))
    chosen = sky_columns(replace(columns, radius=frame.radius_column), table.schema, where)
    wanted = [chosen.positions.ra, chosen.positions.dec, chosen.id, chosen.radius]
    names = [name for name in wanted if name is not None]
    rows = table.rows(names)
    limit = id_limit(chosen.id, table.schema)
    for number in count():
        cells, problem = next(rows, (None, ""))
        if cells is None:
            return
        if problem:
            yield Place(number, f"row {number + 1}", math.nan, math.nan, math.nan, problem)
            continue
        found = iter(cells)
        ra, dec, id_, radius = (None if name is None else next(found) for name in wanted)
        name = row_id(id_, chosen.id, where, number + 1, limit)
        named = name or (f"row {number + 1}" if chosen.id else str(number + 1))
        position = chosen.positions.read(ra, dec)
        size, error = math.nan, position.error
        try:
            size = frame.side(radius, chosen.radius_unit)
        except AngleError as problem:
            error = error or f"column {chosen.radius!r}: {problem}"
        if chosen.id is not None and not name:
            error = f"no ID in column {chosen.id!r}; give the galaxy one"
        yield Place(number, named, position.ra, position.dec, size, error)
