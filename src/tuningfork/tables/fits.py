"""FITS binary tables (FITS standard 4.0, Pence et al. 2018), written row by row."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from . import ucd
from .columns import about, about_table, plain_schema
from .formats import Format
from .from_astropy import only_table, read_astropy

__all__ = ["FORMAT", "read_fits", "write_fits"]

_BLOCK = 2880
#: Begins the comment in which astropy tells what objects columns stand for.
_MIXINS = "--BEGIN-ASTROPY-SERIALIZED-COLUMNS--"
_LETTERS = {np.dtype(np.int16): "I", np.dtype(np.int32): "J", np.dtype(np.int64): "K"} | {
    np.dtype(np.float32): "E",
    np.dtype(np.float64): "D",
}


@contextmanager
def write_fits(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends Arrow tables to the file.

    The header says how many rows follow and how long the longest text of each column is, so rows wait in a
    temporary file beside `path` until the last one has come.
    """
    plain = plain_schema(schema, "FITS")
    rows, widths = 0, dict.fromkeys((f.name for f in plain if pa.types.is_string(f.type)), 1)
    with tempfile.TemporaryFile(dir=path.parent) as waiting:
        with pa.ipc.new_stream(waiting, plain) as sink:

            def write(table: pa.Table) -> None:
                nonlocal rows
                table = table.cast(plain)
                rows += len(table)
                for name in widths:
                    widths[name] = max(widths[name], pc.max(pc.binary_length(table[name])).as_py() or 0)
                sink.write_table(table)

            yield write
        waiting.seek(0)
        with open(path, "wb") as file:
            _write_rows(file, plain, widths, rows, pa.ipc.open_stream(waiting))


def _write_rows(
    file: IO[bytes], schema: pa.Schema, widths: dict[str, int], rows: int, batches: pa.RecordBatchStreamReader
) -> None:
    from astropy.io import fits

    dtype = np.dtype([(f"f{at}", *_stored(field, widths)) for at, field in enumerate(schema)])
    file.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
    file.write(_header(schema, dtype, rows).encode("ascii"))
    for batch in batches:
        records = np.empty(len(batch), dtype)
        for name, column in zip(dtype.names or (), batch.columns, strict=True):
            records[name] = _values(column, dtype[name])
        file.write(records.tobytes())
    file.write(bytes(-rows * dtype.itemsize % _BLOCK))


def _stored(field: pa.Field, widths: dict[str, int]) -> tuple[Any, ...]:
    """The big-endian type of a column's cells, and the shape of a vector."""
    kind = field.type
    if pa.types.is_string(kind):
        return (f"S{widths[field.name]}",)
    if pa.types.is_fixed_size_list(kind):
        return np.dtype(kind.value_type.to_pandas_dtype()).newbyteorder(">"), (kind.list_size,)
    if pa.types.is_boolean(kind):
        return (np.uint8,)
    number = np.dtype(kind.to_pandas_dtype())
    if number.kind != "f":
        # The least number is the null, so it is of a type with one to spare.
        number = np.dtype({1: np.int16, 2: np.int32}.get(number.itemsize, np.int64))
    return (number.newbyteorder(">"),)


def _values(values: pa.Array, stored: np.dtype[Any]) -> NDArray[Any]:
    if stored.kind == "S":
        return np.array([text or b"" for text in values.cast(pa.binary()).to_pylist()], stored)
    if stored.subdtype is not None:
        vectors = np.full((len(values), *stored.shape), np.nan, stored.base)
        vectors[values.is_valid().to_numpy(False)] = (
            pc.fill_null(values.drop_null().flatten(), np.nan).to_numpy(False).reshape(-1, *stored.shape)
        )
        return vectors
    if pa.types.is_boolean(values.type):
        # T, F, or a zero byte where it is not known.
        letters = np.where(pc.fill_null(values, False).to_numpy(False), ord("T"), ord("F")).astype(np.uint8)
        return letters * values.is_valid().to_numpy(False)
    if pa.types.is_floating(values.type):
        return pc.fill_null(values, np.nan).to_numpy(False)
    return pc.fill_null(values.cast(pa.int64()), int(np.iinfo(stored).min)).to_numpy(False)


def _header(schema: pa.Schema, dtype: np.dtype[Any], rows: int) -> str:
    from astropy.io import fits

    columns = [fits.Column(f"f{at}", _form(field, dtype[at])) for at, field in enumerate(schema)]
    header = fits.BinTableHDU.from_columns(fits.ColDefs(columns), nrows=0).header
    header["NAXIS2"] = rows
    for number, field in enumerate(schema, 1):
        known = about(field)
        header[f"TTYPE{number}"] = _ascii(field.name)
        if pa.types.is_integer(field.type):
            header[f"TNULL{number}"] = int(np.iinfo(dtype[number - 1]).min)
        if "unit" in known:
            header[f"TUNIT{number}"] = _unit(known["unit"])
        if "ucd" in known:
            header[f"TUCD{number}"] = _ascii(known["ucd"])
        # TCOMMn and TUCDn are the keywords that TOPCAT reads and writes.
        header[f"TCOMM{number}"] = _ascii(known.get("description", ""))
    for name, value in about_table(schema).items():
        header[name.upper() if len(name) <= 8 else f"HIERARCH {name}"] = _ascii(value)
    if any(about(field).get("ucd") == ucd.RIGHT_ASCENSION for field in schema):
        header["RADESYS"] = "ICRS"
    return str(header.tostring())


