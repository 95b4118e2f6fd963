"""CSV, and beside it a file that says what its columns mean, as W3C's *CSV on the Web* has it."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from .columns import about, about_table, meaning, plain_schema
from .formats import CatalogError

__all__ = ["beside_csv", "csv_metadata", "read_csv", "write_csv"]

_TYPES = {"bool": "boolean", "float": "float", "double": "double", "int8": "byte"}


@contextmanager
def write_csv(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends Arrow tables to the file."""
    plain = plain_schema(schema, "CSV", vectors=False)
    with pa.csv.CSVWriter(str(path), plain) as writer:
        yield lambda table: writer.write_table(table.cast(plain))


def beside_csv(path: str | os.PathLike[str]) -> str:
    """Where CSV on the Web looks for what a file's columns mean."""
    return f"{os.fspath(path)}-metadata.json"


def csv_metadata(name: str, schema: pa.Schema) -> str:
    """The content of that file: types, descriptions, units and UCDs of the columns of the CSV file `name`."""
    columns = []
    for field in schema:
        told = about(field)
        columns.append(
            {
                "name": field.name,
                "titles": field.name,
                "dc:description": told.get("description", ""),
                "datatype": _TYPES.get(str(field.type), "integer" if pa.types.is_integer(field.type) else "string"),
                **({"schema:unitText": told["unit"]} if "unit" in told else {}),
                **({"schema:propertyID": told["ucd"]} if "ucd" in told else {}),
            }
        )
    table = about_table(schema)
    keys = {"description": "dc:description", "creator": "dc:creator"}
    known = {keys[key]: value for key, value in table.items() if key in keys}
    notes = [{"name": key, "value": value} for key, value in table.items() if key not in keys]
    content = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": name,
        **known,
        **({"notes": notes} if notes else {}),
        "tableSchema": {"columns": columns},
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_csv(path: str | os.PathLike[str], text: bool) -> pa.Table:
    """The whole table; with `text`, every cell as text.

    Raises
    ------
    CatalogError, OSError, pa.ArrowInvalid
        If the file is empty, missing, or no CSV.
    """
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        names = [name.strip() for name in next(csv.reader([file.readline()]), [])]
        has_rows = bool(file.read(1))
    if not any(names):
        raise CatalogError(f"{path}: the file is empty; a line with the columns' names is expected first")
    if not has_rows:
        return _told(pa.schema([(name, pa.string()) for name in names]).empty_table(), path)
    types = dict.fromkeys(names, pa.string()) if text else None
    try:
        table = pa.csv.read_csv(
            os.fspath(path),
            read_options=pa.csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""]),
        )
    except pa.ArrowInvalid:
        ragged = _read_ragged(path, names) if text and len(set(names)) == len(names) else None
        if ragged is None:
            raise
        table = ragged
    return _told(table, path)


def _read_ragged(path: str | os.PathLike[str], names: list[str]) -> pa.Table | None:
    """Cells as text; a row with too few or too many is kept blank, and told in the metadata `ragged`.

    None if the file is no text, or a quotation mark that is never closed swallows other rows.
    """
    rows, ragged = [], {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for cells in filter(None, reader):
                if len(cells) != len(names):
                    if any("\n" in cell for cell in cells):
                        return None
                    ragged[len(rows)] = f"{len(cells)} cells where the header has {len(names)}; mend the row"
                    cells = [cells[0], *[""] * (len(names) - 1)]
                rows.append([cell or None for cell in cells])
    except (UnicodeDecodeError, csv.Error):
        return None
    schema = pa.schema([(name, pa.string()) for name in names], metadata={"ragged": json.dumps(ragged)})
    return pa.table([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], schema=schema)


def _told(table: pa.Table, path: str | os.PathLike[str]) -> pa.Table:
    """The table with what the file beside it says of its columns, if that is one of ours and whole."""
    told = {}
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        columns = json.loads(Path(beside_csv(path)).read_text("utf-8"))["tableSchema"]["columns"]
        keys = ("dc:description", "schema:unitText", "schema:propertyID")
        told = {column["name"]: meaning(*map(column.get, keys)) for column in columns}
        fields = [field.with_metadata(told.get(field.name)) for field in table.schema]
        table = pa.Table.from_arrays(table.columns, schema=pa.schema(fields, table.schema.metadata))
    return table
