"""The API's routes: what they take, and the errors that they answer with."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, Field

from ... import __version__
from ...model.bundle import builtin_models, open_bundle
from ...model.card import test_rmse
from ...tables import CatalogError
from .examples import EXAMPLES, simulated
from .limits import Limits
from .positions import Position, positions_in
from .responses import About, Look, ModelCard, Neighbours, Problem, Results
from .results import MEDIA_TYPES, format_of, table_bytes
from .service import Service
from .uploads import Upload, label, uploads

__all__ = ["api"]

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "No picture, or a damaged request"},
    408: {"model": Problem, "description": "The request came too slowly"},
    413: {"model": Problem, "description": "Too much in one request"},
    503: {"model": Problem, "description": "Too many requests at once; Retry-After says when to come again"},
    504: {"model": Problem, "description": "It took too long"},
}
_UNREADABLE: dict[int | str, dict[str, Any]] = {422: {"model": Problem, "description": "No readable picture"}}
_ABSENT: dict[int | str, dict[str, Any]] = {501: {"model": Problem, "description": "Not a part of this service"}}

PicturesQuery = Annotated[bool, Query(description="Send each picture back as a page shows it")]
ResultQuery = Annotated[str, Query(description="Add the rows to those kept under this name", max_length=64)]


class Place(BaseModel):
    """A position in the sky."""

    ra: float = Field(description="ICRS, degrees", ge=0, le=360)
    dec: float = Field(description="ICRS, degrees", ge=-90, le=90)
    name: str = ""


class Places(BaseModel):
    """Positions, as numbers or as lines of text, or both."""

    positions: list[Place] = []
    text: str = Field("", description="Lines of `RA Dec` or `name RA Dec`", examples=["M100 185.7289 15.8223"])
    size: float = Field(50, description="Side of the frame in arcseconds", gt=0, le=3600)

    def rows(self, limits: Limits) -> list[Position]:
        """All positions. Raises HTTPException if there are none, or too many."""
        given = [
            Position(label(place.name, number), place.ra, place.dec) for number, place in enumerate(self.positions, 1)
        ]
        rows = given + positions_in(self.text)
        if not rows:
            raise HTTPException(400, "no position; give lines such as 185.7289 15.8223")
        if len(rows) > limits.pictures:
            raise HTTPException(413, f"{len(rows)} positions; at most {limits.pictures} in one request")
        return rows


def api(service: Service, source_name: str) -> APIRouter:
    """All routes below ``/api``."""
    router, model, limits = APIRouter(prefix="/api"), service.model, service.limits
    shipped = {name: open_bundle(name) for name in builtin_models()}
    bundles = {**shipped, model.bundle.name: model.bundle}
    cards = [
        ModelCard(
            name=name,
            served=bundle is model.bundle,
            title=bundle.title,
            description=bundle.description,
            licence=bundle.licence,
            limits=list(bundle.limits),
            attribution=list(bundle.attribution),
            tree=bundle.tree.title,
            classes=[rule.name for rule in bundle.tree.classes],
            networks=len(bundle.networks),
            views=bundle.n_views,
            calibrated=bundle.calibration is not None,
            rmse=test_rmse(bundle),
            sha256=bundle.sha256,
        )
        for name, bundle in bundles.items()
    ]

    @router.get("/about", summary="What this service has and takes", tags=["service"])
    async def about() -> About:
        return About(
            version=__version__,
            model=model.bundle.name,
            title=model.bundle.title,
            runs_on=model.runtime,
            sky=source_name if service.source is not None else "",
            similar=service.index is not None,
            pictures=limits.pictures,
            picture_bytes=limits.picture_bytes,
            body_bytes=limits.body_bytes,
        )

    @router.get("/models", summary="The model that is served, and those that come with tuningfork", tags=["service"])
    async def models() -> list[ModelCard]:
        return cards

    @router.get(
        "/examples/{number}.jpg",
        summary="A simulated galaxy, to try with",
        tags=["galaxies"],
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    def example(number: Annotated[int, Path(ge=0, lt=EXAMPLES)]) -> Response:
        return Response(simulated(number), media_type="image/jpeg", headers={"cache-control": "max-age=3600"})

    @router.post(
        "/predict",
        summary="Predict one picture or many",
        tags=["galaxies"],
        responses=_PROBLEMS,
        openapi_extra=_pictures("JPEG, PNG, WebP, TIFF, FITS or .npy: files of a form, or one as the body", many=True),
    )
    async def predict(request: Request, pictures: PicturesQuery = False, result: ResultQuery = "") -> Results:
        async with uploads(request, limits) as given:
            return await service.predict(given, pictures, result)

    @router.post(
        "/predict/positions",
        summary="Predict what lies at positions in the sky",
        tags=["galaxies"],
        responses={**_PROBLEMS, **_ABSENT},
    )
    async def predict_positions(places: Places, pictures: PicturesQuery = False, result: ResultQuery = "") -> Results:
        if service.source is None:
            raise HTTPException(501, "this service has no pictures of the sky; start it with --source")
        return await service.predict_positions(places.rows(limits), places.size, pictures, result)

    @router.get(
        "/results/{name}.{extension}",
        summary="Download kept rows as a table: csv, vot, fits, ecsv or parquet",
        tags=["galaxies"],
        response_class=Response,
        responses={
            200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}},
            404: {"model": Problem, "description": "No such rows, or no longer kept"},
        },
    )
    async def download(name: str, extension: str) -> Response:
        kind = format_of(extension)
        if kind is None:
            raise HTTPException(404, f"no table can be had as .{extension}; ask for .csv or .vot")
        try:
            content = await run_in_threadpool(partial(table_bytes, service.kept.table(name), extension))
        except KeyError:
            raise HTTPException(404, "these rows are no longer kept; predict them again") from None
        except CatalogError as error:
            raise HTTPException(501, str(error)) from None
        headers = {"content-disposition": f'attachment; filename="tuningfork.{extension}"'}
        return Response(content, media_type=MEDIA_TYPES[kind], headers=headers)

    @router.post(
        "/look",
        summary="Where the network looked: parts of one picture are covered, and how much the answer suffers is mapped",
        tags=["galaxies"],
        responses={**_PROBLEMS, **_UNREADABLE},
        openapi_extra=_pictures("One picture", many=False),
    )
    async def look(
        request: Request,
        about: Annotated[str, Query(description="A fraction such as bar_yes_fraction; empty: the class")] = "",
    ) -> Look:
        async with uploads(request, limits) as given:
            return await _one(given, service.look, about)

    @router.post(
        "/similar",
        summary="The galaxies of the index that look most like this one",
        tags=["galaxies"],
        responses={**_PROBLEMS, **_UNREADABLE, **_ABSENT},
        openapi_extra=_pictures("One picture", many=False),
    )
    async def similar(request: Request, k: Annotated[int, Query(ge=1, le=50)] = 6) -> Neighbours:
        if service.index is None:
            raise HTTPException(501, "this service has no index of galaxies; start it with --index")
        async with uploads(request, limits) as given:
            return await _one(given, service.similar, k)

    return router


async def _one(given: list[Upload], ask: Any, *rest: Any) -> Any:
    if len(given) != 1:
        raise HTTPException(400, f"{len(given)} pictures; exactly one is expected")
    try:
        return await ask(given[0], *rest)
    except ValueError as error:  # ImageError is one
        raise HTTPException(422, str(error)) from None


def _pictures(description: str, many: bool) -> dict[str, Any]:
    """A request's body for OpenAPI: a form with files, or a picture as it is."""
    one = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"files": {"type": "array", "items": one} if many else one}}
    content = {
        "multipart/form-data": {"schema": form},
        "image/*": {"schema": one},
        "application/octet-stream": {"schema": one},
    }
    return {"requestBody": {"description": description, "required": True, "content": content}}
