"""The service put together: guards, pages, API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from ... import __version__
from ...model.model import Model
from ...surveys.cutout import SkySource
from .. import StaticFolder, guarded, install_errors
from .limits import Limits
from .metrics import Counted
from .responses import Problem
from .routes import api
from .service import Service

if TYPE_CHECKING:
    from ...similarity import Index

__all__ = ["create_app"]


def create_app(
    model: Model,
    limits: Limits | None = None,
    *,
    source: SkySource | None = None,
    source_name: str = "",
    index: Index | None = None,
    hosts: Iterable[str] = (),
) -> ASGIApp:
    """The service as an ASGI app, behind its guards.

    Parameters
    ----------
    source, source_name : SkySource and str
        What gives pictures by position, and what people call it.
    index : Index, optional
        Known galaxies, to find those that look alike.
    hosts : iterable of str
        Further names of this machine.
    """
    limits = limits or Limits()
    service = Service(model, limits, source, index)
    static = StaticFolder("tuningfork.web", "tuningfork.web.predict")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service:
            yield

    app = FastAPI(
        title="tuningfork",
        version=__version__,
        summary="Tells the morphology of galaxies from their pictures",
        description=model.bundle.description,
        # FastAPI's own pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        responses={422: {"model": Problem, "description": "Not as it is described here"}},
        lifespan=lifespan,
    )
    install_errors(app)
    app.mount("/static", static)
    app.include_router(api(service, source_name))

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return static.response("serve.html", request.headers.get("if-none-match", ""))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return static.response("docs.html", request.headers.get("if-none-match", ""))

    @app.get("/health", summary="Whether the service works", tags=["service"])
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": model.bundle.name, "version": __version__}

    @app.get("/metrics", summary="Figures for Prometheus", tags=["service"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Counted(guarded(app, limits, hosts), service.metrics)
