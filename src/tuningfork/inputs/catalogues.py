"""Catalogues: tables with a path, an address or the image's bytes in every row."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa

from .._utils.compression import has_compression
from .._utils.errors import InputError
from .._utils.text import native_path, text
from .._utils.urls import is_url, join_url, name_of, public_url
from ..tables import format_of, formats, has_format
from ..tables.angles import AngleError, is_blank, parse_size
from ..tables.column_roles import Columns, ImageColumns, image_columns
from ..tables.columns import Column
from ..tables.formats import holds_ecsv
from ..tables.hats import hats_partitions
from ..tables.identifiers import IdentifierError, RoundedIds, exact_id, file_id, integer_limit
from ..tables.positions import Position, hours_warning
from .byte_source import ReadAhead, SourceUnavailable
from .cell_types import converted
from .files import file_item
from .item import InputItem
from .objects import object_item, open_byte_source
from .stores import check_url, store_of

if TYPE_CHECKING:
    from .table_rows import Rows

logger = logging.getLogger(__name__)

__all__ = ["id_limit", "open_rows", "row_id", "table_items", "table_kind"]


def table_kind(name: str) -> str | None:
    """How a table's rows are read, by its extension, also before ``.gz`` or ``.bz2``; None if it is no table."""
    if not has_format(name):
        return None
    kind = format_of(name).name
    # Parquet is read from its end, which compression does not allow.
    if kind == "parquet" and has_compression(name):
        return None
    return kind if kind in ("parquet", "csv") else "whole"


