"""Objects of remote stores: single images, prefixes, and files of many images that are read in parts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from .._utils.errors import InputError
from .._utils.text import text
from .._utils.urls import is_url, name_of, public_url
from ..images.find import count_left_out, is_image_name
from ..images.image import ImageError, check_file_size
from ..tables.identifiers import file_id
from .byte_source import ByteSource, LocalFile, SourceUnavailable
from .item import InputItem
from .store_errors import ObjectNotFoundError, TruncatedReadError, with_retries
from .stores import REMOTE_THREADS, StoredObject, check_url, store_of

__all__ = ["REMOTE_THREADS", "ObjectReader", "RemoteObject", "object_item", "open_byte_source", "remote_items"]

#: Limits of a recursive listing: a server may link folders in a circle of ever longer names, or never come to a file.
MAX_FOLDERS, MAX_DEPTH, MAX_SECONDS_WITHOUT_FILES = 100_000, 32, 600.0


def object_item(url: str, size: int = -1, stamp: str = "") -> InputItem:
    """An object of a store, called by its file's name; `path` is the URL without its secrets."""
    stem = file_id(name_of(url))
    return InputItem(stem, text(public_url(url)), "object", url, size=size, stamp=stamp)


def remote_items(
    url: str, is_other: Callable[[str], bool], left_out: Counter[str] | None = None
) -> Iterator[InputItem]:
    """An object, or the images under a prefix, hidden ones left out; one page of the listing is in memory.

    S3 and Google give 1,000 objects a page, in the order of their names; web servers a folder.

    Parameters
    ----------
    is_other : function of a name
        Whether this is an archive or a catalogue, which must be named itself.
    left_out : Counter, optional
        Counts objects that are no images, by kind.

    Raises
    ------
    FileNotFoundError
        If there is nothing at all.
    InputError
        If the store cannot be read, or holds no image there but others.
    """
    check_url(url)
    left_out = Counter() if left_out is None else left_out
    where = text(public_url(url))
    try:
        if not _is_folder(url):
            try:
                stored = with_retries(lambda: store_of(url).stat(url))
                yield object_item(url, stored.size, stored.stamp)
                return
            except ObjectNotFoundError:
                url += "/"
        images, others, anything = 0, "", False
        for page in _pages(url):
            for stored in page:
                anything = True
                name = stored.url[len(url) :]
                hidden = [part for part in name.split("/") if part.startswith(".")]
                if not hidden and is_image_name(name):
                    images += 1
                    yield object_item(stored.url, stored.size, stored.stamp)
                elif name and not name.endswith("/"):
                    count_left_out(hidden[0] if hidden else name, left_out)
                    others = others or (name if is_other(name) else "")
    except ObjectNotFoundError:
        anything = False
    except ImageError as error:
        raise InputError(f"{where}: {error}") from None
    if not anything:
        raise FileNotFoundError(f"{where}: no such object, and none begins so")
    if not images and others:
        raise InputError(f"{where}: holds no image, but {text(others)}: name archives and catalogues themselves")


def _is_folder(url: str) -> bool:
    return url.endswith("/") or url.count("/") == 2


def _pages(folder: str) -> Iterator[list[StoredObject]]:
    """List all objects under a folder's URL, page by page."""
    folder += "" if folder.endswith("/") else "/"
    waiting, listed, without_files = [folder], 0, 0.0
    while waiting:
        current, token = waiting.pop(), ""
        if current.count("/") - folder.count("/") > MAX_DEPTH:
            raise SourceUnavailable(
                f"folders of more than {MAX_DEPTH} levels, perhaps in a circle; name a part of them"
            )
        store = store_of(current)
        while True:
            started = time.monotonic()
            objects, deeper, token = with_retries(partial(store.page, current, token))
            without_files = 0.0 if objects else without_files + time.monotonic() - started
            if without_files > MAX_SECONDS_WITHOUT_FILES:
                raise SourceUnavailable(f"no file in {MAX_SECONDS_WITHOUT_FILES:g} s of listing; name a part of it")
            waiting.extend(reversed(deeper))
            yield objects
            if not token:
                break
        listed += 1
        if listed + len(waiting) > MAX_FOLDERS:
            raise SourceUnavailable(f"more than {MAX_FOLDERS} folders; name a part of them")


def open_byte_source(location: str, stamp: str = "") -> ByteSource:
    """A file or an object that is read in parts; with `stamp`, as it was when that was its stamp.

    Raises
    ------
    SourceUnavailable
        If it cannot be reached.
    ImageError
        If its stamp is another one.
    """
    return RemoteObject(location, stamp) if is_url(location) else LocalFile(location, stamp)


class RemoteObject:
    """An object that is read in parts; see `byte_source.ByteSource`. Holds nothing: one request for each part."""

    block = 8 * 2**20

    def __init__(self, url: str, stamp: str = "") -> None:
        self._url = url
        if not stamp:
            stored = with_retries(lambda: store_of(url).stat(url))
            if stored.size < 0:
                raise SourceUnavailable("the server does not tell its size; copy it to this machine")
            stamp = f"{stored.size}-{stored.stamp}"
        self.stamp = stamp
        size, _, self._mark = stamp.partition("-")
        self.size = int(size)

    def read(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read`."""
        size = min(size, self.size - offset)
        return with_retries(partial(self._read, offset, size)) if size > 0 else b""

    def _read(self, offset: int, size: int) -> bytes:
        data = store_of(self._url).get(self._url, offset, size, self._mark)
        if len(data) != size:
            raise TruncatedReadError(len(data), size)
        return data


class ObjectReader:
    """Reads objects, many at a time (`REMOTE_THREADS` pay); see `readers.Reader`."""

    def prepare(self, item: InputItem) -> Callable[[], bytes]:
        """The object's bytes, read when they are called for."""
        check_file_size(item.size)
        return partial(with_retries, partial(_whole, item))

    def close(self) -> None:
        """Connections stay for the process's other readers."""


def _whole(item: InputItem) -> bytes:
    data = store_of(item.location).get(item.location, None, item.size, item.stamp)
    if item.size >= 0 and len(data) != item.size:
        raise TruncatedReadError(len(data), item.size)
    return data
