"""Amazon S3, and servers that speak its protocol, through s3fs and aiobotocore."""

from __future__ import annotations

from typing import Any

from ..._utils.urls import split_url
from ...images.image import MAX_FILE_BYTES
from ..store_errors import timeout
from .store import (
    REMOTE_THREADS,
    StoredObject,
    byte_range,
    check_size,
    open_filesystem,
    read_at_most,
    register_store,
    within_timeout,
)

#: Objects of a page, as S3 lists them.
PAGE = 1000


@register_store("s3")
class S3Store:
    """Objects of S3; see `store.Store`."""

    def __init__(self) -> None:
        from fsspec.config import conf

        # Retries are ours alone: the library's would multiply, and prolong an attempt that should end.
        config = {"max_pool_connections": 2 * REMOTE_THREADS, "retries": {"max_attempts": 0}, "read_timeout": timeout()}
        configured = conf.get("s3", {}).get("config_kwargs", {})
        config |= configured if isinstance(configured, dict) else {}
        self._fs = open_filesystem("s3", config_kwargs=config, use_listings_cache=False)

    async def _call(self, operation: str, bucket: str, **options: Any) -> Any:
        await self._fs.set_session()
        client = await self._fs.get_s3(bucket)
        return await getattr(client, operation)(Bucket=bucket, **self._fs.req_kw, **options)

    def stat(self, url: str) -> StoredObject:
        """See `Store.stat`."""
        _, bucket, key = split_url(url)

        async def head() -> Any:
            return await self._call("head_object", bucket, Key=key)

        response = within_timeout(self._fs, head)
        return StoredObject(url, response["ContentLength"], response.get("ETag", ""))

    def page(self, folder: str, token: str) -> tuple[list[StoredObject], list[str], str]:
        """See `Store.page`."""
        _, bucket, prefix = split_url(folder)
        following = {"ContinuationToken": token} if token else {}

        async def listing() -> Any:
            return await self._call("list_objects_v2", bucket, Prefix=prefix, MaxKeys=PAGE, **following)

        response = within_timeout(self._fs, listing)
        objects = [
            StoredObject(f"s3://{bucket}/{each['Key']}", each["Size"], each.get("ETag", ""))
            for each in response.get("Contents", [])
        ]
        return objects, [], response.get("NextContinuationToken", "") if response.get("IsTruncated") else ""

    def get(self, url: str, start: int | None, size: int, stamp: str) -> bytes:
        """See `Store.get`."""
        _, bucket, key = split_url(url)
        options = {"IfMatch": stamp} if stamp else {}
        if start is not None:
            options["Range"] = byte_range(start, size)

        async def body() -> bytes:
            response = await self._call("get_object", bucket, Key=key, **options)
            try:
                return await read_at_most(response["Body"].read, MAX_FILE_BYTES if start is None else size)
            finally:
                response["Body"].close()

        return check_size(within_timeout(self._fs, body))
