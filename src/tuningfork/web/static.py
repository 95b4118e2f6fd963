"""Static files of the package, with media types that no machine's settings change."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

__all__ = ["MEDIA_TYPES", "StaticFolder"]

#: Extension → media type. Python's own table follows the machine's, which may call a script plain text.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}


class StaticFolder(StaticFiles):
    """The files in ``static/`` of some packages, as an app to mount; nothing else is reachable."""

    def __init__(self, *packages: str) -> None:
        super().__init__(packages=[(package, "static") for package in packages])

    async def page(self, name: str, request: Request) -> Response:
        """One of the files as the response of a route, such as the page at ``/``."""
        return await self.get_response(name, request.scope)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file, or ``304 Not Modified`` if the browser has it already."""
        media_type = MEDIA_TYPES.get(Path(full_path).suffix)
        if media_type is None:
            raise HTTPException(404)
        # Browsers keep it, and ask each time whether it is still the same.
        response = FileResponse(
            full_path, status_code, {"cache-control": "no-cache"}, media_type=media_type, stat_result=stat_result
        )
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response
