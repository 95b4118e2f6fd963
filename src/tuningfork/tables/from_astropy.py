"""An astropy table as an Arrow table: columns of any shape, units, descriptions, UCDs, masks."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .columns import ABOUT_TABLE, meaning, unit_text
from .formats import CatalogError, needs_astropy, unreadable

__all__ = ["arrow_table", "only_table", "read_astropy"]

logger = logging.getLogger(__name__)


def read_astropy(path: str | os.PathLike[str], kind: str, read: Callable[[Any], Any]) -> pa.Table:
    """Read a table with one of astropy's readers.

    A column that Arrow cannot hold (complex numbers) is left out with a warning: it may be one that nobody needs.

    Raises
    ------
    CatalogError
        If the file is damaged.
    """
    needs_astropy(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = read(path)
    except (FileNotFoundError, CatalogError):
        raise
    except Exception as error:  # astropy's readers raise many kinds on damaged files
        raise unreadable(path, kind, error) from None
    return arrow_table(table, path)


def only_table(tables: Sequence[tuple[int, str, Any]], path: object) -> Any:
    """The first of a file's tables that has rows, each given by rows, name and table; warns of others that have."""
    filled = [each for each in tables if each[0]] or list(tables[:1])
    if len(filled) > 1:
        others = ", ".join(name or "without a name" for _, name, _ in filled[1:4])
        logger.warning("%s: %d tables found, of which only the first is used; left out: %s", path, len(filled), others)
    return filled[0][2]


def arrow_table(table: Any, where: object) -> pa.Table:
    """Convert an astropy table to Arrow; `where` is named in warnings."""
    arrays, fields = [], []
    for name, column in _plain_columns(table):
        try:
            array = _array(np.asarray(column), getattr(column, "mask", None))
        except (pa.ArrowException, TypeError, ValueError) as error:
            logger.warning("%s: column %r cannot be read and is left out: %s", where, name, error)
            continue
        about = getattr(column, "meta", None) or {}
        unit = unit_text(getattr(column, "unit", None))
        known = meaning(getattr(column, "description", None), unit, about.get("ucd"), about.get("frame"))
        arrays.append(array)
        # astropy gives the second of two columns of one name another one.
        fields.append(pa.field(about.get("name", name), array.type, metadata=known))
    known = {key: str(table.meta[key]) for key in ABOUT_TABLE if key in table.meta}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, known))


def _plain_columns(table: Any) -> Iterator[tuple[str, Any]]:
    """The columns of an astropy table; coordinates as two of them, ICRS and degrees, and times as text."""
    skies = [name for name in table.colnames if hasattr(table[name], "icrs")]
    others = {name for name in table.colnames if name not in skies}
    for name in table.colnames:
        column = table[name]
        if name in skies:
            for part, values in (("ra", column.icrs.ra.deg), ("dec", column.icrs.dec.deg)):
                is_only = len(skies) == 1 and part not in others
                yield part if is_only else f"{name}.{part}", _masked(values, unit="deg")
        elif hasattr(column, "isot"):
            yield name, _masked(column.isot)
        else:
            yield name, column


def _masked(values: Any, unit: str | None = None) -> Any:
    """A column of values that may be masked, as coordinates and times are."""
    from astropy.table import MaskedColumn

    mask = getattr(values, "mask", False)
    return MaskedColumn(np.asarray(getattr(values, "unmasked", values)), mask=mask, unit=unit)


def _array(values: NDArray[Any], mask: Any) -> pa.Array:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "c":
        raise TypeError("complex numbers")
    if values.dtype.byteorder not in ("=", "|"):
        values = values.astype(values.dtype.newbyteorder("="))
    if values.ndim > 1 and values.size == len(values):
        # Vectors of one number, as IDL writes.
        values, mask = values.ravel(), np.ravel(mask) if np.shape(mask) == values.shape else mask
    mask = np.broadcast_to(mask, values.shape) if mask is not None and np.shape(mask) else None
    if values.ndim < 2:
        return pa.array(values.tolist() if values.dtype.kind in "UO" else values, mask=mask)
    flat = _array(values.ravel(), None if mask is None else mask.ravel())
    array = flat
    for size in reversed(values.shape[2:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    unknown = np.zeros(values.shape, bool) if mask is None else mask
    if values.dtype.kind == "f":
        unknown = unknown | np.isnan(values)
    rows = unknown.reshape(len(values), -1).all(1) if values.size else np.zeros(len(values), bool)
    return pa.FixedSizeListArray.from_arrays(array, values.shape[1], mask=pa.array(rows))