def open_rows(location: str) -> tuple[Rows, str]:
    """A table's rows, a file's, an address' or a HATS catalogue's, and its stamp.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    # Parquet and CSV take a tenth of a second to import, which images in files do not need.
    from .table_rows import CsvRows, HatsRows, ParquetRows, WholeRows

    where = text(public_url(location))
    if partitions := [] if is_url(location) else hats_partitions(location):
        return HatsRows(partitions, where), ""
    kind = table_kind(name_of(location))
    if kind is None:
        raise InputError(f"{where}: no catalogue by its extension; {', '.join(formats())} are read")
    if kind == "csv" and not is_url(location) and holds_ecsv(location):
        kind = "whole"
    if kind == "whole":
        if is_url(location):
            raise InputError(
                f"{where}: only Parquet and CSV are read from a store; copy it to this machine, or save it so"
            )
        return WholeRows(location), ""
    try:
        source = open_byte_source(location)
    except SourceUnavailable as error:
        raise InputError(f"{where}: {error}") from None
    if kind == "csv" and is_url(location):
        source = ReadAhead(source)
    return (ParquetRows(source, where) if kind == "parquet" else CsvRows(source, where)), source.stamp


def table_items(location: str, columns: Columns = Columns()) -> Iterator[InputItem]:
    """The rows of a catalogue, a file or an address; every row is an item.

    A row without an image, with a blank name, or with a position that cannot be read is an item with an error;
    without a name it is called by its number (from 1). Names may come more than once. Positions may be blank; right
    ascensions that look like hours are warned of at the end.

    Raises
    ------
    InputError
        If the table cannot be read, or it is not clear which columns are meant, or if decimal numbers stand for IDs
        that they cannot hold.
    """
    where = text(public_url(location))
    table, stamp = open_rows(location)
    if os.path.isdir(location) and image_columns(columns, table.schema, where).is_bytes:
        # Images within a HATS catalogue are read from the file of their row's partition.
        for partition in hats_partitions(location):
            yield from table_items(str(partition), columns)
        return
    rows = _RowItems(location, where, stamp, table.schema, columns)
    for number, (values, problem) in enumerate(table.rows(rows.names), 1):
        yield rows.failed(number, problem) if problem else rows.item(number, values)
    for warning in rows.warnings():
        logger.warning("%s: %s", where, warning)


class _RowItems:
    """Makes the item of each row of a catalogue, and remembers what is odd about all of them together.

    Attributes
    ----------
    names : list of str
        The columns whose cells `item` takes.
    """

    def __init__(self, location: str, where: str, stamp: str, schema: pa.Schema, columns: Columns) -> None:
        chosen = image_columns(columns, schema, where)
        self._where, self._chosen, self._carried = where, chosen, columns.carried
        self._make = (_bytes_row if chosen.is_bytes else _path_row)(schema, chosen, location, where, stamp)
        self._limit = id_limit(chosen.id, schema)
        ra, dec = (chosen.positions.ra, chosen.positions.dec) if chosen.positions else (None, None)
        image = _listed_column(schema, chosen)
        self._roles = [chosen.id, ra, dec, chosen.radius, columns.error, image]
        self.names = [*(name for name in self._roles if name is not None), *(name for name, _ in columns.carried)]
        self._positions, self._greatest, self._rounded = 0, 0.0, RoundedIds()

    def failed(self, number: int, problem: str, name: str = "", **fields: Any) -> InputItem:
        """The item of a row that cannot be used."""
        name = name or f"row {number}"
        return InputItem(name, f"{self._where}#row{number}", "file", "", error=problem, **fields)

    def item(self, number: int, values: Sequence[object]) -> InputItem:
        """The item of a row, counted from 1, by the cells of the columns `names`."""
        cells = iter(values)
        id_, ra, dec, radius, reason, content = (None if name is None else next(cells) for name in self._roles)
        chosen = self._chosen
        if isinstance(content, bytes):
            # Paths as bytes: Parquet without its text type, FITS.
            content = content.decode("utf-8", "surrogateescape").rstrip("\0 ")
        name = row_id(id_, chosen.id, self._where, number, self._limit)
        self._rounded.add(name)
        if chosen.id is not None and not name:
            return self.failed(number, f"no ID in column {chosen.id!r}; give the galaxy one")
        position = self._position(ra, dec)
        carried, problem = _carried(cells, self._carried)
        fields: dict[str, Any] = {"right_ascension": position.ra, "declination": position.dec, "carried": carried}
        problem = str(reason or "") or position.error or problem
        if chosen.radius is not None:
            try:
                fields["radius"] = parse_size(radius, chosen.radius_unit)
            except AngleError as error:
                problem = problem or f"column {chosen.radius!r}: {error}"
        if not problem and not chosen.is_bytes and is_blank(content):
            problem = f"no path in column {chosen.image!r}"
        if problem:
            return self.failed(number, text(problem), name, **fields)
        return replace(self._make(number, f"{self._where}#row{number}", name, content), **fields)

    def _position(self, ra: object, dec: object) -> Position:
        positions = self._chosen.positions
        if positions is None or (is_blank(ra) and is_blank(dec)):
            return Position(math.nan, math.nan)
        position = positions.read(ra, dec)
        if not position.reason:
            self._positions, self._greatest = self._positions + 1, max(self._greatest, position.ra)
        return position

    def warnings(self) -> Iterator[str]:
        """What is odd about the positions and the identifiers of all rows."""
        chosen = self._chosen
        if chosen.half:
            yield f"column {chosen.half!r} is half a position and is left out; name the other column"
        if chosen.positions and (warning := hours_warning(self._positions, self._greatest, chosen.positions.ra)):
            yield warning
        if chosen.id and (warning := self._rounded.warning(chosen.id)):
            yield warning


_Make = Callable[[int, str, str, object], InputItem]


def _carried(values: Iterator[object], columns: Sequence[tuple[str, Column]]) -> tuple[str, str]:
    """The cells of the columns that are taken over, as JSON, and what is wrong with one of them; "" if nothing."""
    content, problem = [], ""
    for value, (name, column) in zip(values, columns, strict=True):
        try:
            content.append(converted(value, column.type))
        except ValueError:
            content.append(None)
            problem = problem or f"column {name!r}: {text(str(value))!r} is no number"
    return (json.dumps(content, default=str) if content else ""), problem


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


def _path_row(schema: pa.Schema, chosen: ImageColumns, location: str, where: str, stamp: str) -> _Make:
    is_remote = is_url(location)
    folder: str | Path = location.partition("?")[0].rpartition("/")[0]
    if not is_remote:
        folder = Path(location) if os.path.isdir(location) else Path(location).parent

    def make(number: int, row: str, name: str, content: object) -> InputItem:
        path = str(content)
        try:
            item = _item_at(path, folder)
        except InputError as error:
            item = InputItem(name or f"row {number}", row, "file", "", error=str(error))
        if item.kind == "object":
            try:
                store_of(item.location)
            except SourceUnavailable as error:
                raise InputError(f"{where}, row {number}: {error}") from None
        return replace(item, id=name or item.id)

    return make


def _item_at(path: str, folder: str | Path) -> InputItem:
    for other in (path.strip(), path.strip().replace("\\", "/")):
        # Behind a comma and a blank; as Windows writes it.
        if path != other and not (isinstance(folder, Path) and _exists(folder / native_path(path))):
            path = other
    if is_url(path) and not path.lower().startswith("file://"):
        check_url(path)
        return object_item(path)
    if isinstance(folder, Path):
        if path.lower().startswith("file://"):
            from urllib.request import url2pathname

            try:
                path = url2pathname(urlsplit(path).path)
            except ValueError as error:
                raise InputError(f"{text(path)}: {error}") from None
        return file_item(folder / native_path(path))
    # Whoever writes into a store shall not choose which files of this machine are opened.
    if path.startswith("/") or is_url(path):
        raise InputError(f"{text(path)}: a catalogue in a store names files beside it, or addresses")
    return object_item(join_url(folder, path))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def id_limit(column: str | None, schema: pa.Schema) -> int:
    """The greatest integer that the column of IDs holds exactly."""
    return integer_limit(schema.field(column).type) if column is not None else 0


def row_id(value: object, column: str | None, where: str, number: int, limit: int = 2**53) -> str:
    """A cell as an exact ID, "" if it is blank; raises InputError for a number that has lost its digits."""
    try:
        return exact_id(value, limit)
    except IdentifierError as error:
        raise InputError(f"{where}: row {number}, column {column!r}: {error}") from None
