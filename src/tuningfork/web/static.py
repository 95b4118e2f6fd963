"""Files of the package as a page loads them: read once, with types that no machine's settings change."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .errors import answer_error

__all__ = ["TYPES", "StaticFolder"]

#: Extension → media type. Python's own table follows the machine's, which may call a script plain text.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}


@dataclass(frozen=True)
class _File:
    content: bytes
    type: str
    tag: str


class StaticFolder:
    """The files in ``static/`` of some packages, as an app to mount; nothing else can be asked for.

    Raises
    ------
    ValueError
        If two packages have a file of one name, or a file's type is none of `TYPES`.
    """

    def __init__(self, *packages: str) -> None:
        self._files: dict[str, _File] = {}
        for package in packages:
            for entry in (resources.files(package) / "static").iterdir():
                kind = TYPES.get("." + entry.name.rpartition(".")[2])
                if kind is None or entry.name in self._files:
                    raise ValueError(f"{package}: static/{entry.name} is of no known type, or there twice")
                content = entry.read_bytes()
                self._files[entry.name] = _File(content, kind, f'"{hashlib.sha256(content).hexdigest()[:20]}"')

    def response(self, name: str, known: str = "") -> Response:
        """A file as an answer; ``304 Not Modified`` if `known`, the browser's tag of it, still holds.

        Raises
        ------
        KeyError
            If there is no such file.
        """
        file = self._files[name]
        headers = {"etag": file.tag, "cache-control": "no-cache"}
        if known == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers={**headers, "content-type": file.type})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        name = scope["path"].rpartition("/")[2]
        known = dict(scope["headers"]).get(b"if-none-match", b"").decode("latin-1")
        if scope["method"] not in ("GET", "HEAD") or name not in self._files:
            await answer_error(send, 404, "there is no such file")
            return
        await self.response(name, known)(scope, receive, send)
