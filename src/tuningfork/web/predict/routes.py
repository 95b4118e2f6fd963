"""Routes of the HTTP API: their parameters, responses and errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, Field

from ... import __version__
from ...images.fits.framing import Framing, unit
from ...images.fits.stretch import AUTO, preset_names
from ...model.bundle import builtin_models, open_bundle
from ...model.card import test_rmse
from ...tables import CatalogError
from .examples import EXAMPLES, example_jpeg
from .limits import Limits
from .positions import Position, parse_positions, position_lines
from .responses import About, Galaxy, ModelCard, Neighbours, OcclusionMap, Problem, Results
from .results import MEDIA_TYPES, format_of, write_result
from .service import Service
from .uploads import Upload, label, uploads

__all__ = ["api"]

#: Of a JSON list; the service's own limit is `Limits.images`.
MAX_POSITIONS = 10_000
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "No image, or a damaged request"},
    408: {"model": Problem, "description": "The request was sent too slowly"},
    413: {"model": Problem, "description": "Too much in one request"},
    503: {"model": Problem, "description": "Too many requests at once; see Retry-After"},
    504: {"model": Problem, "description": "It took too long"},
}
_UNREADABLE: dict[int | str, dict[str, Any]] = {422: {"model": Problem, "description": "No readable image"}}
_ABSENT: dict[int | str, dict[str, Any]] = {501: {"model": Problem, "description": "Not available in this service"}}

ImagesQuery = Annotated[bool, Query(description="Return each image as a data URL")]
ResultQuery = Annotated[str, Query(description="Append the rows to those stored under this name", max_length=64)]


class FramingIn(BaseModel):
    """How FITS images are shown; other images have no such options."""

    stretch: str = Field(default="", description="Stretch of FITS images, one of `stretches`; empty: the model's")
    size: float | None = Field(default=None, description="Side of the piece of a FITS image that is shown, arcsec")
    bands: str = Field(
        default="", description="Three images of a FITS file as blue, green, red, or one, separated by commas"
    )

    def of(self, framing: Framing) -> Framing | None:
        """The model's framing with these options; None without any. Raises HTTPException if one is wrong."""
        changes: dict[str, Any] = {"stretch": self.stretch} if self.stretch else {}
        if self.size is not None:
            changes["size"] = self.size
        if self.bands:
            changes["bands"] = tuple(unit(band) for band in self.bands.split(","))
        try:
            return replace(framing, **changes) if changes else None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None


FramingQuery = Annotated[FramingIn, Query()]


class PositionIn(BaseModel):
    """A position in the sky."""

    ra: float = Field(description="ICRS, degrees", ge=0, le=360)
    dec: float = Field(description="ICRS, degrees", ge=-90, le=90)
    name: str = ""


