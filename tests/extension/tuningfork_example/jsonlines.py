"""A table format: one JSON object per line."""

import json
from contextlib import contextmanager

import pyarrow as pa
from pyarrow import json as arrow_json

from tuningfork.tables import Format


def read(path, **_):
    """Read a whole table."""
    return arrow_json.read_json(path)


@contextmanager
def write(path, schema):
    """Give a function that appends tables."""
    with open(path, "w", encoding="utf-8") as file:

        def append(table: pa.Table) -> None:
            file.writelines(json.dumps(row) + "\n" for row in table.to_pylist())

        yield append


FORMAT = Format("jsonl", (".jsonl",), read, write)
