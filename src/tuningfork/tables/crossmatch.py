"""Two catalogues → one, by the places of their galaxies in the sky."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.errors import InputError, TuningforkError
from . import ucd
from .angles import AngleError, parse_angle
from .column_roles import Columns, id_column, sky_columns
from .columns import Column, arrow_schema
from .formats import MAX_REPORTED, RowError
from .identifiers import exact_ids
from .positions import Position, hours_warning

__all__ = ["JOINS", "Catalogue", "MatchError", "CrossmatchResult", "match", "match_ids", "radius_of"]

#: Which rows stand in the joined table: those of the first catalogue, those of both, those of either.
JOINS = ("left", "inner", "all")
#: Arcseconds; far beyond any galaxy, and where a mistaken unit is more likely.
MAX_RADIUS = 3600.0

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class MatchError(TuningforkError, ValueError):
    """Catalogues that cannot be matched; the message says what to do."""


@dataclass(frozen=True)
class Catalogue:
    """A table, what to call it in messages, and which columns hold names and positions (ICRS, degrees).

    `problems` are the rows, counted from 0, that could not be read, and why; see `read_table`.
    """

    table: pa.Table
    name: str
    columns: Columns = field(default_factory=Columns)
    problems: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CrossmatchResult:
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
    """Arcseconds of an angle with its unit, such as ``1arcsec`` or ``0.5 arcmin``.

    Raises
    ------
    MatchError
        If it is none, or too large.
    """
    try:
        degrees, radians = parse_angle(text), parse_angle(text, "rad")
    except AngleError:
        degrees = radians = math.nan
    # Without a unit the text takes that of the column.
    if degrees != radians:
        raise MatchError(f"radius {text!r} is no angle; give it with its unit: 1arcsec, 0.5arcmin")
    radius = float(f"{degrees * 3600:.15g}")
    if not 0 < radius <= MAX_RADIUS:
        raise MatchError(f"radius {text!r} is {radius:g} arcsec; above 0 and at most {MAX_RADIUS:g} is expected")
    return radius


def match(
    first: Catalogue, second: Catalogue, radius: float, *, join: str = "left", symmetric: bool = False
) -> CrossmatchResult:
    """To each galaxy of the first catalogue the nearest one of the second, if it is near enough.

    Of columns that both have, the second's get an ending; as FITS does not tell `RA` from `ra`, neither does this.
    A row without a position has no partner; it stays where `join` keeps such rows, and is reported.

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
    mine, others = (_positions(catalogue, errors, warnings) for catalogue in (first, second))
    failed = sum(int(np.isnan(positions[:, 0]).sum()) for positions in (mine, others))
    partner, separation = _nearest(mine, others, radius, symmetric)
    table, renamed = _joined(first.table, second.table, *_rows(partner, len(second.table), join), separation)
    pairs, shared = _counts(partner)
    return CrossmatchResult(table, pairs, shared, renamed, failed, tuple(errors), tuple(warnings))


def match_ids(first: Catalogue, second: Catalogue, *, join: str = "left") -> CrossmatchResult:
    """To each galaxy of the first catalogue the one of the second that has its identifier, to the letter.

    A row without an identifier, one that could not be read, or one whose identifier several rows of the second
    catalogue have, has no partner; it stays where `join` keeps such rows, and is reported.

    Parameters
    ----------
    join : "left", "inner" or "all"
        As in `match`.

    Raises
    ------
    MatchError, InputError, IdentifierError
        If a catalogue has no identifiers, or they have lost their digits.
    """
    if join not in JOINS:
        raise MatchError(f"join {join!r} is none of {', '.join(JOINS)}")
    mine, others = (_ids(catalogue) for catalogue in (first, second))
    places: dict[str, list[int]] = {}
    for row, id_ in enumerate(others):
        if id_:
            places.setdefault(id_, []).append(row)
    partner = np.full(len(mine), -1)
    errors: list[RowError] = []
    failed = len(first.problems) + len(second.problems)
    for catalogue in (first, second):
        errors += [_row_error(catalogue, row, "", problem) for row, problem in catalogue.problems.items()]
    del errors[MAX_REPORTED:]
    for row, id_ in enumerate(mine):
        if row in first.problems:
            continue
        partners = places.get(id_, [])
        if len(partners) == 1:
            partner[row] = partners[0]
            continue
        if id_ and not partners:
            continue
        failed += 1
        if len(errors) < MAX_REPORTED:
            reason = f"{len(partners)} rows of {second.name} have this ID" if partners else "no ID"
            errors.append(_row_error(first, row, id_, reason))
    table, renamed = _joined(first.table, second.table, *_rows(partner, len(second.table), join), None)
    pairs, shared = _counts(partner)
    return CrossmatchResult(table, pairs, shared, renamed, failed, tuple(errors), ())


