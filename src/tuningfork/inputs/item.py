"""Input items: what an image is called, and where its bytes are."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa

from .._utils.errors import InputError
from .._utils.text import native_path
from .._utils.urls import is_url, public_url
from ..tables.arrow import number_array, text_array

__all__ = ["SCHEMA", "InputItem", "InputError", "items_of", "table_of"]


@dataclass(frozen=True, slots=True)
class InputItem:
    """A row of the table to come, as it was listed.

    Parameters
    ----------
    id, path : str
        As the output table names them; text that any table can hold.
    kind : str
        Which reader reads it, a key of `readers.READERS`.
    location : str
        File or address that holds the bytes; on Linux, bytes that are no UTF-8 stand as surrogates.
    member : str
        Name inside of `location`, for archives.
    offset : int
        First byte, or row, inside of `location`.
    size : int
        Bytes; -1 if it is not known.
    stamp : str
        What changes when the bytes change: a time of modification, an ETag, a checksum.
    right_ascension, declination : float
        Degrees (ICRS); NaN if it is not known.
    radius : float
        petroR90, arcsec; NaN if it is not known.
    error : str
        Why it cannot be read, if that is known from the listing; "" else. It is a row all the same.
    carried : str
        Values of the columns that the output takes over (`Columns.carried`), a JSON list; "" if there are none.
    """

    id: str
    path: str
    kind: str
    location: str
    member: str = ""
    offset: int = 0
    size: int = -1
    stamp: str = ""
    right_ascension: float = math.nan
    declination: float = math.nan
    radius: float = math.nan
    error: str = ""
    carried: str = ""

    @property
    def identity(self) -> bytes:
        """What distinguishes these bytes from others, for a digest; a URL may be signed anew."""
        parts = [self.id, self.kind, public_url(self.location), self.member, self.offset, self.size, self.stamp]
        if not math.isnan(self.radius):
            parts.append(self.radius)
        return "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")


#: Names of files are bytes on Linux and need not be UTF-8.
_AS_BYTES = ("location", "member")
_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
_NUMBERS: dict[pa.DataType, Any] = {pa.int64(): np.int64, pa.float64(): np.float64}
#: Columns of a listing.
SCHEMA = pa.schema(
    [(f.name, pa.binary() if f.name in _AS_BYTES else _TYPES[str(f.type)]) for f in fields(InputItem)]  # type: ignore[misc]
)


def table_of(items: Sequence[InputItem]) -> pa.Table:
    """Items as an Arrow table with the columns of `SCHEMA`."""
    columns = []
    for field in SCHEMA:
        values = [getattr(item, field.name) for item in items]
        if field.name in _AS_BYTES:
            values = [_to_bytes(str(value), field.name) for value in values]
        if field.type in _NUMBERS:
            dtype = _NUMBERS[field.type]
            columns.append(number_array(np.array(values, dtype), dtype, np.ones(len(values), bool)))
        else:
            columns.append(text_array(values, field.type))
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def items_of(table: pa.Table | pa.RecordBatch) -> Iterator[InputItem]:
    """What `table_of` wrote."""
    columns = [table[name].to_pylist() for name in SCHEMA.names]
    for name in _AS_BYTES:
        at = SCHEMA.names.index(name)
        columns[at] = [_from_bytes(value, name) for value in columns[at]]
    return (InputItem(*values) for values in zip(*columns, strict=True))


def _to_bytes(name: str, column: str) -> bytes:
    if column == "location" and not is_url(name):
        return os.fsencode(native_path(name))
    return name.encode("utf-8", "surrogateescape")


def _from_bytes(name: bytes, column: str) -> str:
    text = name.decode("utf-8", "surrogateescape")
    return os.fsdecode(name) if column == "location" and not is_url(text) else text
