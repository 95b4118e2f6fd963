"""Two catalogues → one, by the places of their galaxies in the sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from . import MAX_REPORTED, Column, RowError, about, arrow_schema, ucd
from .column_roles import Columns, choose_place

__all__ = ["JOINS", "Catalogue", "MatchError", "Matched", "match", "radius_of"]

#: Which rows stand in the joined table: those of the first catalogue, those of both, those of either.
JOINS = ("left", "inner", "all")
#: Arcseconds; far beyond any galaxy, and where a mistaken unit is more likely.
MAX_RADIUS = 3600.0
#: Positions after which right ascensions that are all below 24 look like hours.
ENOUGH = 20

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class MatchError(TuningforkError, ValueError):
    """Catalogues that cannot be matched; the message says what to do."""


@dataclass(frozen=True)
class Catalogue:
    """A table, what to call it in messages, and which columns hold names and positions (ICRS, degrees)."""

    table: pa.Table
    name: str
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True)
class Matched:
    """How a match ended.

    Parameters
    ----------
    table : pa.Table
        The first catalogue's columns, the second's, and the separation.
    pairs : int
        Rows in which both are.
    shared : int
        Galaxies of the second catalogue that stand in more than one pair.
    renamed : names of the second catalogue's columns → what they are called in the table
    failed : int
        Rows of either catalogue without a place in the sky.
    errors : the first of them by name
    warnings : what is odd about a whole catalogue
    """

    table: pa.Table
    pairs: int
    shared: int
    renamed: dict[str, str]
    failed: int
    errors: tuple[RowError, ...]
    warnings: tuple[str, ...]


def radius_of(text: str) -> float:
    """Arcseconds of an angle with its unit, such as ``1arcsec`` or ``0.5 arcmin``. Raises MatchError if it is none."""
    from astropy.units import Quantity

    try:
        radius = float(Quantity(text).to_value("arcsec"))
    except (TypeError, ValueError):  # astropy's own errors of units are such
        raise MatchError(f"radius {text!r} is no angle; give it with its unit: 1arcsec, 0.5arcmin") from None
    if not 0 < radius <= MAX_RADIUS:
        raise MatchError(f"radius {text!r} is {radius:g} arcsec; above 0 and at most {MAX_RADIUS:g} is expected")
    return radius


def match(
    first: Catalogue, second: Catalogue, radius: float, *, join: str = "left", symmetric: bool = False
) -> Matched:
    """To each galaxy of the first catalogue the nearest one of the second, if it is near enough.

    Of columns that both have, the second's get an ending; as FITS does not tell `RA` from `ra`, neither does this.
    A row without a position has no partner; it stays where `join` keeps such rows, and is told.

    Parameters
    ----------
    radius : float
        Arcseconds.
    join : "left", "inner" or "all"
        Rows of the first catalogue, of both, or of either: first the first one's in their order, then those of the
        second one that are nobody's partner.
    symmetric : bool
        Whether a pair must be the nearest to one another; else one galaxy may be the partner of several.

    Raises
    ------
    MatchError, InputError
        If a catalogue has no positions, or they are no angles.
    """
    if join not in JOINS:
        raise MatchError(f"join {join!r} is none of {', '.join(JOINS)}")
    errors: list[RowError] = []
    warnings: list[str] = []
    mine, others = (_places(catalogue, errors, warnings) for catalogue in (first, second))
    failed = sum(int(np.isnan(places[:, 0]).sum()) for places in (mine, others))
    partner, separation = _nearest(mine, others, radius, symmetric)
    left = np.arange(len(first.table))
    if join == "inner":
        left = left[partner >= 0]
    right, apart = partner[left], separation[left]
    if join == "all":
        alone = np.setdiff1d(np.arange(len(second.table)), partner)
        left, right = np.append(left, np.full(len(alone), -1)), np.append(right, alone)
        apart = np.append(apart, np.full(len(alone), np.nan))
    table, renamed = _joined(first.table, second.table, left, right, apart)
    partners = np.unique(partner[partner >= 0], return_counts=True)[1]
    return Matched(
        table, int(partners.sum()), int((partners > 1).sum()), renamed, failed, tuple(errors), tuple(warnings)
    )


# ---------------------------------------------------------------- positions


def _places(catalogue: Catalogue, errors: list[RowError], warnings: list[str]) -> Floats:
    """Right ascension and declination (N, 2), degrees; NaN where there are none, which is told."""
    table, name = catalogue.table, catalogue.name
    chosen = choose_place(catalogue.columns, table.schema, name)
    places = np.empty((len(table), 2))
    wrong: dict[int, tuple[str, float, float, float]] = {}
    lost = np.zeros(len(table), bool)
    limits = {chosen.right_ascension: (0.0, 360.0), chosen.declination: (-90.0, 90.0)}
    for at, (column, (least, most)) in enumerate(limits.items()):
        values = _degrees(table, column, name)
        bad = ~((values >= least) & (values <= most))
        for row in np.flatnonzero(bad & ~lost)[:MAX_REPORTED].tolist():
            wrong[row] = (column, float(values[row]), least, most)
        lost |= bad
        places[:, at] = values
    for row, (column, *about_it) in sorted(wrong.items())[:MAX_REPORTED]:
        id_ = "" if chosen.id is None else str(table[chosen.id][row].as_py() or "")
        reason = _reason(table[column][row].as_py(), *about_it)
        errors.append(RowError(name, row + 1, id_, column, f"{reason}; the row has no partner"))
    places[lost] = np.nan
    told = places[~np.isnan(places[:, 0]), 0]
    if len(told) >= ENOUGH and told.max() < 24:
        warnings.append(
            f"{name}: all {len(told)} right ascensions in {chosen.right_ascension!r} are below 24: are they hours? "
            "Degrees are expected"
        )
    return places


def _reason(cell: object, value: float, least: float, most: float) -> str:
    if not np.isnan(value):
        return f"{value:g} is outside of {least:g}…{most:g} degrees"
    if isinstance(cell, str) and cell.strip().lower() not in ("", "nan"):
        return f"{cell[:40]!r} is no number of degrees"
    return "no position"


def _degrees(table: pa.Table, column: str, name: str) -> Floats:
    cells = table[column]
    kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = cells.cast(pa.float64()).to_numpy()
    else:
        values = np.array([_number(cell) for cell in cells.to_pylist()])
    return values * _in_degrees(about(table.schema.field(column)).get("unit"), column, name)


def _in_degrees(unit: str | None, column: str, name: str) -> float:
    """How many degrees the unit is; a column that names none is in degrees."""
    from astropy.units import Unit

    if not unit or unit.lower().rstrip("s") in ("deg", "degree"):
        return 1.0
    try:
        return float(Unit(unit).to("deg"))
    except (ValueError, TypeError):
        raise MatchError(f"{name}: column {column!r} is in {unit!r}, which is no angle; give degrees") from None


def _number(cell: object) -> float:
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return np.nan


# ---------------------------------------------------------------- matching


def _nearest(first: Floats, second: Floats, radius: float, symmetric: bool) -> tuple[Indices, Floats]:
    """For each of the first (N, 2) the nearest of the second (M, 2), -1 if none is near; and how far, arcsec."""
    partner, separation = np.full(len(first), -1), np.full(len(first), np.nan)
    here, there = (np.flatnonzero(~np.isnan(places[:, 0])) for places in (first, second))
    if not len(here) or not len(there):
        return partner, separation
    mine, others = _coordinates(first[here]), _coordinates(second[there])
    from astropy.coordinates import match_coordinates_sky

    index, apart, _ = match_coordinates_sky(mine, others)
    arcsec = apart.to_value("arcsec")
    near = arcsec <= radius
    if symmetric:
        back, _, _ = match_coordinates_sky(others, mine)
        near &= back[index] == np.arange(len(here))
    partner[here[near]], separation[here[near]] = there[index[near]], arcsec[near]
    return partner, separation


def _coordinates(places: Floats) -> Any:
    from astropy.coordinates import SkyCoord

    return SkyCoord(*places.T, unit="deg", frame="icrs")


# ---------------------------------------------------------------- joining


def _joined(
    first: pa.Table, second: pa.Table, left: Indices, right: Indices, separation: Floats
) -> tuple[pa.Table, dict[str, str]]:
    told = Column("separation", pa.float64(), "Angular distance of the two; null: no partner", "arcsec", ucd.SEPARATION)
    fields = [*first.schema]
    taken = {known.name.casefold() for known in fields}
    renamed: dict[str, str] = {}
    for added in [*second.schema, *arrow_schema([told])]:
        name = _free(added.name, taken)
        if name != added.name and len(fields) < len(first.schema) + len(second.schema):
            renamed[added.name] = name
        fields.append(_of_second(added).with_name(name))
        taken.add(name.casefold())
    arrays = [*_taken(first, left), *_taken(second, right), pa.array(separation, from_pandas=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, first.schema.metadata)), renamed


def _free(name: str, taken: set[str]) -> str:
    while name.casefold() in taken:
        name += "_2"
    return name


def _of_second(added: pa.Field) -> pa.Field:
    # A table has one main identifier and one main position.
    metadata = dict(added.metadata or {})
    if b"ucd" in metadata:
        words = metadata.pop(b"ucd").decode("utf-8", "replace").split(";")
        rest = [word for word in words if word.strip().lower() != "meta.main"]
        metadata |= {b"ucd": ";".join(rest).encode()} if rest else {}
    return added.with_metadata(metadata)


def _taken(table: pa.Table, rows: Indices) -> Sequence[pa.ChunkedArray]:
    return table.take(pa.array(rows, mask=rows < 0)).columns
