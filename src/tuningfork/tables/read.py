"""Tables in: any of the formats as Arrow, with what its columns mean."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pyarrow as pa

from .columns import ABOUT_TABLE, meaning, unit_text
from .csv import read_csv
from .ecsv import read_ecsv
from .fits import read_fits
from .formats import CatalogError, table_format, unreadable
from .parquet import read_parquet
from .votable import read_votable

__all__ = ["read_table"]

_READERS = {"fits": read_fits, "votable": read_votable, "ecsv": read_ecsv}


def read_table(path: str | os.PathLike[str], *, text: bool = False) -> pa.Table:
    """A whole table of any of the formats. With `text`, a CSV's cells stay text, to judge them one by one.

    The schema's metadata say what the file says of its columns; see `about`.

    Raises
    ------
    CatalogError
        If the file is missing, empty, damaged, or has a column twice.
    """
    kind = table_format(path)
    try:
        if kind == "csv":
            table = read_csv(path, text)
        elif kind == "parquet":
            table = read_parquet(path)
        else:
            table = _read_astropy(path, kind)
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file; check its name") from None
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, kind, error) from None
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CatalogError(f"{path}: column {twice[0]!r} appears {names.count(twice[0])} times; keep one")
    return table


def _read_astropy(path: str | os.PathLike[str], kind: str) -> pa.Table:
    try:
        table = _READERS[kind](path)
    except (FileNotFoundError, CatalogError):
        raise
    except Exception as error:  # astropy's readers raise many kinds on damaged files
        raise unreadable(path, kind, error) from None
    arrays, fields = [], []
    for name in table.colnames:
        column = table[name]
        try:
            array = _array(column)
        except pa.ArrowException as error:
            raise CatalogError(f"{path}: column {name!r} cannot be read: {error}; leave it out") from None
        told = meaning(column.description, unit_text(column.unit), column.meta.get("ucd"))
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=told))
    known = {key: str(table.meta[key]) for key in ABOUT_TABLE if key in table.meta}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, known))


def _array(column: Any) -> pa.Array:
    values = np.asarray(column)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.byteorder not in ("=", "|"):
        values = values.astype(values.dtype.newbyteorder("="))
    mask = getattr(column, "mask", None)
    mask = np.broadcast_to(mask, values.shape) if mask is not None else None
    if values.ndim == 2 and values.dtype.kind in "fiu":
        numbers = pa.array(values.ravel(), mask=None if mask is None else mask.ravel())
        unknown = np.isnan(values) if mask is None else np.isnan(values) | mask
        return pa.FixedSizeListArray.from_arrays(numbers, values.shape[1], mask=pa.array(unknown.all(1)))
    return pa.array(values.tolist() if values.dtype.kind in "UO" else values, mask=mask)
