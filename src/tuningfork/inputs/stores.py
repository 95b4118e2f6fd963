"""Remote stores through fsspec: an object's size and stamp, its bytes, and listings page by page."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from typing import Any, Protocol
from urllib.parse import urljoin

from .._utils.urls import split_url
from ..images.image import MAX_FILE_BYTES, ImageError
from .byte_source import CHANGED, SourceUnavailable
from .store_errors import HttpStatus, timeout

__all__ = ["REMOTE_THREADS", "Found", "Store", "store_of"]

#: How many objects to read at a time: threads wait for the store, not for a core.
REMOTE_THREADS = 32
#: Objects of a listing that are held together, as S3 gives them.
PAGE = 1000
#: Bytes of a web page of links that are read.
MAX_LINKS = 64 * 2**20
_LINK = re.compile(r"""<a\s[^>]{0,999}?href\s*=\s*(["']?)(.{1,9999}?)(?:\1[\s>])""", re.IGNORECASE)
_CHILD = re.compile(r"[^/?#]+/?")


@dataclass(frozen=True, slots=True)
class Found:
    """An object as its store tells it: size in bytes (-1: not told) and what changes with its bytes ("": not told)."""

    address: str
    size: int
    stamp: str


class Store(Protocol):
    """One kind of store. Each call is one try, within `retrying.timeout` where the library allows it.

    Errors are those of the store's library; see `retrying.with_retries`.
    """

    def stat(self, address: str) -> Found:
        """One object."""

    def page(self, folder: str, token: str) -> tuple[list[Found], list[str], str]:
        """Objects under a folder's address, folders that are still to be looked into, and the next page's token, or "".

        The first page's token is "".
        """

    def get(self, address: str, start: int | None, size: int, stamp: str) -> bytes:
        """`size` bytes from `start` on, or with None the whole object, of which `size` is what is known, or -1.

        Raises
        ------
        ImageError
            If the object's stamp is another one, or it is too large.
        """


_stores: dict[tuple[int, str], Store] = {}
_lock = threading.Lock()


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


# Connections do not survive a fork: each process makes its own, whatever lock another thread held then.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def store_of(address: str) -> Store:
    """The store that an address names, made once in every process, configured as fsspec is.

    Raises
    ------
    SourceUnavailable
        If what it needs is not installed, or its configuration is wrong.
    """
    scheme = {"gcs": "gs", "http": "https"}.get(split_url(address)[0], split_url(address)[0])
    with _lock:
        key = (os.getpid(), scheme)
        if key not in _stores:
            try:
                _stores[key] = _MAKERS[scheme]()
            except ImportError:
                raise SourceUnavailable(f"{scheme}:// needs fsspec: pip install 'tuningfork[remote]'") from None
            except ImageError:
                raise
            except Exception as error:  # whatever a configuration can be wrong in
                raise SourceUnavailable(
                    f"{scheme}:// cannot be opened as fsspec is configured ({type(error).__name__})"
                ) from None
        return _stores[key]


def _configured(protocol: str, name: str) -> dict[str, Any]:
    from fsspec.config import conf

    told = conf.get(protocol, {}).get(name, {})
    return dict(told) if isinstance(told, dict) else {}


def _filesystem(protocol: str, **options: Any) -> Any:
    import fsspec

    return fsspec.filesystem(protocol, skip_instance_cache=True, **options)


def _within_time(filesystem: Any, coroutine: Callable[..., Any], *args: Any, **options: Any) -> Any:
    from fsspec.asyn import sync

    return sync(filesystem.loop, coroutine, *args, timeout=timeout(), **options)


def _range(start: int, size: int) -> str:
    return f"bytes={start}-{start + size - 1}"


async def _limited(read: Callable[[int], Any], most: int) -> bytes:
    """What a body gives, but not more than one byte above `most`."""
    parts, left = [], most + 1
    while left > 0 and (part := await read(min(left, 2**20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _checked(data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"file of more than {MAX_FILE_BYTES} bytes; at most these are read")
    return data


class _S3:
    def __init__(self) -> None:
        # Retries are ours alone: theirs would multiply, and hold a try that should end.
        config = {"max_pool_connections": 2 * REMOTE_THREADS, "retries": {"max_attempts": 0}, "read_timeout": timeout()}
        config |= _configured("s3", "config_kwargs")
        self._fs = _filesystem("s3", config_kwargs=config, use_listings_cache=False)
        self._fs.retries = 1

    def stat(self, address: str) -> Found:
        _, bucket, key = split_url(address)
        told = _within_time(self._fs, self._fs._call_s3, "head_object", Bucket=bucket, Key=key)
        return Found(address, told["ContentLength"], told.get("ETag", ""))

    def page(self, folder: str, token: str) -> tuple[list[Found], list[str], str]:
        _, bucket, prefix = split_url(folder)
        more = {"ContinuationToken": token} if token else {}
        told = _within_time(
            self._fs, self._fs._call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=PAGE, **more
        )
        found = [
            Found(f"s3://{bucket}/{one['Key']}", one["Size"], one.get("ETag", "")) for one in told.get("Contents", [])
        ]
        return found, [], told.get("NextContinuationToken", "") if told.get("IsTruncated") else ""

    def get(self, address: str, start: int | None, size: int, stamp: str) -> bytes:
        _, bucket, key = split_url(address)
        options = {"IfMatch": stamp} if stamp else {}
        if start is not None:
            options["Range"] = _range(start, size)

        async def body() -> bytes:
            told = await self._fs._call_s3("get_object", Bucket=bucket, Key=key, **options)
            try:
                return await _limited(told["Body"].read, MAX_FILE_BYTES if start is None else size)
            finally:
                told["Body"].close()

        return _checked(_within_time(self._fs, body))


class _Google:
    def __init__(self) -> None:
        self._fs = _filesystem("gs", use_listings_cache=False)

    def stat(self, address: str) -> Found:
        _, bucket, key = split_url(address)
        told = _within_time(self._fs, self._fs._call, "GET", "b/{}/o/{}", bucket, key, json_out=True)
        return Found(address, int(told["size"]), str(told.get("generation", "")))

    def page(self, folder: str, token: str) -> tuple[list[Found], list[str], str]:
        _, bucket, prefix = split_url(folder)
        options = {"prefix": prefix, "maxResults": PAGE, "fields": "nextPageToken,items(name,size,generation)"}
        options |= {"pageToken": token} if token else {}
        told = _within_time(self._fs, self._fs._call, "GET", "b/{}/o", bucket, json_out=True, **options)
        found = [
            Found(f"gs://{bucket}/{one['name']}", int(one["size"]), str(one.get("generation", "")))
            for one in told.get("items", [])
        ]
        return found, [], told.get("nextPageToken", "")

    def get(self, address: str, start: int | None, size: int, stamp: str) -> bytes:
        # The library takes a body as a whole; what is too large must be known before.
        if start is None and (size < 0 or size > MAX_FILE_BYTES):
            told = self.stat(address)
            if told.size > MAX_FILE_BYTES:
                raise ImageError(f"file of {told.size} bytes; at most {MAX_FILE_BYTES} are read")
            stamp = stamp or told.stamp
        headers = {} if start is None else {"Range": _range(start, size)}
        options = {"generation": stamp} if stamp else {}
        url = self._fs.url(address)
        _, data = _within_time(self._fs, self._fs._call, "GET", url, headers=headers, **options)
        return _checked(data)


class _Web:
    def __init__(self) -> None:
        self._fs = _filesystem("https")

    def _ask(self, address: str, headers: dict[str, str], use: Callable[[Any], Any]) -> Any:
        async def answer() -> Any:
            session = await self._fs.set_session()
            options = {**self._fs.kwargs}
            # What a server packs for the way has another size.
            options["headers"] = {**options.get("headers", {}), "Accept-Encoding": "identity", **headers}
            async with session.get(self._fs.encode_url(address), **options) as told:
                if told.status >= 400:
                    raise HttpStatus(told.status)
                return await use(told)

        return _within_time(self._fs, answer)

    def stat(self, address: str) -> Found:
        async def use(told: Any) -> Found:
            # Not HEAD: an address that is signed for reading allows nothing else.
            total = told.headers.get("Content-Range", "").rpartition("/")[2]
            size = total if told.status == 206 else told.headers.get("Content-Length", "")
            return Found(address, int(size) if size.isdigit() else -1, _web_stamp(told.headers))

        try:
            return self._ask(address, {"Range": "bytes=0-0"}, use)
        except HttpStatus as error:
            if error.status != 416:  # an empty file has no first byte
                raise
            return Found(address, 0, "")

    def page(self, folder: str, token: str) -> tuple[list[Found], list[str], str]:
        # A list of links in HTML has no pages; links elsewhere, or deeper, are none of this folder's.
        async def use(told: Any) -> bytes:
            return await _limited(told.content.read, MAX_LINKS)

        links = _LINK.findall(self._ask(folder, {}, use).decode("utf-8", "replace"))
        inside = {link for link in (urljoin(folder, unescape(link)) for _, link in links) if link.startswith(folder)}
        names = sorted(link for link in inside if _CHILD.fullmatch(link, len(folder)))
        files = [Found(link, -1, "") for link in names if not link.endswith("/")]
        return files, [link for link in names if link.endswith("/")], ""

    def get(self, address: str, start: int | None, size: int, stamp: str) -> bytes:
        async def use(told: Any) -> bytes:
            if stamp and _web_stamp(told.headers) not in ("", stamp):
                raise ImageError(CHANGED)
            if start and told.status != 206:
                raise SourceUnavailable("cannot be read: the server gives no parts of files; copy it to this machine")
            data = await _limited(told.content.read, MAX_FILE_BYTES if start is None else size)
            return data if start is None else data[:size]

        return _checked(self._ask(address, {} if start is None else {"Range": _range(start, size)}, use))


def _web_stamp(headers: Any) -> str:
    return headers.get("ETag") or headers.get("Last-Modified") or ""


class _Memory:
    """fsspec's own store, within one process."""

    def __init__(self) -> None:
        self._fs = _filesystem("memory")

    def stat(self, address: str) -> Found:
        told = self._fs.info(address)
        if told["type"] != "file":
            raise FileNotFoundError
        return Found(address, told["size"], str(told.get("created", "")))

    def page(self, folder: str, token: str) -> tuple[list[Found], list[str], str]:
        told = sorted(self._fs.ls(folder, detail=True), key=lambda one: one["name"])
        files = [self.stat(f"memory:/{one['name']}") for one in told if one["type"] == "file"]
        return files, [f"memory:/{one['name']}/" for one in told if one["type"] == "directory"], ""

    def get(self, address: str, start: int | None, size: int, stamp: str) -> bytes:
        if stamp and self.stat(address).stamp != stamp:
            raise ImageError(CHANGED)
        return _checked(self._fs.cat_file(address, start, None if start is None else start + size))


_MAKERS: dict[str, Callable[[], Store]] = {"s3": _S3, "gs": _Google, "https": _Web, "memory": _Memory}
