"""ECSV: CSV with a header that says what its columns mean, astropy's own format."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .columns import about, about_table, plain_schema
from .formats import CatalogError, Format, needs_astropy
from .from_astropy import read_astropy
from .text_cells import Vector, rows_of_text

__all__ = ["FORMAT", "read_ecsv", "write_ecsv"]

#: Characters of a header; a column takes some hundred.
MAX_HEADER = 2**24
#: Nodes of YAML of a header whose aliases are replaced by what they stand for; a column takes ten.
MAX_NODES = 2**20
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
        known, kind = about(field), field.type
        is_vector = pa.types.is_fixed_size_list(kind)
        number = kind.value_type if is_vector else kind
        table[field.name] = TableColumn(
            shape=(kind.list_size,) if is_vector else (),
            dtype=str if pa.types.is_string(number) else number.to_pandas_dtype(),
            description=known.get("description"),
            unit=Unit(known["unit"], parse_strict="silent") if "unit" in known else None,
            meta={"ucd": known["ucd"]} if "ucd" in known else None,
        )
    text = io.StringIO()
    with warnings.catch_warnings():
        # Units that only their own surveys know.
        warnings.simplefilter("ignore")
        table.write(text, format="ascii.ecsv", delimiter=",")
    return text.getvalue().rstrip("\r\n") + "\n"


def _quoted(texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")


def read_ecsv(path: str | os.PathLike[str]) -> pa.Table:
    """Read an ECSV file.

    Raises
    ------
    CatalogError
        If the file is damaged, or aliases of YAML expand its header to more than `MAX_NODES`.
    """
    _check_header(path)
    return read_astropy(path, "ecsv", _read)


def _check_header(path: str | os.PathLike[str]) -> None:
    needs_astropy(path)
    import yaml

    header, size = [], 0
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for line in iter(lambda: file.readline(MAX_HEADER), ""):
            if not line.startswith("#"):
                break
            size += len(line)
            if size > MAX_HEADER:
                raise CatalogError(f"{path}: the header is longer than {MAX_HEADER} characters")
            if not line.startswith(("# %", "##")):
                header.append(line[2:])
    # What is no YAML the reader complains of.
    with suppress(yaml.YAMLError):
        if _expanded_nodes("".join(header)) > MAX_NODES:
            raise CatalogError(f"{path}: YAML aliases expand the header to more than {MAX_NODES} nodes; save it again")


def _expanded_nodes(header: str) -> int:
    """Nodes of a YAML document, those of an alias as often as it is used."""
    import yaml

    sizes: dict[str, int] = {}
    nested = [("", 0)]
    for event in yaml.parse(header, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            # Of an alias within its own anchor there is no end.
            nested[-1] = (nested[-1][0], nested[-1][1] + sizes.get(event.anchor, MAX_NODES))
        elif isinstance(event, yaml.ScalarEvent):
            sizes |= {event.anchor: 1} if event.anchor else {}
            nested[-1] = (nested[-1][0], nested[-1][1] + 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            nested.append((event.anchor or "", 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = nested.pop()
            sizes |= {anchor: size} if anchor else {}
            nested[-1] = (nested[-1][0], nested[-1][1] + size)
        if nested[-1][1] > MAX_NODES:
            break
    return nested[-1][1]


def _read(path: str | os.PathLike[str]) -> Any:
    from astropy.table import Table

    try:
        return Table.read(path, format="ascii.ecsv")
    except ValueError:
        # The Gaia archive writes a null as a word.
        return Table.read(path, format="ascii.ecsv", fill_values=[("", "0"), ("null", "0")])


FORMAT = Format("ecsv", (".ecsv",), read_ecsv, write_ecsv, astropy=True)
