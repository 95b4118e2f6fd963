"""Rows of a catalogue as targets: positions on the sky, each with the size of its image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from .._utils.text import text
from .._utils.urls import public_url
from ..images.fits.framing import Framing
from ..inputs import Columns
from ..inputs.catalogues import id_limit, open_rows, row_id
from ..tables.angles import AngleError, parse_size
from ..tables.column_roles import sky_columns
from ..tables.positions import hours_warning

__all__ = ["Target", "Targets"]


@dataclass(frozen=True, slots=True)
class Target:
    """A row of the catalogue.

    Parameters
    ----------
    row : int
        Its number, from 0.
    id : str
    ra, dec : float
        ICRS, degrees; NaN if the row has none.
    size : float
        Arcseconds a side of its image; NaN if it is not known.
    error : str
        Why there can be no image; "" if there can.
    """

    row: int
    id: str
    ra: float
    dec: float
    size: float
    error: str = ""


@dataclass
class Targets:
    """The targets of a catalogue, read anew by each iteration; IDs as in `inputs.catalogues`, else the row's number.

    Parameters
    ----------
    catalogue : str
        Any table with positions.
    framing : Framing
        ``size`` of all images in arcsec; else ``radii`` times the radius of each row.
    columns : Columns
        ``radius`` is the column of petroR90, which a framing without a size needs.

    Raises
    ------
    ValueError
        Without a size and a radius, or with both.
    InputError
        In iterating, if the table cannot be read, or it is not clear which columns are meant.
    """

    catalogue: str
    framing: Framing
    columns: Columns = field(default_factory=Columns)
    #: Rows, once they were counted by `check`.
    rows: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if (self.framing.size is None) == (self.columns.radius is None):
            raise ValueError("how large are the images? Give a size in arcseconds, or a column of radii")

    def __length_hint__(self) -> int:
        return self.rows

    def check(self) -> str:
        """Count the rows, and warn of right ascensions that must be hours: none above 24 among many."""
        self.rows = good = 0
        greatest = 0.0
        for target in self:
            self.rows += 1
            if not target.error:
                good += 1
                greatest = max(greatest, target.ra)
        return hours_warning(good, greatest)

    def roles(self) -> list[str]:
        """Names of the catalogue's columns of identifier, if it has one, and position.

        Raises
        ------
        InputError
            As in iterating.
        """
        schema = open_rows(self.catalogue)[0].schema
        chosen = sky_columns(self.columns, schema, text(public_url(self.catalogue)))
        return [name for name in (chosen.id, chosen.positions.ra, chosen.positions.dec) if name is not None]

    def __iter__(self) -> Iterator[Target]:
        table, _ = open_rows(self.catalogue)
        where = text(public_url(self.catalogue))
        chosen = sky_columns(self.columns, table.schema, where)
        names = [chosen.positions.ra, chosen.positions.dec, chosen.id, chosen.radius]
        rows = table.rows([name for name in names if name is not None])
        limit = id_limit(chosen.id, table.schema)
        for number, (cells, problem) in enumerate(rows):
            if problem:
                yield Target(number, f"row {number + 1}", math.nan, math.nan, math.nan, problem)
                continue
            values = iter(cells)
            ra, dec, id_, radius = (None if name is None else next(values) for name in names)
            name = row_id(id_, chosen.id, where, number + 1, limit)
            label = name or (f"row {number + 1}" if chosen.id else str(number + 1))
            position = chosen.positions.read(ra, dec)
            size, error = math.nan, position.error
            try:
                size = self.framing.size or self.framing.radii * parse_size(radius, chosen.radius_unit)
            except AngleError as radius_error:
                error = error or f"column {chosen.radius!r}: {radius_error}"
            if chosen.id is not None and not name:
                error = f"no ID in column {chosen.id!r}; give the galaxy one"
            yield Target(number, label, position.ra, position.dec, size, error)
