"""Item readers: the bytes of an item's image, whatever holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..images.image import ImageError
from .archives import TarReader, ZipReader
from .files import FileReader
from .item import InputItem
from .objects import ObjectReader
from .spool import SpoolReader

__all__ = ["READERS", "Reader", "ItemReader"]


class Reader(Protocol):
    """Reads items of one kind; may hold files and connections open between them."""

    def prepare(self, item: InputItem) -> Callable[[], bytes]:
        """What gives the item's bytes, or raises ImageError.

        `prepare` itself is called by one thread, in the order of the listing, and may raise ImageError too;
        what it returns is called once, by any thread.
        """

    def close(self) -> None:
        """Close what is open."""


def _row_reader() -> Reader:
    # Parquet takes a tenth of a second to import, which images in files do not need.
    from .parquet_images import RowReader

    return RowReader()


#: Kind of item → its reader, which is created at the first such item.
READERS: dict[str, Callable[[], Reader]] = {
    "file": FileReader,
    "row": _row_reader,
    "tar": TarReader,
    "zip": ZipReader,
    "object": ObjectReader,
    "spool": SpoolReader,
}


class ItemReader:
    """Reads items of all kinds; a context manager that closes what it opened."""

    def __init__(self) -> None:
        self._readers: dict[str, Reader] = {}

    def __enter__(self) -> ItemReader:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def prepare(self, item: InputItem) -> Callable[[], bytes]:
        """See `Reader.prepare`; an item's own error, and one of `prepare`, comes when the bytes are called for."""
        try:
            if item.error:
                raise ImageError(item.error)
            if item.kind not in self._readers:
                self._readers[item.kind] = READERS[item.kind]()
            return self._readers[item.kind].prepare(item)
        except ImageError as error:
            return _failing(error)


def _failing(error: ImageError) -> Callable[[], bytes]:
    def fail() -> bytes:
        raise error

    return fail
