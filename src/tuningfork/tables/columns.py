"""What a column means, as metadata of an Arrow schema: description, unit and UCD, whatever format it came from."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from .formats import CatalogError

__all__ = [
    "ABOUT_TABLE",
    "Column",
    "about",
    "about_table",
    "arrow_schema",
    "is_text",
    "is_true",
    "meaning",
    "name_and_unit",
    "plain_schema",
    "simple_type",
    "unit_text",
]

#: What the metadata of a table may say of all its rows, and every format keeps.
ABOUT_TABLE = (
    "description",
    "creator",
    "model",
    "model_sha256",
    "views",
    "precision",
    "values_kind",
    "values_kind_source",
)
_ABOUT_COLUMN = ("description", "unit", "ucd", "frame")
#: Units that names of columns end with, where the table has no place for them: ``ra (deg)``, ``RA [h]``, ``dec_rad``,
#: ``RA, hours``.
_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^)\]]*?)\s*[)\]]")
_SUFFIX = re.compile(
    r"(.*?)\s*[_.:,;/ -]\s*"
    r"(deg|degrees?|rad|radians?|hourangle|hours?|hrs?|hms|dms|arcmin|arcsec|asec|mas|pix|pixels?|px)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an output table.

    Parameters
    ----------
    unit : VOUnit text, "" for a number without dimension, None where there is nothing to measure
    ucd : words of UCD1+ (IVOA's unified content descriptors), "" for none
    """

    name: str
    type: pa.DataType
    description: str
    unit: str | None = None
    ucd: str = ""


def meaning(
    description: str | None = None, unit: str | None = None, ucd: str | None = None, frame: str | None = None
) -> dict[str, str]:
    """A field's metadata; what is not known is left out. `frame` is that of positions which are not ICRS or FK5."""
    known = {"description": description or None, "unit": unit, "ucd": ucd or None, "frame": frame or None}
    return {key: value for key, value in known.items() if value is not None}


def arrow_schema(columns: Iterable[Column], metadata: dict[str, str] | None = None) -> pa.Schema:
    """An Arrow schema that carries every column's description, unit and UCD."""
    fields = [pa.field(c.name, c.type, metadata=meaning(c.description, c.unit, c.ucd)) for c in columns]
    return pa.schema(fields, metadata=metadata or {})


def about(field: pa.Field) -> dict[str, str]:
    """What a field's metadata says: any of `description`, `unit`, `ucd` and `frame`."""
    return _texts(field.metadata, _ABOUT_COLUMN)


def name_and_unit(name: str) -> tuple[str, str]:
    """A column's name without the unit that it ends with, and that unit, "" for none.

    Examples
    --------
    >>> name_and_unit("RA [hours]"), name_and_unit("dec_rad"), name_and_unit("RA (J2000)"), name_and_unit("petroR90_r")
    (('RA', 'hours'), ('dec', 'rad'), ('RA', 'J2000'), ('petroR90_r', ''))
    """
    match = _BRACKETS.fullmatch(name.strip()) or _SUFFIX.fullmatch(name.strip())
    return (match[1], match[2]) if match else (name.strip(), "")


def about_table(schema: pa.Schema) -> dict[str, str]:
    """What a schema's metadata says of the whole table, by the keys `ABOUT_TABLE`."""
    return _texts(schema.metadata, ABOUT_TABLE)


def _texts(metadata: Mapping[bytes, bytes] | None, keys: tuple[str, ...]) -> dict[str, str]:
    entries = metadata or {}
    return {key: entries[key.encode()].decode("utf-8", "replace") for key in keys if key.encode() in entries}


def plain_schema(schema: pa.Schema, kind: str, *, vectors: bool = True) -> pa.Schema:
    """What to cast a table to before it is written as `kind`: truths, integers, floats, texts, vectors of floats.

    Dates, times, decimals and unsigned integers of 64 bits become text, dictionaries their values.

    Raises
    ------
    CatalogError
        If a column is of a type that the format cannot hold.
    """
    return pa.schema(
        [field.with_type(_plain(field.type, field.name, kind, vectors)) for field in schema], schema.metadata
    )


def _plain(type_: pa.DataType, name: str, kind: str, vectors: bool) -> pa.DataType:
    simple = simple_type(type_)
    if simple is not None:
        # A number of FITS and VOTable has 63 bits.
        return pa.string() if pa.types.is_uint64(simple) else simple
    if vectors and pa.types.is_fixed_size_list(type_) and pa.types.is_floating(type_.value_type):
        return pa.list_(simple_type(type_.value_type), type_.list_size)
    raise CatalogError(f"column {name!r} is of type {type_}, which {kind} cannot hold; leave it out, or write .parquet")


def is_text(kind: pa.DataType) -> bool:
    """Whether a column is text; one of a table without rows may have no type, and is text too."""
    is_ = pa.types
    return is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind) or is_.is_null(kind)


def simple_type(kind: pa.DataType) -> pa.DataType | None:
    """The truth, number or text that a column's cells become in another table; None for lists, bytes and the like.

    Dates, times and decimals become text, dictionaries their values, numbers of 16 bits those of 32.
    """
    is_ = pa.types
    if is_.is_dictionary(kind):
        return simple_type(kind.value_type)
    if is_.is_float16(kind):
        return pa.float32()
    if is_.is_boolean(kind) or is_.is_integer(kind) or is_.is_floating(kind):
        return kind
    if is_text(kind) or (is_.is_temporal(kind) and not is_.is_duration(kind)) or is_.is_decimal(kind):
        return pa.string()
    return None


def unit_text(unit: Any) -> str | None:
    """An astropy unit as VOUnit text; as it calls itself if VOUnit has no such unit."""
    if unit is None:
        return None
    with warnings.catch_warnings():
        # Units that the standard knows but does not like.
        warnings.simplefilter("ignore")
        try:
            text = str(unit.to_string("vounit"))
            # VOUnit takes `degrees` for a tenth of `egrees`.
            return str(getattr(unit, "name", text)) if text[:1].isdigit() else text
        except (ValueError, TypeError, AttributeError):
            return str(unit)


def is_true(cell: object) -> bool:
    """Whether a cell of a column of truth values is true; in formats of text it is a word, and blank is false.

    Examples
    --------
    >>> [is_true(cell) for cell in (True, "TRUE", 1.0, "T", "yes", "False", "0.0", "", None)]
    [True, True, True, True, True, False, False, False, False]
    """
    return str(cell).strip().lower() in ("true", "1", "1.0", "t", "yes", "y")
