"""What the routes ask for: pictures read in threads, predicted in batches, looked into and compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...images.image import ImageError
from ...images.read import read_image
from ...model.image_reader import Read
from ...model.model import Model
from ...model.occlusion import Occlusion, occlusion_map, overlay
from ...model.options import InferenceOptions
from ...surveys.cutout import SkySource
from ...tables import Column, arrow_schema
from ...tables.identifiers import file_id
from ...votes import fractions as votes
from .batcher import Batcher
from .examples import PREVIEW, THUMBNAIL, data_address, modest
from .limits import Limits
from .metrics import Metrics
from .positions import Position
from .responses import Look, Neighbour, Neighbours, Results, galaxy_of
from .results import KeptResults
from .uploads import Upload

if TYPE_CHECKING:
    from ...similarity import Index

__all__ = ["Service"]

#: Threads that read pictures, and that wait for cutouts.
READERS, FETCHERS = 2, 8
#: Galaxy Zoo 2's frame in pixels.
CUTOUT_PIXELS = 424
#: Pictures are shrunk to twice that before they are covered a hundred times.
LOOK_SIDE = 848
_POSITION = arrow_schema(
    [
        Column("ra", pa.float64(), "Right ascension, ICRS; null: a picture without position", "deg"),
        Column("dec", pa.float64(), "Declination, ICRS", "deg"),
    ]
)

Picture = NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True)
class _Row:
    """A picture, read or not, and what else its answer says."""

    read: Read
    picture: str | None = None
    ra: float | None = None
    dec: float | None = None
    origin: str = ""


class Service:
    """A model at work for many; use it as a context, within a running event loop.

    Parameters
    ----------
    source : SkySource or None
        What gives pictures by position.
    index : Index or None
        Known galaxies, to find those that look alike.

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
        self.kept = KeptResults(limits.kept_rows)
        self.batcher = Batcher(model)
        waiting = ("Pictures that wait for the network, or are in it", lambda: self.batcher.waiting)
        self.metrics = Metrics({"pictures_waiting": waiting})
        self._readers = ThreadPoolExecutor(READERS, "reading")
        self._fetchers = ThreadPoolExecutor(FETCHERS, "fetching")
        self._lookers = ThreadPoolExecutor(1, "looking")
        # No more files are held in memory than are about to be read.
        self._open = asyncio.Semaphore(2 * READERS)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Service:
        await self._stack.enter_async_context(self.batcher)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        for pool in (self._readers, self._fetchers, self._lookers):
            pool.shutdown(wait=True, cancel_futures=True)

    async def predict(self, uploads: Sequence[Upload], pictures: bool, result: str) -> Results:
        """Predict what was sent; a bad picture is a row with its reason."""
        rows = await asyncio.gather(*(self._read(upload, pictures) for upload in uploads))
        return await self._results(rows, result)

    async def predict_positions(
        self, positions: Sequence[Position], size: float, pictures: bool, result: str
    ) -> Results:
        """Fetch the cutouts, `size` arcseconds a side, and predict them; a place without picture is such a row."""
        fetch = partial(self._cutout, size=size, pictures=pictures)
        rows = await asyncio.gather(*(self._in(self._fetchers, fetch, position) for position in positions))
        return await self._results(rows, result)

    async def look(self, upload: Upload, about: str) -> Look:
        """Where the network looked for a class (""), or for the answer whose fraction `about` names."""
        return await self._in(self._lookers, self._look, await self._content(upload), about)

    async def similar(self, upload: Upload, k: int) -> Neighbours:
        """The `k` galaxies of the index that look most alike."""
        return await self._in(self._lookers, self._similar, await self._content(upload), k)

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[..., T], *given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *given))

    async def _content(self, upload: Upload) -> bytes:
        if upload.error:
            raise ImageError(upload.error)
        return await upload.content()

    async def _read(self, upload: Upload, pictures: bool) -> _Row:
        if upload.error:
            return _Row(_unread(upload.name, upload.error))
        async with self._open:
            return await self._in(self._readers, self._row, await upload.content(), upload.name, pictures)

    def _row(self, content: bytes, name: str, pictures: bool) -> _Row:
        try:
            picture, warning = self._picture(content)
        except ImageError as error:
            return _Row(_unread(name, str(error)))
        read = replace(self.model.reading.read(picture, name=_named(name)), warning=warning)
        return _Row(read, data_address(modest(picture, PREVIEW)) if pictures else None)

    def _picture(self, content: bytes) -> tuple[Picture, str]:
        """A picture out of a file's bytes, FITS with north up, and what to tell of it."""
        image = read_image(content)
        picture, warning = image.rgb, image.warning
        height, width = picture.shape[:2]
        if height * width > self.limits.pixels:
            raise ImageError(f"{width}×{height} px; at most {self.limits.pixels} pixels are taken here")
        return picture, warning

    def _cutout(self, position: Position, size: float, pictures: bool) -> _Row:
        if position.error:
            return _Row(_unread(position.name, position.error))
        assert self.source is not None
        try:
            cutout = self.source.cutout(position.ra, position.dec, size, CUTOUT_PIXELS)
        except ImageError as error:
            return _Row(_unread(position.name, str(error)), None, position.ra, position.dec)
        read = self.model.reading.read(cutout.picture, name=_named(position.name))
        read = replace(read, warning=cutout.warning)
        told = cutout.provenance
        origin = f"{told.source} {told.layer}, {told.pixel_scale:.3g}″ a pixel, {told.time}"
        # Exact, since the page sends it back to look into it.
        shown = data_address(cutout.picture, "PNG") if pictures else None
        return _Row(read, shown, position.ra, position.dec, origin)

    async def _results(self, rows: Sequence[_Row], result: str) -> Results:
        predictions = await self.batcher.predict([row.read for row in rows])
        galaxies = []
        for number, row in enumerate(rows):
            galaxy = galaxy_of(predictions[number], float(predictions.level[number]))
            galaxy.picture, galaxy.ra, galaxy.dec, galaxy.origin = row.picture, row.ra, row.dec, row.origin
            galaxies.append(galaxy)
        failed = sum(bool(galaxy.error) for galaxy in galaxies)
        self.metrics.pictures.update(predicted=len(galaxies) - failed, failed=failed)
        table = predictions.to_table()
        if self.source is not None:
            table = table.add_column(2, _POSITION.field("ra"), pa.array([row.ra for row in rows], pa.float64()))
            table = table.add_column(3, _POSITION.field("dec"), pa.array([row.dec for row in rows], pa.float64()))
        name = self.kept.keep(table, result)
        return Results(model=self.model.bundle.name, result=name, failed=failed, rows=galaxies)

    def _look(self, content: bytes, about: str) -> Look:
        picture = modest(self._picture(content)[0], LOOK_SIDE)
        height, width = picture.shape[:2]
        score, told = self._score(picture, about)
        window = self.model.preprocesses[0].window(height, width)
        found = occlusion_map(picture, score, window)
        return _told(found, told, height, width)

    def _score(self, picture: Picture, about: str) -> tuple[Callable[[Iterable[Picture]], NDArray[np.float64]], str]:
        """What to measure while the picture is covered, and its name."""
        model, tree = self.model, self.model.tree

        def told(pictures: Iterable[Picture]) -> Any:
            # One view: the others would turn the map.
            return model.run([model.inputs(each) for each in pictures], InferenceOptions(1, 32))

        whole = told([picture])
        if about and about not in tree.fraction_names:
            raise ValueError(f"{about!r} is no fraction of {tree.title}; such as {tree.fraction_names[0]}")
        if not about and not np.isnan(whole.class_probability).any():
            best = int(np.argmax(whole.class_probability[0]))
            return lambda pictures: told(pictures).class_probability[:, best], tree.classes[best].name
        if np.isnan(whole.cumulative).any():
            raise ValueError("this model tells only classes; leave out `about`")
        at = tree.fraction_names.index(about) if about else int(np.argmax(whole.cumulative[0][tree.slices[0]]))
        question = next(q for q, part in zip(tree.questions, tree.slices, strict=True) if part.start <= at < part.stop)
        text = f"{question.text} {tree.answers[at].text}"
        return lambda pictures: votes.conditional_from_cumulative(told(pictures).cumulative, tree)[:, at], text

    def _similar(self, content: bytes, k: int) -> Neighbours:
        assert self.index is not None
        inputs = self.model.inputs(self._picture(content)[0])
        views = self.index.embedder.n_views
        seen = self.model.run([inputs], InferenceOptions(views, embeddings=True)).features
        near = self.index.near(seen, k, embedder=self.model.embedder(views))[0]
        return Neighbours(
            neighbours=[Neighbour(id=each.id, distance=each.distance, picture=_thumbnail(each.path)) for each in near]
        )


def _named(name: str) -> tuple[str, str]:
    return file_id(name), name


def _unread(name: str, reason: str) -> Read:
    return Read(*_named(name), None, reason)


def _told(found: Occlusion, about: str, height: int, width: int) -> Look:
    left, top, side = found.window
    x, y = found.strongest
    return Look(
        about=about,
        score=found.score,
        fall=np.round(found.fall, 5).tolist(),
        left=left / width,
        top=top / height,
        width=side / width,
        height=side / height,
        x=x / width,
        y=y / height,
        overlay=data_address(overlay(found, height, width), "PNG"),
    )


def _thumbnail(path: str) -> str | None:
    try:
        return data_address(modest(read_image(path).rgb, THUMBNAIL))
    except ImageError:
        return None
