"""Columns of a catalogue that the output takes over, such as redshifts and magnitudes beside the votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from .._utils.errors import InputError
from .._utils.text import nearest, text
from .._utils.urls import is_url, public_url
from ..tables.column_roles import Columns, image_columns
from ..tables.columns import Column, about, simple_type
from .catalogues import open_rows, table_kind

__all__ = ["CarriedColumns", "carried_columns", "table_columns", "with_carried"]

#: Bytes of a CSV whose columns' types are looked for; those of a larger one stay text.
MAX_TYPED = 2**29
#: What a name that the output has already ends with.
SUFFIX = "_catalogue"


@dataclass(frozen=True, slots=True)
class CarriedColumns:
    """What is taken over of a catalogue.

    Parameters
    ----------
    columns : tuple of (name in the catalogue, `Column` of the output)
    left_out : tuple of (name, why)
        Columns that cannot be taken over.
    """

    columns: tuple[tuple[str, Column], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def renamed(self) -> dict[str, str]:
        """Name in the catalogue → another one in the output."""
        return {name: column.name for name, column in self.columns if name != column.name}


@dataclass
class _Table:
    """A catalogue's columns as Arrow would have them."""

    where: str
    schema: pa.Schema
    own: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        #: Name → how many columns have it; a schema would look through all of them for each name.
        self.names = Counter(self.schema.names)


def carried_columns(
    catalogues: Sequence[str],
    columns: Columns,
    taken: Collection[str],
    *,
    keep: Sequence[str] | None = None,
    own: Collection[str] = (),
) -> CarriedColumns:
    """Choose the columns that the predictions of catalogues of images take over.

    Parameters
    ----------
    catalogues : sequence of str
        Files or addresses; a column must be in all of them.
    columns : Columns
        The roles of their columns; those of the ID, the position and the image are in the output anyway.
    taken : collection of str
        Names of the output's own columns; a column of the same name gets the ending ``_catalogue``.
    keep : sequence of str, optional
        Names of columns; None: all.
    own : collection of str
        Further columns that are not the catalogue's own.

    Raises
    ------
    InputError
        If a column of `keep` is in none of them.
    """
    tables = []
    for location in catalogues:
        where = text(public_url(location))
        schema = _typed_schema(location)
        chosen = image_columns(columns, schema, where)
        known = {chosen.image, chosen.id, columns.error, *(name for name, _ in columns.carried), *own}
        if chosen.positions:
            known |= {chosen.positions.ra, chosen.positions.dec}
        tables.append(_Table(where, schema, {name for name in known if name}))
    return _common(tables, taken, keep)


def table_columns(
    location: str, taken: Collection[str], *, keep: Sequence[str] | None = None, own: Collection[str] = ()
) -> CarriedColumns:
    """The same for any table, whose columns `own` are in the output anyway."""
    return _common([_Table(text(public_url(location)), _typed_schema(location), set(own))], taken, keep)


def _common(tables: Sequence[_Table], taken: Collection[str], keep: Sequence[str] | None) -> CarriedColumns:
    if not tables:
        return CarriedColumns()
    first, *others = tables
    for name in keep or ():
        if not any(name in table.names for table in tables):
            names = [each for table in tables for each in table.schema.names]
            raise InputError(f"{first.where}: no column {name!r}{nearest(name, names)}; it has {', '.join(names[:40])}")
    names = list(first.schema.names) if keep is None else list(keep)
    columns: list[tuple[str, Column]] = []
    left_out: list[tuple[str, str]] = []
    # FITS and VOTable do not know `CLASS` from `class`.
    used = {name.casefold() for name in taken}
    for name in dict.fromkeys(names):
        if name in first.own or not name:
            continue
        if any(table.names[name] > 1 for table in tables):
            left_out.append((name, "several columns have this name"))
            continue
        lacking = [table.where for table in tables if name not in table.names]
        if lacking:
            left_out.append((name, f"{lacking[0]} has no such column"))
            continue
        schema_field = first.schema.field(name)
        kind = simple_type(schema_field.type)
        if kind is None:
            left_out.append((name, f"it is of type {schema_field.type}"))
            continue
        if any(simple_type(other.schema.field(name).type) != kind for other in others):
            kind = pa.string()
        new = name
        while new.casefold() in used:
            new += SUFFIX
        used.add(new.casefold())
        says = about(schema_field)
        description = says.get("description") or f"Column {name} of the catalogue"
        columns.append((name, Column(new, kind, description, says.get("unit"), says.get("ucd", ""))))
    return CarriedColumns(tuple(columns), tuple(left_out))


def _typed_schema(location: str) -> pa.Schema:
    """A table's schema; of a CSV with the types that its columns' text allows."""
    schema = open_rows(location)[0].schema
    if (
        table_kind(location) != "csv"
        or schema.types.count(pa.string()) < len(schema)
        or is_url(location)
        or Path(location).stat().st_size > MAX_TYPED
    ):
        return schema
    from ..tables import CatalogError, read_table

    try:
        types = {each.name: each.type for each in read_table(location, problems={}).schema}
    except (CatalogError, pa.ArrowException):  # rows are lost: all is text, as the listing reads it
        return schema
    return pa.schema([each.with_type(types.get(each.name, each.type)) for each in schema], schema.metadata)


def with_carried(columns: Columns, carried: CarriedColumns) -> Columns:
    """The same roles, with these columns carried too."""
    return replace(columns, carried=(*columns.carried, *carried.columns))
