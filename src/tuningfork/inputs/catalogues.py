"""Catalogues: tables with a path, an address or the image's bytes in every row."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
import pyarrow.parquet as pq

from .._utils.errors import InputError
from .._utils.text import one_line, text
from .._utils.urls import is_url, join_url, name_of, public_url
from ..images.image import MAX_FILE_BYTES, ImageError
from ..tables import format_of, formats, has_format
from ..tables.angles import AngleError, Position, is_blank, parse_size
from ..tables.column_roles import Columns, ImageColumns, image_columns
from ..tables.identifiers import IdentifierError, exact_id, file_id, integer_limit
from .byte_source import CHANGED, ByteSource, ReadAhead, SourceUnavailable
from .files import file_item
from .item import InputItem, native_path
from .objects import object_item, opened
from .stores import check_url, store_of
from .table_rows import CsvRows, ParquetRows, Rows, WholeRows, parquet_file

__all__ = ["RowReader", "id_limit", "open_rows", "row_id", "table_items", "table_kind"]

#: Bytes of images that are decoded together.
BATCH_BYTES = 8 * 2**20


def table_kind(name: str) -> str | None:
    """How the rows of a table are read, by its file's extension, also before ``.gz``; None if it is no table's."""
    if not has_format(name):
        return None
    kind = format_of(name).name
    # Parquet is read from its end, which gzip does not allow.
    if kind == "parquet" and name.lower().endswith(".gz"):
        return None
    return kind if kind in ("parquet", "csv") else "whole"


def open_rows(location: str) -> tuple[Rows, str]:
    """A table's rows, a file's or an address', and its stamp.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    where = text(public_url(location))
    kind = table_kind(name_of(location))
    if kind is None:
        raise InputError(f"{where}: no catalogue by its extension; {', '.join(formats())} are read")
    if kind == "whole":
        if is_url(location):
            raise InputError(
                f"{where}: only Parquet and CSV are read from a store; copy it to this machine, or save it so"
            )
        return WholeRows(location), ""
    try:
        source = opened(location)
    except SourceUnavailable as error:
        raise InputError(f"{where}: {error}") from None
    if kind == "csv" and is_url(location):
        source = ReadAhead(source)
    return (ParquetRows(source, where) if kind == "parquet" else CsvRows(source, where)), source.stamp


def table_items(location: str, columns: Columns = Columns()) -> Iterator[InputItem]:
    """The rows of a catalogue, a file or an address; every row is an item.

    A row without an image, with a blank name, or with a position that cannot be read is an item with an error;
    without a name it is called by its number (from 1). Names may come more than once. Positions may be blank.

    Raises
    ------
    InputError
        If the table cannot be read, or it is not clear which columns are meant, or if decimal numbers stand for IDs
        that they cannot hold.
    """
    where = text(public_url(location))
    table, stamp = open_rows(location)
    chosen = image_columns(columns, table.schema, where)
    make = _bytes_row(table.schema, chosen, location, where, stamp) if chosen.is_bytes else _path_row(location, where)
    carried = [name for name, _ in columns.carried]
    image = _listed_column(table.schema, chosen)
    ra, dec = (chosen.positions.ra, chosen.positions.dec) if chosen.positions else (None, None)
    names = [chosen.id, ra, dec, chosen.radius, columns.error, image]
    wanted = [*(name for name in names if name is not None), *carried]
    limit = id_limit(chosen.id, table.schema)
    number = 0
    for number, (values, problem) in enumerate(table.rows(wanted), 1):
        row = f"{where}#row{number}"
        if problem:
            yield InputItem(f"row {number}", row, "file", "", error=problem)
            continue
        cells_left = iter(values)
        cells = [None if name is None else next(cells_left) for name in names]
        id_, right_ascension, declination, radius, reason, content = cells
        name = row_id(id_, chosen.id, where, number, limit)
        if chosen.id is not None and not name:
            yield InputItem(
                f"row {number}", row, "file", "", error=f"no ID in column {chosen.id!r}; give the galaxy one"
            )
            continue
        position = _position(chosen, right_ascension, declination)
        beside = {"right_ascension": position.ra, "declination": position.dec, "carried": _carried(cells_left)}
        problem = str(reason or "") or position.error
        if chosen.radius is not None:
            try:
                beside["radius"] = parse_size(radius, chosen.radius_unit)
            except AngleError as error:
                problem = problem or f"column {chosen.radius!r}: {error}"
        if not problem and not chosen.is_bytes and not str(content or "").strip():
            problem = f"no path in column {chosen.image!r}"
        if problem:
            yield InputItem(name or f"row {number}", row, "file", "", error=text(problem), **beside)
            continue
        yield replace(make(number, row, name, content), **beside)


def _position(chosen: ImageColumns, ra: object, dec: object) -> Position:
    if chosen.positions is None or (is_blank(ra) and is_blank(dec)):
        return Position(math.nan, math.nan)
    return chosen.positions.read(ra, dec)


_Make = Callable[[int, str, str, object], InputItem]


def _carried(values: Iterator[object]) -> str:
    content = list(values)
    return json.dumps(content, default=str) if content else ""


def _listed_column(schema: pa.Schema, chosen: ImageColumns) -> str | None:
    """The column that the listing reads of the images: never the bytes."""
    if not chosen.is_bytes:
        return chosen.image
    kind = schema.field(chosen.image).type
    has_path = pa.types.is_struct(kind) and kind.get_field_index("path") >= 0
    return f"{chosen.image}.path" if has_path and pa.types.is_string(kind.field("path").type) else None