def _form(field: pa.Field, stored: np.dtype[Any]) -> str:
    if stored.kind == "S":
        return f"{stored.itemsize}A"
    if pa.types.is_boolean(field.type):
        return "L"
    number = stored.base.newbyteorder("=")
    return f"{stored.shape[0] if stored.shape else ''}{_LETTERS[number]}"


def _unit(text: str) -> str:
    from astropy.units import Unit

    with warnings.catch_warnings():
        # Units that only their own surveys know.
        warnings.simplefilter("ignore")
        try:
            return str(Unit(text, format="vounit").to_string("fits"))
        except (ValueError, TypeError):
            return _ascii(text)


def _ascii(text: str) -> str:
    # A FITS header holds nothing else.
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()


def read_fits(path: str | os.PathLike[str]) -> pa.Table:
    """Read the first table of a FITS file.

    Raises
    ------
    CatalogError
        If there is none, or the file is damaged.
    """
    return read_astropy(path, "fits", _read)


def _read(path: str | os.PathLike[str]) -> Any:
    from astropy.io import fits
    from astropy.table import MaskedColumn, Table

    with fits.open(path, memmap=False) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        if not tables:
            raise ValueError("there is no table in it")
        # SExtractor's LDAC files begin with the header of the image as a table.
        hdu = only_table([(t.header["NAXIS2"] * (t.name != "LDAC_IMHEAD"), t.name, t) for t in tables], path)
        nulls = [hdu.header.get(f"TNULL{number}") for number in range(1, len(hdu.columns) + 1)]
        if isinstance(hdu, fits.TableHDU):
            for name in hdu.columns.names:
                hdu.data.field(name)  # which turns text into numbers, nulls left out
        # astropy compares scaled numbers with a null that stands for a number as it is stored, and numbers with text.
        for column in hdu.columns:
            column.null = None
        mixed = Table.read(hdu, format="fits") if _MIXINS in hdu.header.get("COMMENT", ()) else None
        hdu.header.remove("COMMENT", ignore_missing=True, remove_all=True)
        table = Table.read(hdu, format="fits")
        raw = hdu.data.view(np.ndarray)
        frame = _frame(hdu.header)
        for number, name in enumerate(table.colnames, 1):
            stored, null = raw[raw.dtype.names[number - 1]], nulls[number - 1]
            # A truth that is not known is a zero byte, which astropy takes for false.
            if hdu.columns[number - 1].format.endswith("L") and stored.dtype.kind == "i":
                null = 0
            unknown = _unknown(stored, null)
            if unknown.any():
                table[name] = MaskedColumn(table[name], mask=unknown)
            column = table[name]
            column.description = hdu.header.get(f"TCOMM{number}", column.description)
            column.meta |= {"ucd": hdu.header.get(f"TUCD{number}"), "frame": frame}
            column.meta["name"] = str(hdu.header.get(f"TTYPE{number}", name)).strip() or name
            if hdu.header.get(f"TUNIT{number}") == "":
                column.unit = ""
        if mixed is not None:
            _put_mixins(table, mixed)
        table.meta = {key.lower(): value for key, value in hdu.header.items()}
    return table


def _unknown(stored: NDArray[Any], null: object) -> NDArray[np.bool_]:
    """Cells as they are stored that equal the column's null, of numbers or of the text of an ASCII table."""
    if isinstance(null, int) and stored.dtype.kind in "iu":
        return np.asarray(stored == null)
    if isinstance(null, str) and null.strip() and stored.dtype.kind == "S":
        return np.asarray(np.char.strip(stored) == null.strip().encode("ascii", "replace"))
    return np.zeros(len(stored), bool)


def _put_mixins(table: Any, mixed: Any) -> None:
    """Coordinates, which astropy writes as several columns and a comment, in place of these columns."""
    for name in mixed.colnames:
        if hasattr(mixed[name], "icrs"):
            parts = [part for part in table.colnames if part == name or part.startswith(f"{name}.")]
            table.add_column(mixed[name], name=f"{name}\0", index=table.colnames.index(parts[0]) if parts else None)
            table.remove_columns(parts)
            table.rename_column(f"{name}\0", name)


def _frame(header: Any) -> str:
    """The frame of a table's positions if it is neither ICRS nor FK5, whose difference is below 0.1 arcsec."""
    frame = str(header.get("RADESYS", header.get("RADECSYS", ""))).strip().upper()
    equinox = _year(header.get("EQUINOX", header.get("EPOCH")))
    # Without a frame, an equinox before 1984 stands for FK4 (FITS standard 4.0, section 8.3).
    if not frame and equinox is not None and equinox < 1984:
        frame = "FK4"
    equinox = _year(header.get("EQUINOX"))
    if frame in ("", "FK5") and equinox is not None and abs(equinox - 2000) > 0.01:
        return f"FK5 of the equinox {equinox:g}"
    return frame if frame.startswith(("FK4", "GAPPT")) else ""


def _year(equinox: object) -> float | None:
    """An equinox, also as the text that some programs write: B1950, J2000.0."""
    try:
        return float(str(equinox).strip().lstrip("BJbj"))
    except ValueError:
        return None


FORMAT = Format("fits", (".fits", ".fit", ".fts"), read_fits, write_fits, astropy=True)