class PositionsIn(BaseModel):
    """Positions, as numbers or as lines of text, or both."""

    positions: list[PositionIn] = Field(default=[], max_length=MAX_POSITIONS)
    text: str = Field(default="", description="Lines of `RA Dec` or `name RA Dec`", examples=["M100 185.7289 15.8223"])
    size: float = Field(default=50, description="Side of the frame in arcseconds", gt=0, le=3600)

    def rows(self, limits: Limits) -> list[Position]:
        """All positions. Raises HTTPException if there are none, or too many."""
        lines = position_lines(self.text)
        count = len(self.positions) + len(lines)
        if not count:
            raise HTTPException(400, "no position; send lines such as 185.7289 15.8223")
        # Before any of them is parsed.
        if count > limits.images:
            raise HTTPException(413, f"{count} positions; at most {limits.images} in one request")
        numbers = [Position(label(each.name, n), each.ra, each.dec) for n, each in enumerate(self.positions, 1)]
        return numbers + parse_positions(lines)


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

    @router.get("/about", summary="Features and limits of this service", tags=["service"])
    async def about() -> About:
        return About(
            version=__version__,
            model=model.bundle.name,
            title=model.bundle.title,
            runs_on=model.runtime,
            sky=source_name if service.source is not None else "",
            similar=service.index is not None,
            stretches=[AUTO, *preset_names()],
            images=limits.images,
            image_bytes=limits.image_bytes,
            body_bytes=limits.body_bytes,
        )

    @router.get("/models", summary="The model of this service, and those that come with tuningfork", tags=["service"])
    async def models() -> list[ModelCard]:
        return cards

    @router.get("/example", summary="A simulated galaxy with its image and prediction", tags=["galaxies"])
    async def predicted_example() -> Galaxy:
        return await service.example()

    @router.get(
        "/examples/{number}.jpg",
        summary="A simulated galaxy to try",
        tags=["galaxies"],
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    def example(number: Annotated[int, Path(ge=0, lt=EXAMPLES)]) -> Response:
        return Response(example_jpeg(number), media_type="image/jpeg", headers={"cache-control": "max-age=3600"})

    @router.post(
        "/predict",
        summary="Predict one image or many",
        tags=["galaxies"],
        responses=_PROBLEMS,
        openapi_extra=_body("JPEG, PNG, WebP, TIFF, FITS or .npy: files of a form, or one as the body", many=True),
    )
    async def predict(
        request: Request, framing: FramingQuery, images: ImagesQuery = False, result: ResultQuery = ""
    ) -> Results:
        async with uploads(request, limits) as files:
            return await service.predict(files, images, result, framing.of(model.image_reader.framing))

    @router.post(
        "/predict/positions",
        summary="Predict galaxies at positions in the sky",
        tags=["galaxies"],
        responses={**_PROBLEMS, **_ABSENT},
    )
    async def predict_positions(
        positions: PositionsIn, images: ImagesQuery = False, result: ResultQuery = ""
    ) -> Results:
        if service.source is None:
            raise HTTPException(501, "this service has no images of the sky; start it with --source")
        rows = await run_in_threadpool(positions.rows, limits)
        return await service.predict_positions(rows, positions.size, images, result)

    @router.get(
        "/results/{name}.{extension}",
        summary="Download stored rows as a table: csv, vot, fits, ecsv or parquet",
        tags=["galaxies"],
        response_class=Response,
        responses={
            200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}},
            404: {"model": Problem, "description": "No such rows, or no longer stored"},
        },
    )
    async def download(
        name: str,
        extension: str,
        rows: Annotated[str, Query(description="Numbers of rows, separated by commas; empty: all of them")] = "",
    ) -> Response:
        kind = format_of(extension)
        if kind is None:
            raise HTTPException(404, f"there is no table format .{extension}; use .csv or .vot")
        try:
            numbers = [int(number) for number in rows.split(",")] if rows else []
        except ValueError:
            raise HTTPException(422, f"rows = {rows[:60]!r}; numbers separated by commas are expected") from None
        try:
            table = service.results.table(name, numbers)
        except KeyError:
            raise HTTPException(404, "these rows are no longer stored; predict them again") from None
        try:
            return await service.downloads.response(
                lambda path: write_result(table, path), f"tuningfork.{extension}", MEDIA_TYPES[kind]
            )
        except CatalogError as error:
            raise HTTPException(501, str(error)) from None

    @router.post(
        "/occlusion",
        summary="Occlusion map of one image: where the network looked",
        tags=["galaxies"],
        responses={**_PROBLEMS, **_UNREADABLE},
        openapi_extra=_body("One image", many=False),
    )
    async def occlusion(
        request: Request,
        framing: FramingQuery,
        about: Annotated[str, Query(description="A fraction such as bar_yes_fraction; empty: the class")] = "",
    ) -> OcclusionMap:
        async with uploads(request, limits) as files:
            return await _single(files, service.explain, about, framing.of(model.image_reader.framing))

    @router.post(
        "/similar",
        summary="Similarity search: the nearest galaxies of the index",
        tags=["galaxies"],
        responses={**_PROBLEMS, **_UNREADABLE, **_ABSENT},
        openapi_extra=_body("One image", many=False),
    )
    async def similar(request: Request, framing: FramingQuery, k: Annotated[int, Query(ge=1, le=50)] = 6) -> Neighbours:
        if service.index is None:
            raise HTTPException(501, "this service has no index of galaxies; start it with --index")
        async with uploads(request, limits) as files:
            return await _single(files, service.similar, k, framing.of(model.image_reader.framing))

    return router


async def _single(files: list[Upload], method: Any, *arguments: Any) -> Any:
    if len(files) != 1:
        raise HTTPException(400, f"{len(files)} images; exactly one is expected")
    try:
        return await method(files[0], *arguments)
    except ValueError as error:  # ImageError is one
        raise HTTPException(422, str(error)) from None


def _body(description: str, many: bool) -> dict[str, Any]:
    """A request's body for OpenAPI: a form with files, or an image as it is."""
    one = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"files": {"type": "array", "items": one} if many else one}}
    content = {
        "multipart/form-data": {"schema": form},
        "image/*": {"schema": one},
        "application/octet-stream": {"schema": one},
    }
    return {"requestBody": {"description": description, "required": True, "content": content}}
