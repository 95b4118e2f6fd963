"""Pictures in remote stores: objects, prefixes, and files of many pictures that are read in parts."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from functools import partial

from .._utils.errors import InputError
from .._utils.text import text
from .._utils.urls import check_url, is_url, name_of, public_url
from ..images.find import EXTENSIONS as PICTURES
from ..images.image import MAX_FILE_BYTES, ImageError
from .byte_source import LocalSource, Source, Unreachable
from .item import Entry
from .store_errors import NotThere, Truncated, patiently
from .stores import REMOTE_THREADS, Found, store_of

__all__ = ["REMOTE_THREADS", "ObjectOpener", "RemoteSource", "object_entry", "opened", "remote_entries"]

#: Folders of a listing that has no pages: a server may link them in a circle of ever longer names.
MAX_FOLDERS = 100_000


def object_entry(address: str, size: int = -1, stamp: str = "") -> Entry:
    """An object of a store, called by its file's name; `path` is the address without its secrets."""
    stem = posixpath.splitext(name_of(address))[0]
    return Entry(text(stem), text(public_url(address)), "object", address, size=size, stamp=stamp)


def remote_entries(address: str, other: Callable[[str], bool]) -> Iterator[Entry]:
    """An object, or the pictures under a prefix, hidden ones left out; what is held is one page of the listing.

    S3 and Google give 1,000 objects a page, in the order of their names; web servers a folder.

    Parameters
    ----------
    other : function of a name
        Whether this is an archive or a catalogue, which must be named itself.

    Raises
    ------
    FileNotFoundError
        If there is nothing at all.
    InputError
        If the store cannot be read, or holds no picture here but others.
    """
    check_url(address)
    where = text(public_url(address))
    try:
        if not _is_folder(address):
            try:
                found = patiently(lambda: store_of(address).about(address))
                yield object_entry(address, found.size, found.stamp)
                return
            except NotThere:
                address += "/"
        pictures, others, anything = 0, "", False
        for page in _pages(address):
            for found in page:
                anything = True
                name = found.address[len(address) :]
                if _is_picture(name):
                    pictures += 1
                    yield object_entry(found.address, found.size, found.stamp)
                elif other(name):
                    others = others or name
    except NotThere:
        anything = False
    except ImageError as error:
        raise InputError(f"{where}: {error}") from None
    if not anything:
        raise FileNotFoundError(f"{where}: no such object, and none begins so")
    if not pictures and others:
        raise InputError(f"{where}: holds no picture, but {text(others)}: name archives and catalogues themselves")


def _is_folder(address: str) -> bool:
    return address.endswith("/") or address.count("/") == 2


def _is_picture(name: str) -> bool:
    if any(part.startswith(".") for part in name.split("/")):
        return False
    return posixpath.splitext(name)[1].lower() in PICTURES


def _pages(folder: str) -> Iterator[list[Found]]:
    """All objects under a folder's address; no more than a page is held."""
    folder += "" if folder.endswith("/") else "/"
    todo, looked = [folder], 0
    while todo:
        here, token = todo.pop(), ""
        store = store_of(here)
        while True:
            found, deeper, token = patiently(partial(store.page, here, token))
            todo.extend(reversed(deeper))
            yield found
            if not token:
                break
        looked += 1
        if looked > MAX_FOLDERS:
            raise Unreachable(f"more than {MAX_FOLDERS} folders; name a part of them")


def opened(location: str, stamp: str = "") -> Source:
    """A file or an object that is read in parts; with `stamp`, as it was when that was its stamp.

    Raises
    ------
    Unreachable
        If it cannot be reached.
    ImageError
        If its stamp is another one.
    """
    return RemoteSource(location, stamp) if is_url(location) else LocalSource(location, stamp)


class RemoteSource:
    """An object that is read in parts; see `source.Source`. Holds nothing: one request for each part."""

    block = 8 * 2**20

    def __init__(self, address: str, stamp: str = "") -> None:
        self._address = address
        if not stamp:
            found = patiently(lambda: store_of(address).about(address))
            if found.size < 0:
                raise Unreachable("the server does not tell its size; copy it to this machine")
            stamp = f"{found.size}-{found.stamp}"
        self.stamp = stamp
        size, _, self._mark = stamp.partition("-")
        self.size = int(size)

    def read(self, offset: int, size: int) -> bytes:
        """See `Source.read`."""
        size = min(size, self.size - offset)
        return patiently(partial(self._read, offset, size)) if size > 0 else b""

    def _read(self, offset: int, size: int) -> bytes:
        data = store_of(self._address).get(self._address, offset, size, self._mark)
        if len(data) != size:
            raise Truncated(len(data), size)
        return data


class ObjectOpener:
    """Reads objects, many at a time (`REMOTE_THREADS` pay); see `opening.Opener`."""

    def prepare(self, entry: Entry) -> Callable[[], bytes]:
        """The object's bytes, read when they are called for."""
        if entry.size > MAX_FILE_BYTES:
            raise ImageError(f"file of {entry.size} bytes; at most {MAX_FILE_BYTES} are read")
        return partial(patiently, partial(_whole, entry))

    def close(self) -> None:
        """Connections stay for the process's other openers."""


def _whole(entry: Entry) -> bytes:
    data = store_of(entry.location).get(entry.location, None, entry.size, entry.stamp)
    if entry.size >= 0 and len(data) != entry.size:
        raise Truncated(len(data), entry.size)
    return data
