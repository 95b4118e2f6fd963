"""Images that are bytes in a column of a Parquet file, read forward through the file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from .._utils.text import one_line
from ..images.image import ImageError, check_file_size
from .byte_source import CHANGED_MESSAGE, ByteSource
from .item import InputItem
from .objects import open_byte_source
from .table_rows import parquet_file

__all__ = ["RowReader"]

#: Bytes of images that are decoded together.
BATCH_BYTES = 8 * 2**20


class RowReader:
    """Reads bytes out of Parquet files, forward through them; see `readers.Reader`.

    The bytes come with `prepare`, as a Parquet file is no place for several threads. What lies between two rows of
    a row group is decoded and dropped; going back restarts the row group. At most `BATCH_BYTES` of an average
    row group's images are in memory, or one image.
    """

    def __init__(self) -> None:
        self._key: tuple[str, str, str] | None = None
        self._file: _Column | None = None

    def prepare(self, item: InputItem) -> Callable[[], bytes]:
        """The row's bytes."""
        key = (item.location, item.member, item.stamp)
        if key != self._key or self._file is None:
            self._key, self._file = None, None
            self._file = _Column(open_byte_source(item.location, item.stamp), item.member)
            self._key = key
        data = self._file.cell(item.offset)
        check_file_size(len(data))
        return lambda: data

    def close(self) -> None:
        """Close the file."""
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
            raise ImageError(CHANGED_MESSAGE)
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
