"""fsspec's own store within one process, for tests."""

from __future__ import annotations

from ...images.image import ImageError
from ..byte_source import CHANGED_MESSAGE
from .store import StoredObject, check_size, open_filesystem, register_store


@register_store("memory")
class MemoryStore:
    """Objects in this process's memory; see `store.Store`."""

    def __init__(self) -> None:
        self._fs = open_filesystem("memory")

    def stat(self, url: str) -> StoredObject:
        """See `Store.stat`."""
        info = self._fs.info(url)
        if info["type"] != "file":
            raise FileNotFoundError
        return StoredObject(url, info["size"], str(info.get("created", "")))

    def page(self, folder: str, token: str) -> tuple[list[StoredObject], list[str], str]:
        """See `Store.page`."""
        listed = sorted(self._fs.ls(folder, detail=True), key=lambda each: each["name"])
        files = [self.stat(f"memory:/{each['name']}") for each in listed if each["type"] == "file"]
        return files, [f"memory:/{each['name']}/" for each in listed if each["type"] == "directory"], ""

    def get(self, url: str, start: int | None, size: int, stamp: str) -> bytes:
        """See `Store.get`."""
        if stamp and self.stat(url).stamp != stamp:
            raise ImageError(CHANGED_MESSAGE)
        return check_size(self._fs.cat_file(url, start, None if start is None else start + size))
