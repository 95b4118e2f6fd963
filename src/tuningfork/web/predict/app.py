"""The app of the prediction service: guards, pages, API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.types import ASGIApp

from ... import __version__
from ...model.model import Model
from ...surveys.cutout import SkySource
from ..errors import install_errors
from ..guards.guard import guarded
from ..static import StaticFolder
from .limits import Limits
from .metrics import MetricsMiddleware
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
    """Create the prediction service as an ASGI app, behind its guards.

    Parameters
    ----------
    source, source_name : SkySource and str
        Source of images by position, and its name for people.
    index : Index, optional
        Known galaxies, for similarity search.
    hosts : iterable of str
        Further host names of this machine.
    """
    limits = limits or Limits()
    service = Service(model, limits, source, index)
    static = StaticFolder("tuningfork.display", "tuningfork.web.predict")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service:
            yield

    app = FastAPI(
        title="tuningfork",
        version=__version__,
        summary="Predicts the morphology of galaxies from images",
        description=model.bundle.description,
        # FastAPI's own pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        responses={422: {"model": Problem, "description": "Invalid request"}},
        lifespan=lifespan,
    )
    install_errors(app)
    app.mount("/static", static)
    app.include_router(api(service, source_name))

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return await static.page("serve.html", request)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return await static.page("docs.html", request)

    @app.get("/health", summary="Health check", tags=["service"])
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": model.bundle.name, "version": __version__}

    @app.get("/metrics", summary="Metrics for Prometheus", tags=["service"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return MetricsMiddleware(guarded(app, limits, hosts), service.metrics)
