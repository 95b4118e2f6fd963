"""Web servers: files by their URL, folders by their pages of links; through fsspec and aiohttp."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import urljoin

from ...images.image import MAX_FILE_BYTES, ImageError
from ..byte_source import CHANGED_MESSAGE, SourceUnavailable
from ..store_errors import HttpStatus
from .store import (
    StoredObject,
    byte_range,
    check_size,
    open_filesystem,
    read_at_most,
    register_store,
    within_timeout,
)

#: Bytes of a web page of links that are read.
MAX_PAGE_BYTES = 64 * 2**20
_LINK = re.compile(r"""<a\s[^>]{0,999}?href\s*=\s*(["']?)(.{1,9999}?)(?:\1[\s>])""", re.IGNORECASE)
_CHILD = re.compile(r"[^/?#]+/?")


@register_store("https", "http")
class WebStore:
    """Files of web servers; see `store.Store`."""

    def __init__(self) -> None:
        self._fs = open_filesystem("https")

    def _request(self, url: str, headers: dict[str, str], use: Callable[[Any], Any]) -> Any:
        async def answer() -> Any:
            session = await self._fs.set_session()
            options = {**self._fs.kwargs}
            # What a server packs for the way has another size.
            options["headers"] = {**options.get("headers", {}), "Accept-Encoding": "identity", **headers}
            async with session.get(self._fs.encode_url(url), **options) as response:
                if response.status >= 400:
                    raise HttpStatus(response.status)
                return await use(response)

        return within_timeout(self._fs, answer)

    def stat(self, url: str) -> StoredObject:
        """See `Store.stat`."""

        async def use(response: Any) -> StoredObject:
            # Not HEAD: a URL that is signed for reading allows nothing else.
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            size = total if response.status == 206 else response.headers.get("Content-Length", "")
            return StoredObject(url, int(size) if size.isdigit() else -1, _stamp(response.headers))

        try:
            return self._request(url, {"Range": "bytes=0-0"}, use)
        except HttpStatus as error:
            if error.status != 416:  # an empty file has no first byte
                raise
            return StoredObject(url, 0, "")

    def page(self, folder: str, token: str) -> tuple[list[StoredObject], list[str], str]:
        """See `Store.page`; a page of links has no tokens. Links elsewhere, or deeper, are none of this folder's."""

        async def use(response: Any) -> bytes:
            return await read_at_most(response.content.read, MAX_PAGE_BYTES)

        links = _LINK.findall(self._request(folder, {}, use).decode("utf-8", "replace"))
        inside = {link for link in (urljoin(folder, unescape(link)) for _, link in links) if link.startswith(folder)}
        names = sorted(link for link in inside if _CHILD.fullmatch(link, len(folder)))
        files = [StoredObject(link, -1, "") for link in names if not link.endswith("/")]
        return files, [link for link in names if link.endswith("/")], ""

    def get(self, url: str, start: int | None, size: int, stamp: str) -> bytes:
        """See `Store.get`."""

        async def use(response: Any) -> bytes:
            if stamp and _stamp(response.headers) not in ("", stamp):
                raise ImageError(CHANGED_MESSAGE)
            if start and response.status != 206:
                raise SourceUnavailable("cannot be read: the server gives no parts of files; copy it to this machine")
            data = await read_at_most(response.content.read, MAX_FILE_BYTES if start is None else size)
            return data if start is None else data[:size]

        headers = {} if start is None else {"Range": byte_range(start, size)}
        return check_size(self._request(url, headers, use))


def _stamp(headers: Any) -> str:
    return headers.get("ETag") or headers.get("Last-Modified") or ""
