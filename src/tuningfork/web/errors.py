"""Errors of one form: ``{"status": 413, "error": "why, and what to do"}``."""

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

__all__ = ["answer_error", "error_body", "install_errors"]

_log = logging.getLogger(__name__)


def error_body(status: int, reason: str) -> dict[str, Any]:
    """What an error's answer says, as plain values."""
    return {"status": status, "error": reason}


async def answer_error(send: Send, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
    """Answer a request with an error, below any framework; the connection ends."""
    body = json.dumps(error_body(status, reason)).encode()
    told = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    lines = [(name.encode(), value.encode()) for name, value in {**told, **(headers or {})}.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def install_errors(app: Starlette) -> None:
    """Make an app's errors have our form: those it raises, those of its routes, and our own mistakes."""

    def told(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse(error_body(error.status_code, str(error.detail)), error.status_code, error.headers)

    def mistake(_: Request, error: Exception) -> JSONResponse:
        _log.error("a request failed", exc_info=error)
        return JSONResponse(error_body(500, "a mistake of the service; its log has the details"), 500)

    app.add_exception_handler(HTTPException, told)
    app.add_exception_handler(Exception, mistake)
    try:
        from fastapi.exceptions import RequestValidationError
    except ImportError:
        return

    def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        reasons = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
        return JSONResponse(error_body(422, "; ".join(reasons)), 422)

    app.add_exception_handler(RequestValidationError, invalid)
