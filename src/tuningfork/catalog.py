"""Tables in and out: CSV, Parquet, FITS, VOTable and ECSV, told apart by the file's extension."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from .arrow import vector_array, vectors
from .files import whole_file, write_text

__all__ = [
    "CatalogError",
    "Column",
    "FORMATS",
    "VECTOR_FORMATS",
    "RowError",
    "arrow_schema",
    "check_format",
    "read_table",
    "table_format",
    "table_writer",
]

#: Extension → format.
FORMATS = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ecsv",
    ".vot": "votable",
    ".vo": "votable",
    ".xml": "votable",
    ".votable": "votable",
}

#: Those that hold columns of vectors; in the others each number would be text.
VECTOR_FORMATS = ("parquet", "fits")


class CatalogError(ValueError):
    """A table that cannot be used as a whole; names the file, the column and the remedy."""


@dataclass(frozen=True, slots=True)
class RowError:
    """One row or file that cannot be used. `row` counts data rows from 1; 0 where there is no row to name."""

    file: str
    row: int
    id: str
    column: str
    reason: str

    def __str__(self) -> str:
        where = self.file + (f", row {self.row}" if self.row else "") + (f" ({self.id})" if self.id else "")
        return f"{where}{f', column {self.column}' if self.column else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an output table: name, Arrow type, unit (VOUnit text, "" for none) and what it means."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""


def table_format(path: str | os.PathLike[str]) -> str:
    """The format that a file's extension asks for. Raises CatalogError if it asks for none we know."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise CatalogError(f"{path}: extension {suffix or '(none)'} is none of {', '.join(FORMATS)}")
    return FORMATS[suffix]


def check_format(path: str | os.PathLike[str]) -> None:
    """Raise CatalogError now, rather than after hours of work, if a table cannot be written as `path` asks."""
    if table_format(path) in ("fits", "votable", "ecsv"):
        _astropy(path)


def arrow_schema(columns: Iterable[Column], metadata: dict[str, str] | None = None) -> pa.Schema:
    """An Arrow schema that carries every column's description and unit."""
    fields = [
        pa.field(c.name, c.type, metadata={"description": c.description, **({"unit": c.unit} if c.unit else {})})
        for c in columns
    ]
    return pa.schema(fields, metadata=metadata or {})


# ---------------------------------------------------------------- out


@contextmanager
def table_writer(path: str | os.PathLike[str], schema: pa.Schema) -> Iterator[Any]:
    """A function to call with each Arrow table; the file appears, whole, when the block ends well.

    CSV and Parquet are written as they come. FITS, VOTable and ECSV need astropy and are put together
    in memory (about half a kilobyte a galaxy), since their headers state what follows. A CSV cannot say
    what its columns mean; beside it comes ``PATH-metadata.json``, where W3C's CSV on the Web looks for it.

    Raises
    ------
    CatalogError
        If the format needs astropy and it is not installed, or does not hold a column of vectors.
    """
    kind = table_format(path)
    check_format(path)
    wide = [field.name for field in schema if pa.types.is_fixed_size_list(field.type)]
    if wide and kind not in VECTOR_FORMATS:
        raise CatalogError(f"{path}: column {wide[0]!r} is of vectors, which Parquet and FITS hold; name it .parquet")
    with whole_file(path) as beside:
        if kind == "csv":
            with pa.csv.CSVWriter(str(beside), schema) as writer:
                yield writer.write_table
        elif kind == "parquet":
            with pa.parquet.ParquetWriter(str(beside), schema, compression="zstd") as writer:
                yield writer.write_table
        else:
            parts: list[pa.Table] = []
            yield parts.append
            _write_astropy(pa.concat_tables(parts) if parts else schema.empty_table(), beside, kind)
    if kind == "csv":
        write_text(f"{os.fspath(path)}-metadata.json", _csv_metadata(Path(path).name, schema))


def _csv_metadata(name: str, schema: pa.Schema) -> str:
    kinds = {"bool": "boolean", "float": "float", "double": "double", "int8": "byte"}
    columns = []
    for column in schema:
        about = {k.decode(): v.decode() for k, v in (column.metadata or {}).items()}
        columns.append(
            {
                "name": column.name,
                "titles": column.name,
                "dc:description": about.get("description", ""),
                "datatype": kinds.get(str(column.type), "string"),
                **({"schema:unitText": about["unit"]} if "unit" in about else {}),
            }
        )
    content = {"@context": "http://www.w3.org/ns/csvw", "url": name, "tableSchema": {"columns": columns}}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _astropy(path: str | os.PathLike[str]) -> None:
    try:
        import astropy.table  # noqa: F401
    except ImportError:
        raise CatalogError(f"{path}: this format needs astropy: pip install 'tuningfork[sky]'") from None


