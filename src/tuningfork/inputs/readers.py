"""Entries → their pictures' bytes, whatever holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..images.image import ImageError
from .archives import TarOpener, ZipOpener
from .catalogues import RowOpener
from .files import FileOpener
from .item import Entry
from .objects import ObjectOpener

__all__ = ["OPENERS", "Opener", "Opening"]


class Opener(Protocol):
    """Reads entries of one kind; may hold files and connections open between them."""

    def prepare(self, entry: Entry) -> Callable[[], bytes]:
        """What gives the entry's bytes, or raises ImageError.

        `prepare` itself is called by one thread, in the order of the listing, and may raise ImageError too;
        what it returns is called once, by any thread.
        """

    def close(self) -> None:
        """Let go of what is held."""


#: Kind of entry → what makes its opener; made when the first such entry comes.
OPENERS: dict[str, Callable[[], Opener]] = {
    "file": FileOpener,
    "row": RowOpener,
    "tar": TarOpener,
    "zip": ZipOpener,
    "object": ObjectOpener,
}


class Opening:
    """Reads entries of all kinds; a context manager that closes what it opened."""

    def __init__(self) -> None:
        self._openers: dict[str, Opener] = {}

    def __enter__(self) -> Opening:
        return self

    def __exit__(self, *_: object) -> None:
        for opener in self._openers.values():
            opener.close()
        self._openers.clear()

    def prepare(self, entry: Entry) -> Callable[[], bytes]:
        """See `Opener.prepare`; an entry's own error, and one of `prepare`, comes when the bytes are called for."""
        try:
            if entry.error:
                raise ImageError(entry.error)
            if entry.kind not in self._openers:
                self._openers[entry.kind] = OPENERS[entry.kind]()
            return self._openers[entry.kind].prepare(entry)
        except ImageError as error:
            return _failing(error)


def _failing(error: ImageError) -> Callable[[], bytes]:
    def fail() -> bytes:
        raise error

    return fail
