"""Spool files: the images of some rows of a Parquet file, decoded once and laid end to end for another process."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ..images.image import ImageError
from .byte_source import CHANGED_MESSAGE
from .item import InputItem
from .objects import open_byte_source

if TYPE_CHECKING:
    from .parquet_images import RowReader

__all__ = ["SpoolReader", "splits_row_group", "spool_rows"]


def splits_row_group(items: Sequence[InputItem]) -> bool:
    """Whether items are part of a row group of a Parquet file that is larger than all of them.

    Whoever reads such a part decodes what lies before it, too: several processes would each decode the row group.
    """
    first = items[0]
    if first.kind != "row":
        return False
    try:
        starts = _row_groups(first.location, first.stamp)
    except Exception:  # of whatever kind: it comes again, with its row, when the images are read
        return False
    group = bisect_right(starts, first.offset) - 1
    return group + 1 < len(starts) and starts[group + 1] - starts[group] > len(items)


@lru_cache(maxsize=4)
def _row_groups(location: str, stamp: str) -> list[int]:
    from .table_rows import parquet_file

    metadata = parquet_file(open_byte_source(location, stamp)).metadata
    return [0, *accumulate(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))]


def spool_rows(items: Sequence[InputItem], reader: RowReader, file: Path) -> list[InputItem]:
    """Write the images of rows into `file`, and return the items that are read from there.

    One that cannot be read gets that error.
    """
    out = []
    with open(file, "wb") as spool:
        for item in items:
            if item.error:
                out.append(item)
                continue
            try:
                data = reader.prepare(item)()
            except ImageError as error:
                out.append(replace(item, error=str(error)))
                continue
            place = replace(item, kind="spool", location=os.fspath(file), member="", offset=spool.tell(), stamp="")
            out.append(replace(place, size=len(data)))
            spool.write(data)
    return out


class SpoolReader:
    """Reads images of spool files; see `readers.Reader`."""

    def prepare(self, item: InputItem) -> Callable[[], bytes]:
        """The image's bytes, read when they are called for."""
        return partial(_read, item)

    def close(self) -> None:
        """Nothing is open."""


def _read(item: InputItem) -> bytes:
    try:
        with open(item.location, "rb") as spool:
            spool.seek(item.offset)
            data = spool.read(item.size)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from None
    if len(data) < item.size:
        raise ImageError(CHANGED_MESSAGE)
    return data