def _write_astropy(table: pa.Table, path: Path, kind: str) -> None:
    from astropy.table import Column as TableColumn
    from astropy.table import MaskedColumn, Table

    out = Table(meta={k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()})
    for name, values in zip(table.column_names, table.columns, strict=True):
        meta = {k.decode(): v.decode() for k, v in (table.schema.field(name).metadata or {}).items()}
        about = {"description": meta.get("description"), "unit": meta.get("unit")}
        if pa.types.is_string(values.type):
            # FITS and VOTable have no null text; the empty one stands for it.
            texts = [text or "" for text in values.to_pylist()]
            column = np.array(texts, dtype=str) if texts else np.empty(0, "U1")
            # FITS knows only ASCII and astropy refuses the rest; as UTF-8, astropy reads it back.
            out[name] = TableColumn(np.char.encode(column, "utf-8") if kind == "fits" else column, **about)
        elif pa.types.is_fixed_size_list(values.type):
            out[name] = TableColumn(vectors(values), **about)
        elif pa.types.is_floating(values.type):
            out[name] = TableColumn(pc.fill_null(values, math.nan).to_numpy(), **about)
        elif pa.types.is_boolean(values.type):
            # None of the three has a null truth value that all readers know; the number beside it is blank.
            out[name] = TableColumn(pc.fill_null(values, False).to_numpy(), **about)
        else:
            # FITS and VOTable have no signed bytes; their null is a number that nothing else has.
            wide = np.int16 if values.type.bit_width == 8 else np.int64
            null = np.iinfo(wide).min
            numbers = pc.fill_null(values.cast(pa.from_numpy_dtype(wide)), null).to_numpy()
            out[name] = MaskedColumn(numbers, mask=values.is_null().to_numpy(), fill_value=null, **about)
    options = {"fits": {"format": "fits"}, "votable": {"format": "votable"}, "ecsv": {"format": "ascii.ecsv"}}[kind]
    if kind == "fits":
        out.meta = {key.upper()[:8]: value for key, value in out.meta.items()}
        out.rename_columns(out.colnames, [_ascii(name) for name in out.colnames])
    with warnings.catch_warnings():
        # Units and names that a format knows only by its own spelling.
        warnings.simplefilter("ignore")
        try:
            out.write(path, overwrite=True, **options)
        except OSError as error:
            if error.errno is None and "space" in str(error):  # astropy's own words, without the number
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise
    if kind == "fits":
        _describe_fits(path, out)


def _describe_fits(path: Path, table: Any) -> None:
    # astropy writes names and units but not descriptions; TCOMMn is the keyword TOPCAT reads and writes.
    from astropy.io import fits

    with fits.open(path, mode="update") as hdus:
        for number, name in enumerate(table.colnames, 1):
            # CONTINUE cards carry texts that are longer than one card.
            hdus[1].header[f"TCOMM{number}"] = _ascii(table[name].description or "")


def _ascii(text: str) -> str:
    # A FITS header holds nothing else.
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()


# ---------------------------------------------------------------- in


def read_table(path: str | os.PathLike[str], *, text: bool = False) -> pa.Table:
    """A whole table of any of the formats. With `text`, a CSV's cells stay text, to judge them one by one.

    Raises
    ------
    CatalogError
        If the file is missing, empty, damaged, or has a column twice.
    """
    kind = table_format(path)
    try:
        if kind == "csv":
            table = _read_csv(path, text)
        elif kind == "parquet":
            table = pa.parquet.read_table(os.fspath(path), partitioning=None)
        else:
            table = _read_astropy(path, kind)
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file; check its name") from None
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, kind, error) from None
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CatalogError(f"{path}: column {twice[0]!r} appears {names.count(twice[0])} times; keep one")
    return table


def _unreadable(path: str | os.PathLike[str], kind: str, error: Exception) -> CatalogError:
    why = " ".join(str(error).split())
    return CatalogError(f"{path}: cannot be read as {kind}: {why}; is the file whole, and its extension right?")


def _read_csv(path: str | os.PathLike[str], text: bool) -> pa.Table:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        names = [name.strip() for name in next(csv.reader([file.readline()]), [])]
        has_rows = bool(file.read(1))
    if not any(names):
        raise CatalogError(f"{path}: the file is empty; a line with the columns' names is expected first")
    if not has_rows:
        return pa.schema([(name, pa.string()) for name in names]).empty_table()
    types = dict.fromkeys(names, pa.string()) if text else None
    try:
        return pa.csv.read_csv(
            os.fspath(path),
            read_options=pa.csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""]),
        )
    except pa.ArrowInvalid:
        table = _read_ragged_csv(path, names) if text and len(set(names)) == len(names) else None
        if table is None:
            raise
        return table


def _read_ragged_csv(path: str | os.PathLike[str], names: list[str]) -> pa.Table | None:
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


def _read_astropy(path: str | os.PathLike[str], kind: str) -> pa.Table:
    _astropy(path)
    from astropy.table import Table

    options = {"fits": {"format": "fits"}, "votable": {"format": "votable"}, "ecsv": {"format": "ascii.ecsv"}}[kind]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = Table.read(path, **options)
    except FileNotFoundError:
        raise
    except Exception as error:  # astropy's readers raise many kinds on damaged files
        raise _unreadable(path, kind, error) from None
    arrays = {}
    for name in table.colnames:
        column = table[name]
        values = np.asarray(column)
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        if values.dtype.byteorder not in ("=", "|"):
            values = values.astype(values.dtype.newbyteorder("="))
        if values.ndim == 2 and values.dtype == np.float32:
            arrays[name] = vector_array(values)
            continue
        mask = getattr(column, "mask", None)
        mask = np.broadcast_to(mask, values.shape) if mask is not None else None
        try:
            arrays[name] = pa.array(values.tolist() if values.dtype.kind in "UO" else values, mask=mask)
        except pa.ArrowException as error:
            raise CatalogError(f"{path}: column {name!r} cannot be read: {error}; leave it out") from None
    return pa.table(arrays)
