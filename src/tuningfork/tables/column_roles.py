"""Which columns of a catalogue hold its galaxies' names, pictures and positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from .._utils.errors import InputError
from . import Column

__all__ = ["Chosen", "Columns", "Placed", "choose", "choose_place"]

#: By these names a column is known; spelled in any case. Surveys' and catalogues' own words, and those of the
#: `datasets` library, whose column `image` is a struct of bytes and path.
USUAL = {
    "id": (
        *("id", "objid", "object_id", "dr7objid", "dr8objid", "galaxyid", "galaxy_id", "asset_id", "source_id"),
        *("id_str", "iauname", "targetid"),
    ),
    "path": (
        "path",
        "file",
        "filename",
        "file_name",
        "file_loc",
        "filepath",
        "file_path",
        "image_path",
        "image",
        "url",
    ),
    "bytes": ("bytes", "image_bytes", "jpg", "jpeg", "png", "webp", "image", "img"),
    "right_ascension": ("ra", "right_ascension", "raj2000", "ra_deg", "ra_j2000"),
    "declination": ("dec", "declination", "dej2000", "decj2000", "dec_deg", "dec_j2000"),
}
OPTIONS = {
    "id": "--id-column",
    "path": "--path-column",
    "bytes": "--bytes-column",
    "right_ascension": "--ra-column",
    "declination": "--dec-column",
    "radius": "--radius-column",
}
#: Names of columns that an error lists.
LISTED = 40


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a catalogue to take; None: by their usual names.

    Parameters
    ----------
    id : identifier of the galaxy
    path : file or address of its picture, relative ones from the catalogue's folder
    bytes : the picture file's bytes themselves
    right_ascension, declination : degrees (ICRS)
    radius : petroR90, arcsec, by which FITS images are framed; no column is taken for it unless it is named
    error : why a row has no picture, or blank; no column is taken for it unless it is named
    carried : columns that stand in the output too, each with what it is called there and means
    """

    id: str | None = None
    path: str | None = None
    bytes: str | None = None
    right_ascension: str | None = None
    declination: str | None = None
    radius: str | None = None
    error: str | None = None
    carried: tuple[tuple[str, Column], ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The columns of one table; `picture` holds the bytes if `is_bytes`, else paths."""

    picture: str
    is_bytes: bool
    id: str | None
    right_ascension: str | None
    declination: str | None
    radius: str | None


@dataclass(frozen=True, slots=True)
class Placed:
    """The columns of one table of positions; `id` and `radius` may be None."""

    right_ascension: str
    declination: str
    id: str | None
    radius: str | None


def choose_place(columns: Columns, schema: pa.Schema, where: str) -> Placed:
    """The columns of positions that a table named `where` offers.

    Raises
    ------
    InputError
        If a column that was named, or the position, is missing, or several could be meant.
    """
    ra = _find("right_ascension", columns.right_ascension, schema, where)
    dec = _find("declination", columns.declination, schema, where)
    if ra is None or dec is None:
        role = "right_ascension" if ra is None else "declination"
        raise InputError(
            f"{where}: no column of positions ({', '.join(USUAL[role])}); name it with {OPTIONS[role]}. "
            f"{_offer(schema)}"
        )
    radius = None if columns.radius is None else _find("radius", columns.radius, schema, where)
    return Placed(ra, dec, _find("id", columns.id, schema, where), radius)


def choose(columns: Columns, schema: pa.Schema, where: str) -> Chosen:
    """The columns that a table named `where` offers.

    Pictures come from a column of bytes if there is one and no column of paths is asked for.

    Raises
    ------
    InputError
        If a column that was named, or any with pictures, is missing, or several could be meant.
    """
    if columns.path is not None and columns.bytes is not None:
        raise InputError(f"{where}: pictures come from {columns.path!r} or from {columns.bytes!r}; name one of them")
    picture, is_bytes = None, columns.path is None
    if is_bytes:
        picture = _find("bytes", columns.bytes, schema, where)
    if picture is None:
        picture, is_bytes = _find("path", columns.path, schema, where), False
    if picture is None:
        raise InputError(
            f"{where}: no column of pictures ({', '.join(USUAL['path'])}); name it with --path-column, "
            f"or with --bytes-column. {_offer(schema)}"
        )
    return Chosen(
        picture,
        is_bytes,
        _find("id", columns.id, schema, where),
        _find("right_ascension", columns.right_ascension, schema, where),
        _find("declination", columns.declination, schema, where),
        None if columns.radius is None else _find("radius", columns.radius, schema, where),
    )


def _find(role: str, given: str | None, schema: pa.Schema, where: str) -> str | None:
    fits = _FITS[role]
    if given is not None:
        named = _named([given], schema)
        exact = [name for name in named if name == given]
        found = exact or named
        if not found:
            raise InputError(f"{where}: no column {given!r}. {_offer(schema)}")
    else:
        found = [name for name in _named(USUAL[role], schema) if fits(schema, name)]
        if not found:
            return None
    if len(found) > 1:
        which = ", ".join(map(repr, found))
        raise InputError(f"{where}: columns {which} could all be meant; say which with {OPTIONS[role]}, or rename one")
    if not fits(schema, found[0]):
        kind = schema.field(found[0]).type
        raise InputError(f"{where}: column {found[0]!r} is of type {kind}, not {_NEEDED[role]}; name another one")
    return found[0]


def _named(names: Sequence[str], schema: pa.Schema) -> list[str]:
    wanted = {name.lower() for name in names}
    return [name for name in schema.names if name.strip().lower() in wanted]


def _offer(schema: pa.Schema) -> str:
    more = len(schema.names) - LISTED
    return f"It has the columns {', '.join(schema.names[:LISTED])}{f' and {more} more' if more > 0 else ''}"


def _type(schema: pa.Schema, name: str) -> pa.DataType:
    # One that appears twice is found out by its number.
    kind = schema.field(schema.names.index(name)).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(schema: pa.Schema, name: str) -> bool:
    kind = _type(schema, name)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_bytes(schema: pa.Schema, name: str) -> bool:
    kind = _type(schema, name)
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _is_name(schema: pa.Schema, name: str) -> bool:
    kind = _type(schema, name)
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return numbers or _is_text(schema, name) or _is_binary(kind)


def _is_angle(schema: pa.Schema, name: str) -> bool:
    kind = _type(schema, name)
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return numbers or _is_text(schema, name)


_FITS = {
    "id": _is_name,
    "path": _is_text,
    "bytes": _is_bytes,
    "right_ascension": _is_angle,
    "declination": _is_angle,
    "radius": _is_angle,
}
_NEEDED = {
    "id": "text or integers",
    "path": "text",
    "bytes": "bytes",
    "right_ascension": "degrees",
    "declination": "degrees",
    "radius": "arcseconds",
}
