"""The service behind the routes: images decoded in processes, predicted in dynamic batches, explained, compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from starlette.concurrency import run_in_threadpool

from ...images.encode import data_url, jpeg, png, shrink
from ...images.fits.framing import Framing
from ...images.image import ImageError
from ...images.read import read_image
from ...model.image_reader import LoadedImage
from ...model.model import Model
from ...model.options import InferenceOptions
from ...surveys.cutout import SkySource
from ...tables import Column, arrow_schema
from ..decoder import PROCESSES, DecodeError, ImageDecoder
from ..downloads import Downloads
from . import occlusion
from .batcher import DynamicBatcher
from .examples import EXAMPLE, example_jpeg
from .limits import Limits
from .metrics import Metrics
from .positions import Position
from .read_job import ImageTask, ReadJob, RowTask, failed_row, row_name
from .responses import Galaxy, Neighbour, Neighbours, OcclusionMap, Results, galaxy_of
from .results import ResultStore
from .uploads import Upload

if TYPE_CHECKING:
    from ...similarity import Index

__all__ = ["Service"]

#: Threads that wait for cutouts.
FETCHERS = 8
#: Side of a cutout, that of Galaxy Zoo 2's images, and of the thumbnail of a neighbour, pixels.
CUTOUT_PIXELS, THUMBNAIL_SIDE = 424, 160
_POSITION = arrow_schema(
    [
        Column("ra", pa.float64(), "Right ascension, ICRS; null: an image without position", "deg"),
        Column("dec", pa.float64(), "Declination, ICRS", "deg"),
    ]
)

T = TypeVar("T")


@dataclass(frozen=True)
class _Row:
    """An image that was read, or not, and what else its response holds."""

    read: LoadedImage
    image: str | None = None
    ra: float | None = None
    dec: float | None = None
    origin: str = ""


class Service:
    """A model for concurrent requests; an async context manager, within a running event loop.

    Parameters
    ----------
    source : SkySource or None
        Source of images by position.
    index : Index or None
        Known galaxies, for similarity search.

    Raises
    ------
    EmbeddingError
        If the index is of another model.
    """

    def __init__(self, model: Model, limits: Limits, source: SkySource | None, index: Index | None) -> None:
        if index is not None:
            index.embedder.check(model.embedder(index.embedder.n_views), f"model {model.bundle.name}")
        self.model = model
        self.limits = limits
        self.source = source
        self.index = index
        self.results = ResultStore(limits.stored_rows)
        self.downloads = Downloads(limits)
        self.batcher = DynamicBatcher(model)
        self.metrics = Metrics(lambda: self.batcher.waiting)
        self._decoder = ImageDecoder(ReadJob(model.image_reader, limits.pixels), seconds=limits.decode_seconds)
        self._fetchers = ThreadPoolExecutor(FETCHERS, "fetching")
        self._explainers = ThreadPoolExecutor(1, "explaining")
        # No more files are held in memory than are about to be decoded.
        self._open = asyncio.Semaphore(2 * PROCESSES)
        self._example: Galaxy | None = None
        self._example_lock = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Service:
        await self._stack.enter_async_context(self.batcher)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._decoder.close()
        await self._stack.aclose()
        for pool in (self._fetchers, self._explainers):
            pool.shutdown(wait=False, cancel_futures=True)

    async def predict(
        self, uploads: Sequence[Upload], images: bool, result: str, framing: Framing | None = None
    ) -> Results:
        """Predict uploaded images, FITS as `framing` says; one that cannot be read is a row with its error."""
        rows = await asyncio.gather(*(self._read(upload, images, framing) for upload in uploads))
        return await self._results(rows, result)

    async def predict_positions(self, positions: Sequence[Position], size: float, images: bool, result: str) -> Results:
        """Fetch and predict cutouts, `size` arcseconds a side; a position without image is a row with its error."""
        fetch = partial(self._cutout, size=size, images=images)
        rows = await asyncio.gather(*(self._in(self._fetchers, fetch, position) for position in positions))
        return await self._results(rows, result)

    async def example(self) -> Galaxy:
        """A simulated galaxy with its image and prediction, the same each time; it is not stored."""
        async with self._example_lock:
            if self._example is None:
                upload = Upload("simulated.jpg", await run_in_threadpool(example_jpeg, EXAMPLE), "")
                row = await self._read(upload, True)
                predictions = await self.batcher.predict([row.read])
                self._example = galaxy_of(predictions[0], float(predictions.level[0]))
                self._example.image = row.image
            return self._example

    async def explain(self, upload: Upload, about: str, framing: Framing | None = None) -> OcclusionMap:
        """Occlusion map for a class (""), or for the answer whose fraction `about` names."""
        image = await self._image(upload, occlusion.MAX_SIDE, framing)
        return await self._in(self._explainers, occlusion.explain, self.model, image, about)

    async def similar(self, upload: Upload, k: int, framing: Framing | None = None) -> Neighbours:
        """The `k` nearest galaxies of the index."""
        row = await self._read(upload, False, framing)
        if row.read.inputs is None:
            raise ImageError(row.read.error)
        return await self._in(self._explainers, self._similar, row.read.inputs, k)

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *arguments))

    async def _read(self, upload: Upload, preview: bool, framing: Framing | None = None) -> _Row:
        if upload.error:
            return _Row(failed_row(upload.name, upload.error))
        async with self._open:
            try:
                task = RowTask(await upload.content(), upload.name, preview, framing)
                return _Row(*await self._decoder.run(task))
            except DecodeError as error:
                return _Row(failed_row(upload.name, str(error)))

    async def _image(self, upload: Upload, side: int, framing: Framing | None) -> Any:
        if upload.error:
            raise ImageError(upload.error)
        async with self._open:
            image = await self._decoder.run(ImageTask(await upload.content(), side, framing))
        if isinstance(image, str):
            raise ImageError(image)
        return image

    def _cutout(self, position: Position, size: float, images: bool) -> _Row:
        if position.error:
            return _Row(failed_row(position.name, position.error))
        assert self.source is not None
        try:
            cutout = self.source.cutout(position.ra, position.dec, size, CUTOUT_PIXELS)
        except ImageError as error:
            return _Row(failed_row(position.name, str(error)), None, position.ra, position.dec)
        read = replace(self.model.image_reader.read(cutout.rgb, name=row_name(position.name)), warning=cutout.warning)
        origin = cutout.provenance
        text = f"{origin.source} {origin.layer}, {origin.pixel_scale:.3g}″ per pixel, {origin.time}"
        # Exact, since the page sends it back for an occlusion map.
        image = data_url(png(cutout.rgb)) if images else None
        return _Row(read, image, position.ra, position.dec, text)

    async def _results(self, rows: Sequence[_Row], result: str) -> Results:
        predictions = await self.batcher.predict([row.read for row in rows])
        galaxies = []
        for number, row in enumerate(rows):
            galaxy = galaxy_of(predictions[number], float(predictions.level[number]))
            galaxy.image, galaxy.ra, galaxy.dec, galaxy.origin = row.image, row.ra, row.dec, row.origin
            galaxies.append(galaxy)
        failed = sum(bool(galaxy.error) for galaxy in galaxies)
        self.metrics.images.labels("predicted").inc(len(galaxies) - failed)
        self.metrics.images.labels("failed").inc(failed)
        table = predictions.to_table()
        if self.source is not None:
            table = table.add_column(2, _POSITION.field("ra"), pa.array([row.ra for row in rows], pa.float64()))
            table = table.add_column(3, _POSITION.field("dec"), pa.array([row.dec for row in rows], pa.float64()))
        name, first = self.results.add(table, result)
        return Results(model=self.model.bundle.name, result=name, first=first, failed=failed, rows=galaxies)

    def _similar(self, inputs: Any, k: int) -> Neighbours:
        assert self.index is not None
        n_views = self.index.embedder.n_views
        features = self.model.run([inputs], InferenceOptions(n_views, embeddings=True)).features
        assert features is not None
        neighbours = self.index.near(features, k, embedder=self.model.embedder(n_views))[0]
        return Neighbours(
            neighbours=[
                Neighbour(id=each.id, distance=each.distance, image=_thumbnail(each.path)) for each in neighbours
            ]
        )


def _thumbnail(path: str) -> str | None:
    try:
        return data_url(jpeg(shrink(read_image(path).rgb, THUMBNAIL_SIDE), quality=88))
    except ImageError:
        return None
