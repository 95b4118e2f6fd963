"""CSV on the Web (W3C): the JSON file beside a CSV that says what its columns mean."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from .columns import about, about_table, meaning

__all__ = ["metadata_path", "metadata_text", "with_metadata"]

_TYPES = {"bool": "boolean", "float": "float", "double": "double", "int8": "byte"}


def metadata_path(path: str | os.PathLike[str]) -> str:
    """Where CSV on the Web looks for what a file's columns mean."""
    return f"{os.fspath(path)}-metadata.json"


def metadata_text(name: str, schema: pa.Schema) -> str:
    """The content of that file: types, descriptions, units and UCDs of the columns of the CSV file `name`."""
    columns = []
    for field in schema:
        known = about(field)
        columns.append(
            {
                "name": field.name,
                "titles": field.name,
                "dc:description": known.get("description", ""),
                "datatype": _TYPES.get(str(field.type), "integer" if pa.types.is_integer(field.type) else "string"),
                **({"schema:unitText": known["unit"]} if "unit" in known else {}),
                **({"schema:propertyID": known["ucd"]} if "ucd" in known else {}),
            }
        )
    table = about_table(schema)
    keys = {"description": "dc:description", "creator": "dc:creator"}
    notes = [{"name": key, "value": value} for key, value in table.items() if key not in keys]
    content = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": name,
        **{keys[key]: value for key, value in table.items() if key in keys},
        **({"notes": notes} if notes else {}),
        "tableSchema": {"columns": columns},
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def with_metadata(schema: pa.Schema, path: str | os.PathLike[str]) -> pa.Schema:
    """Add what the file beside the CSV file `path` says of it and its columns, if there is a valid one."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        content = json.loads(Path(metadata_path(path)).read_text("utf-8"))
        columns = content["tableSchema"]["columns"]
        about_column = ("dc:description", "schema:unitText", "schema:propertyID")
        known = {column["name"]: meaning(*map(column.get, about_column)) for column in columns}
        keys = {"description": "dc:description", "creator": "dc:creator"}
        table = {key: content[name] for key, name in keys.items() if name in content}
        table |= {str(note["name"]): str(note["value"]) for note in content.get("notes", ())}
        fields = [field.with_metadata(known.get(field.name)) for field in schema]
        return pa.schema(fields, {**(schema.metadata or {}), **table} or None)
    return schema