def _ids(catalogue: Catalogue) -> list[str]:
    name = id_column(catalogue.columns, catalogue.table.schema, catalogue.name)
    ids = exact_ids(catalogue.table[name], name, catalogue.name)
    return ["" if row in catalogue.problems else id_ for row, id_ in enumerate(ids)]


def _row_error(catalogue: Catalogue, row: int, id_: str, reason: str, column: str = "") -> RowError:
    return RowError(catalogue.name, row + 1, id_, column, f"{reason}; the row has no partner")


def _rows(partner: Indices, others: int, join: str) -> tuple[Indices, Indices]:
    """The rows of the first and of the second catalogue that stand in each row of the table; -1: none."""
    left = np.arange(len(partner))
    if join == "inner":
        left = left[partner >= 0]
    right = partner[left]
    if join == "all":
        alone = np.setdiff1d(np.arange(others), partner)
        left, right = np.append(left, np.full(len(alone), -1)), np.append(right, alone)
    return left, right


def _counts(partner: Indices) -> tuple[int, int]:
    """Pairs, and rows of the second catalogue in several of them."""
    partners = np.unique(partner[partner >= 0], return_counts=True)[1]
    return int(partners.sum()), int((partners > 1).sum())


# ---------------------------------------------------------------- positions


def _positions(catalogue: Catalogue, errors: list[RowError], warnings: list[str]) -> Floats:
    """Right ascension and declination (N, 2), degrees; NaN where there are none, which is reported."""
    table, name = catalogue.table, catalogue.name
    try:
        columns = sky_columns(catalogue.columns, table.schema, name)
    except InputError as error:
        raise InputError(f"{error}. Without positions join by identifiers: --on id") from None
    positions, failures = columns.positions.read_table(table)
    for row, problem in catalogue.problems.items():
        positions[row], failures[row] = np.nan, Position(math.nan, math.nan, problem)
    for row, failure in islice(sorted(failures.items()), MAX_REPORTED):
        id_ = "" if columns.id is None else str(table[columns.id][row].as_py() or "")
        errors.append(_row_error(catalogue, row, id_, failure.reason, failure.column))
    known = positions[~np.isnan(positions[:, 0]), 0]
    if len(known) and (warning := hours_warning(len(known), float(known.max()), columns.positions.ra)):
        warnings.append(f"{name}: {warning}")
    return positions


# ---------------------------------------------------------------- matching


def _nearest(first: Floats, second: Floats, radius: float, symmetric: bool) -> tuple[Indices, Floats]:
    """For each of the first (N, 2) the nearest of the second (M, 2), -1 if none is near; and how far, arcsec."""
    partner, separation = np.full(len(first), -1), np.full(len(first), np.nan)
    rows, other_rows = (np.flatnonzero(~np.isnan(positions[:, 0])) for positions in (first, second))
    if not len(rows) or not len(other_rows):
        return partner, separation
    mine, others = _coordinates(first[rows]), _coordinates(second[other_rows])
    from astropy.coordinates import match_coordinates_sky

    index, apart, _ = match_coordinates_sky(mine, others)
    arcsec = apart.to_value("arcsec")
    near = arcsec <= radius
    if symmetric:
        back, _, _ = match_coordinates_sky(others, mine)
        near &= back[index] == np.arange(len(rows))
    partner[rows[near]], separation[rows[near]] = other_rows[index[near]], arcsec[near]
    return partner, separation


def _coordinates(positions: Floats) -> Any:
    from astropy.coordinates import SkyCoord

    return SkyCoord(*positions.T, unit="deg", frame="icrs")


# ---------------------------------------------------------------- joining


def _joined(
    first: pa.Table, second: pa.Table, left: Indices, right: Indices, separation: Floats | None
) -> tuple[pa.Table, dict[str, str]]:
    """`separation` is that of the first catalogue's rows; None: they are not matched by position."""
    separation_column = Column(
        "separation", pa.float64(), "Angular distance of the two; null: no partner", "arcsec", ucd.SEPARATION
    )
    fields = [*first.schema]
    taken = {known.name.casefold() for known in fields}
    renamed: dict[str, str] = {}
    for added in [*second.schema, *(arrow_schema([separation_column]) if separation is not None else ())]:
        name = _free(added.name, taken)
        if name != added.name and len(fields) < len(first.schema) + len(second.schema):
            renamed[added.name] = name
        fields.append(_of_second(added).with_name(name))
        taken.add(name.casefold())
    arrays = [*_take(first, left), *_take(second, right)]
    if separation is not None:
        apart = np.full(len(left), np.nan)
        apart[left >= 0] = separation[left[left >= 0]]
        arrays.append(pa.array(apart, from_pandas=True))
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


def _take(table: pa.Table, rows: Indices) -> Sequence[pa.ChunkedArray]:
    """The columns of these rows; -1: a row of nulls."""
    return table.take(pa.array(rows, mask=rows < 0)).columns
