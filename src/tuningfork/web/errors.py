"""Error responses of one form: ``{"status": 413, "error": "why, and what to do"}``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Send

__all__ = ["error_body", "install_errors", "send_error"]

logger = logging.getLogger(__name__)


def error_body(status: int, reason: str) -> dict[str, Any]:
    """The body of an error response, as plain values."""
    return {"status": status, "error": reason}


async def send_error(send: Send, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
    """Answer a request with an error, below any framework; the connection ends."""
    body = json.dumps(error_body(status, reason)).encode()
    common = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    lines = [(name.encode(), value.encode()) for name, value in {**common, **(headers or {})}.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def install_errors(app: Starlette) -> None:
    """Give all errors of an app our form: those that it raises, those of its routes, and internal ones."""

    def http_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse(error_body(error.status_code, str(error.detail)), error.status_code, error.headers)

    def internal_error(_: Request, error: Exception) -> JSONResponse:
        logger.error("a request failed", exc_info=error)
        return JSONResponse(error_body(500, "an internal error of the service; its log has the details"), 500)

    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, internal_error)
    try:
        from fastapi.exceptions import RequestValidationError
    except ImportError:
        return

    def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        reasons = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
        return JSONResponse(error_body(422, "; ".join(reasons[:10])), 422)

    app.add_exception_handler(RequestValidationError, invalid)
