"""Google Cloud Storage through gcsfs."""

from __future__ import annotations

from typing import Any

from ..._utils.urls import split_url
from ...images.image import MAX_FILE_BYTES, check_file_size
from ..store_errors import timeout
from .store import StoredObject, byte_range, check_size, open_filesystem, register_store

#: Objects of a page.
PAGE = 1000


@register_store("gs", "gcs")
class GoogleStore:
    """Objects of Google Cloud Storage; see `store.Store`."""

    def __init__(self) -> None:
        self._fs = open_filesystem("gs", use_listings_cache=False)

    def _get(self, path: str, *args: str, **options: Any) -> Any:
        return self._fs.call("GET", path, *args, timeout=timeout(), **options)

    def stat(self, url: str) -> StoredObject:
        """See `Store.stat`."""
        _, bucket, key = split_url(url)
        response = self._get("b/{}/o/{}", bucket, key, json_out=True)
        return StoredObject(url, int(response["size"]), str(response.get("generation", "")))

    def page(self, folder: str, token: str) -> tuple[list[StoredObject], list[str], str]:
        """See `Store.page`."""
        _, bucket, prefix = split_url(folder)
        options = {"prefix": prefix, "maxResults": PAGE, "fields": "nextPageToken,items(name,size,generation)"}
        options |= {"pageToken": token} if token else {}
        response = self._get("b/{}/o", bucket, json_out=True, **options)
        objects = [
            StoredObject(f"gs://{bucket}/{each['name']}", int(each["size"]), str(each.get("generation", "")))
            for each in response.get("items", [])
        ]
        return objects, [], response.get("nextPageToken", "")

    def get(self, url: str, start: int | None, size: int, stamp: str) -> bytes:
        """See `Store.get`."""
        # The library reads a body completely; what is too large must be known before.
        if start is None and (size < 0 or size > MAX_FILE_BYTES):
            stored = self.stat(url)
            check_file_size(stored.size)
            stamp = stamp or stored.stamp
        headers = {} if start is None else {"Range": byte_range(start, size)}
        options = {"generation": stamp} if stamp else {}
        _, data = self._get(self._fs.url(url), headers=headers, **options)
        return check_size(data)