def _bytes_row(schema: pa.Schema, chosen: ImageColumns, location: str, where: str, stamp: str) -> _Make:
    member = chosen.image

    def make(number: int, row: str, name: str, content: object) -> InputItem:
        stem = file_id(str(content)) if content else ""
        return InputItem(name or stem or str(number), row, "row", location, member, number - 1, -1, stamp)

    return make


def _path_row(location: str, where: str) -> _Make:
    is_remote = is_url(location)
    folder = location.partition("?")[0].rpartition("/")[0] if is_remote else Path(location).parent

    def make(number: int, row: str, name: str, content: object) -> InputItem:
        path = str(content)
        try:
            item = _reached(path, folder)
        except InputError as error:
            item = InputItem(name or f"row {number}", row, "file", "", error=str(error))
        if item.kind == "object":
            try:
                store_of(item.location)
            except SourceUnavailable as error:
                raise InputError(f"{where}, row {number}: {error}") from None
        return replace(item, id=name or item.id)

    return make


def _reached(path: str, folder: str | Path) -> InputItem:
    if is_url(path) and not path.lower().startswith("file://"):
        check_url(path)
        return object_item(path)
    if isinstance(folder, Path):
        if path.lower().startswith("file://"):
            try:
                path = url2pathname(urlsplit(path).path)
            except ValueError as error:
                raise InputError(f"{text(path)}: {error}") from None
        return file_item(folder / native_path(path))
    # Whoever writes into a store shall not choose which files of this machine are opened.
    if path.startswith("/") or is_url(path):
        raise InputError(f"{text(path)}: a catalogue in a store names files beside it, or addresses")
    return object_item(join_url(folder, path))


def id_limit(column: str | None, schema: pa.Schema) -> int:
    """The greatest integer that the column of IDs holds exactly."""
    return integer_limit(schema.field(column).type) if column is not None else 0


def row_id(value: object, column: str | None, where: str, number: int, limit: int = 2**53) -> str:
    """A cell as an exact ID, "" if it is blank; raises InputError for a number that has lost its digits."""
    try:
        return exact_id(value, limit)
    except IdentifierError as error:
        raise InputError(f"{where}: row {number}, column {column!r}: {error}") from None


class RowReader:
    """Reads bytes out of Parquet files, forward through them; see `opening.Reader`.

    The bytes come with `prepare`, as a Parquet file is no place for several threads. What lies between two rows of
    a row group is decoded and dropped; going back begins the row group again. At most `BATCH_BYTES` of an average
    row group's images are held, or one image.
    """

    def __init__(self) -> None:
        self._key: tuple[str, str, str] | None = None
        self._file: _Column | None = None

    def prepare(self, item: InputItem) -> Callable[[], bytes]:
        """The row's bytes."""
        key = (item.location, item.member, item.stamp)
        if key != self._key or self._file is None:
            self._key, self._file = None, None
            self._file = _Column(opened(item.location, item.stamp), item.member)
            self._key = key
        data = self._file.cell(item.offset)
        if len(data) > MAX_FILE_BYTES:
            raise ImageError(f"file of {len(data)} bytes; at most {MAX_FILE_BYTES} are read")
        return lambda: data

    def close(self) -> None:
        """Let go of the file."""
        self._key, self._file = None, None


class _Column:
    """One column of bytes of a Parquet file, with a position that moves forward."""

    def __init__(self, source: ByteSource, name: str) -> None:
        try:
            self._file = parquet_file(source)
        except ImageError:
            raise
        except Exception as error:  # damaged files raise many kinds
            raise ImageError(f"the catalogue cannot be read: {one_line(error)}") from None
        metadata = self._file.metadata
        self._name = name
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self._starts = [0]
        for group in groups:
            self._starts.append(self._starts[-1] + group.num_rows)
        self._sizes = [_image_bytes(group, name) for group in groups]
        self._group = -1
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._values: pa.Array | None = None
        self._first = 0
        self._broken: tuple[int, int, str] | None = None

    def cell(self, row: int) -> bytes:
        """The bytes in a row, counted from 0; raises ImageError."""
        if row >= self._starts[-1]:
            raise ImageError(CHANGED)
        group = bisect_right(self._starts, row) - 1
        if self._broken is not None and self._broken[0] == group and row >= self._broken[1]:
            raise ImageError(self._broken[2])
        if group != self._group or row < self._first:
            self._begin(group)
        while self._values is None or row >= self._first + len(self._values):
            self._next(group)
        value = self._values[row - self._first].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if not isinstance(value, bytes):
            raise ImageError(f"no image in column {self._name!r}")
        return value

    def _begin(self, group: int) -> None:
        rows = max(1, min(1024, BATCH_BYTES // max(1, self._sizes[group])))
        self._group, self._first, self._values = group, self._starts[group], None
        self._batches = self._file.iter_batches(rows, row_groups=[group], columns=[self._name], use_threads=False)

    def _next(self, group: int) -> None:
        if self._values is not None:
            self._first += len(self._values)
            self._values = None
        try:
            self._values = next(self._batches).column(0)
        except ImageError:
            self._group = -1
            raise
        except Exception as error:  # damaged files raise many kinds
            at = self._first
            self._group = -1
            self._broken = (group, at, f"the catalogue is damaged from row {at + 1} on: {one_line(error)}")
            raise ImageError(self._broken[2]) from None


def _image_bytes(group: pq.RowGroupMetaData, name: str) -> int:
    """What an image takes: on the average, or at most where a dictionary may hold one that many rows refer to."""
    chunks = [group.column(number) for number in range(group.num_columns)]
    own = [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] == name]
    size = sum(chunk.total_uncompressed_size for chunk in own)
    return size if any(chunk.has_dictionary_page for chunk in own) else size // max(1, group.num_rows)
