"""An Arrow table as an astropy table in memory: units, descriptions, UCDs, masks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa

from .columns import about, about_table
from .formats import needs_astropy

__all__ = ["astropy_table"]


def astropy_table(table: pa.Table) -> Any:
    """A `QTable` with the columns of `table`.

    What is not known is masked in truths and integers, NaN in floats, "" in texts; a column's UCD stands in its
    ``meta["ucd"]``. A column with a unit that astropy knows, other than none, becomes a `Quantity`.

    Raises
    ------
    CatalogError
        If astropy is not installed.
    """
    needs_astropy("an astropy table")
    from astropy.table import Column, MaskedColumn, QTable

    columns = {}
    for field, values in zip(table.schema, table.columns, strict=True):
        known = about(field)
        meta = {"ucd": known["ucd"]} if "ucd" in known else None
        with warnings.catch_warnings():
            # Units that astropy does not know.
            warnings.simplefilter("ignore")
            about_column = {"description": known.get("description"), "unit": known.get("unit") or None, "meta": meta}
            if pa.types.is_boolean(field.type) or pa.types.is_integer(field.type):
                mask = values.is_null().to_numpy()
                numbers = values.fill_null(False if pa.types.is_boolean(field.type) else 0).to_numpy()
                columns[field.name] = MaskedColumn(numbers, mask=mask, **about_column)
            elif pa.types.is_floating(field.type):
                columns[field.name] = Column(values.to_numpy(), **about_column)
            elif pa.types.is_fixed_size_list(field.type):
                rows = [np.full(field.type.list_size, np.nan) if row is None else row for row in values.to_pylist()]
                columns[field.name] = Column(np.array(rows, field.type.value_type.to_pandas_dtype()), **about_column)
            else:
                columns[field.name] = Column(np.array([text or "" for text in values.to_pylist()], str), **about_column)
    return QTable(columns, meta=about_table(table.schema))
