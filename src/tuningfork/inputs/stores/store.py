"""The interface of object stores, and their registry by URL scheme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ...images.image import MAX_FILE_BYTES, ImageError
from ..store_errors import timeout

__all__ = [
    "REMOTE_THREADS",
    "Store",
    "StoredObject",
    "byte_range",
    "check_size",
    "open_filesystem",
    "read_at_most",
    "register_store",
    "schemes",
    "store_class",
    "within_timeout",
]

#: How many objects to read at a time: threads wait for the store, not for a core.
REMOTE_THREADS = 32


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a store: its size in bytes (-1: not known) and what changes with its bytes ("": not known)."""

    url: str
    size: int
    stamp: str


class Store(Protocol):
    """One kind of object store. Each call is one attempt, within `store_errors.timeout` where the library allows it.

    Errors are those of the store's library; see `store_errors.with_retries`.
    """

    def stat(self, url: str) -> StoredObject:
        """Return an object's size and stamp."""

    def page(self, folder: str, token: str) -> tuple[list[StoredObject], list[str], str]:
        """List one page of the objects under a folder's URL.

        Parameters
        ----------
        token : str
            Of the page; the first one's is "".

        Returns
        -------
        list of StoredObject
        list of str
            URLs of folders that are still to be listed.
        str
            The next page's token; "" if there is none.
        """

    def get(self, url: str, start: int | None, size: int, stamp: str) -> bytes:
        """Read `size` bytes from `start` on, or with None the complete object, of which `size` is expected (-1: any).

        Raises
        ------
        ImageError
            If the object's stamp is another one, or it is too large.
        """


_STORES: dict[str, type[Any]] = {}
S = TypeVar("S", bound=type[Any])


def register_store(*names: str) -> Callable[[S], S]:
    """Register a class of stores for these URL schemes."""

    def register(store: S) -> S:
        _STORES.update(dict.fromkeys(names, store))
        return store

    return register


def schemes() -> tuple[str, ...]:
    """The URL schemes that are read."""
    return tuple(_STORES)


def store_class(scheme: str) -> type[Any]:
    """The class that was registered for a scheme; KeyError if there is none."""
    return _STORES[scheme]


def open_filesystem(protocol: str, **options: Any) -> Any:
    """fsspec's file system of this protocol, not shared with others."""
    import fsspec

    return fsspec.filesystem(protocol, skip_instance_cache=True, **options)


def within_timeout(filesystem: Any, coroutine: Callable[..., Any], *args: Any) -> Any:
    """Run a coroutine function in fsspec's event loop and wait for it, at most `timeout` seconds."""
    from fsspec.asyn import sync

    return sync(filesystem.loop, coroutine, *args, timeout=timeout())


def byte_range(start: int, size: int) -> str:
    """The value of HTTP's header ``Range``."""
    return f"bytes={start}-{start + size - 1}"


async def read_at_most(read: Callable[[int], Any], limit: int) -> bytes:
    """Read a body, but no more than one byte above `limit`."""
    parts, left = [], limit + 1
    while left > 0 and (part := await read(min(left, 2**20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def check_size(data: bytes) -> bytes:
    """Return `data`; raise ImageError if it is larger than a file may be."""
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"file of more than {MAX_FILE_BYTES} bytes; at most these are read")
    return data
