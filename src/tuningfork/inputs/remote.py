"""Pictures behind addresses."""

from __future__ import annotations

from pathlib import PurePosixPath

from ..reading import text
from .addresses import name_of, public
from .entry import Entry
from .source import LocalSource, Source

__all__ = ["object_entry", "opened"]


def object_entry(address: str, size: int = -1, stamp: str = "") -> Entry:
    """An object of a store, called by its file's name."""
    stem = PurePosixPath(name_of(address)).stem
    return Entry(text(stem), text(public(address)), "object", address, size=size, stamp=stamp)


def opened(location: str, stamp: str = "") -> Source:
    """A file at any place; with `stamp`, as it was when that was its stamp."""
    return LocalSource(location, stamp)
