"""ECSV: CSV with a header that says what its columns mean, astropy's own format."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .columns import about, about_table, plain_schema
from .formats import needs_astropy
from .text_cells import Vector, rows_of_text

__all__ = ["read_ecsv", "write_ecsv"]

_WORDS = {"true": "True", "false": "False", "null": '""', "nan": "nan", "inf": "inf", "-inf": "-inf"}
#: Vectors are JSON, as Python reads it.
_VECTOR = Vector('"[', ",", ']"', {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"})


@contextmanager
def write_ecsv(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends Arrow tables to the file."""
    plain = plain_schema(schema, "ECSV")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(_header(plain))

        def write(table: pa.Table) -> None:
            rows = rows_of_text(table.cast(plain), _WORDS, _quoted, _VECTOR, ",")
            file.writelines(f"{row}\n" for row in rows)

        yield write


def _header(schema: pa.Schema) -> str:
    from astropy.table import Column as TableColumn
    from astropy.table import Table
    from astropy.units import Unit

    table = Table(meta=about_table(schema))
    for field in schema:
        told, kind = about(field), field.type
        is_vector = pa.types.is_fixed_size_list(kind)
        number = kind.value_type if is_vector else kind
        table[field.name] = TableColumn(
            shape=(kind.list_size,) if is_vector else (),
            dtype=str if pa.types.is_string(number) else number.to_pandas_dtype(),
            description=told.get("description"),
            unit=Unit(told["unit"], parse_strict="silent") if "unit" in told else None,
            meta={"ucd": told["ucd"]} if "ucd" in told else None,
        )
    text = io.StringIO()
    with warnings.catch_warnings():
        # Units that only their own surveys know.
        warnings.simplefilter("ignore")
        table.write(text, format="ascii.ecsv", delimiter=",")
    return text.getvalue().rstrip("\r\n") + "\n"


def _quoted(texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")


def read_ecsv(path: str | os.PathLike[str]) -> Any:
    """The whole table, as astropy's."""
    needs_astropy(path)
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Table.read(path, format="ascii.ecsv")
