"""Chunks of a prediction run: items in, the bytes of a Parquet file out; reading overlaps with the networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

from .._utils.text import one_line
from ..images.image import ImageError
from ..images.structure import check_statmorph
from ..inputs import InputItem, ItemReader
from ..model.image_reader import ImageReader, LoadedImage
from ..model.model import Model
from ..model.options import InferenceOptions
from ..model.predictions import Predictions, concatenated
from ..model.runtime import CPU_BATCH as BATCH
from .part_table import ChunkResult, TableLayout, chunk_result

__all__ = [
    "MEASURED_ROWS",
    "Chunk",
    "predict_batches_of",
    "predict_chunk",
    "predict_items",
    "read_item",
    "read_items",
]

#: Rows whose fractions are computed together, whatever the batch size: small arrays cost NumPy as much as large ones.
BLOCK = 64
#: Blocks that are read ahead.
READ_AHEAD = 3
#: Rows of a part whose galaxies are measured: each takes about a second.
MEASURED_ROWS = 64


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a run that are predicted together and become one part of its table.

    Parameters
    ----------
    known_failures : row → why it is not tried: reading it has ended a process before
    row_by_row : whether each row's number is reported before it is read
    """

    number: int
    items: Sequence[InputItem]
    known_failures: Mapping[int, str] = field(default_factory=dict)
    row_by_row: bool = False


def read_items(reading: ImageReader, items: Iterable[tuple[InputItem, Callable[[], bytes]]]) -> list[LoadedImage]:
    """Fetch, decode and resize some images, each with what gives its bytes; a failure becomes its row's error."""
    return reading.add_scores([read_item(reading, *each, scored=False) for each in items])


def read_item(reading: ImageReader, item: InputItem, fetch: Callable[[], bytes], *, scored: bool = True) -> LoadedImage:
    """Fetch, decode and resize one image; any failure becomes the row's error."""
    name = (item.id, item.path)
    try:
        return reading.read(fetch(), name=name, radius=item.radius, scored=scored)
    except ImageError as error:
        return LoadedImage(*name, None, str(error))
    except Exception as error:  # one image of a hundred million must not end the run
        return LoadedImage(*name, None, f"unexpected {type(error).__name__}: {one_line(error)}")


def predict_items(
    model: Model,
    items: Sequence[InputItem],
    reader: ItemReader,
    inference: InferenceOptions = InferenceOptions(),
    *,
    threads: int = 1,
    known_failures: Mapping[int, str] | None = None,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[Predictions]:
    """Predict a block of items at a time; the next blocks are read in `threads` threads while the networks work.

    At most ``READ_AHEAD + 1`` times `BLOCK` resized images are held, or as many batches, however many items there are.

    Parameters
    ----------
    items : sequence of InputItem
        In the order in which they are predicted.
    reader : ItemReader
        Gives the bytes of their images.
    inference : InferenceOptions
        Views, batch size, and whether embeddings and structural parameters are computed.
    threads : int
        That read ahead.
    known_failures : mapping, optional
        Row, counted from 0 → why it is not tried.
    on_read : callable, optional
        Called with the number of images that were read since the last call; where they are measured, with each.

    Yields
    ------
    Predictions
        Of consecutive items; one that cannot be read has an error and no fractions.

    Raises
    ------
    StructureError
        If structural parameters are requested, and statmorph is not installed.
    """
    if inference.structure:
        check_statmorph()
    size, reading = _block_size(inference), model.reader_of(inference)
    # A thread reads a few images at a time, and shares NumPy's calls among them.
    step = 1 if inference.structure else max(1, min(16, size // threads))

    def prepared(row: int) -> tuple[InputItem, Callable[[], bytes]]:
        item = items[row]
        if known_failures and row in known_failures:
            item = replace(item, error=known_failures[row])
        return item, reader.prepare(item)

    with ThreadPoolExecutor(max_workers=threads) as pool:
        ahead: deque[list[Future[list[LoadedImage]]]] = deque()
        starts = iter(range(0, len(items), size))

        def fill() -> None:
            for start in islice(starts, READ_AHEAD - len(ahead)):
                rows = range(start, min(start + size, len(items)))
                groups = [[prepared(row) for row in rows[first : first + step]] for first in range(0, len(rows), step)]
                ahead.append([pool.submit(read_items, reading, each) for each in groups])

        try:
            fill()
            while ahead:
                images: list[LoadedImage] = []
                for future in ahead.popleft():
                    images += (read := future.result())
                    if on_read:
                        on_read(len(read))
                fill()
                yield from predict_batches_of(model, images, inference)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def predict_batches_of(
    model: Model, images: Sequence[LoadedImage], inference: InferenceOptions
) -> Iterator[Predictions]:
    """Predict loaded images in blocks: the very blocks of every engine, so that rows are the same to the last bit."""
    size = _block_size(inference)
    inference = replace(inference, batch_size=inference.batch_size or BATCH)
    for first in range(0, len(images), size):
        yield model.predict_loaded(images[first : first + size], inference)


def _block_size(inference: InferenceOptions) -> int:
    return max(inference.batch_size or BATCH, BLOCK)


def predict_chunk(
    model: Model,
    chunk: Chunk,
    reader: ItemReader,
    layout: TableLayout,
    inference: InferenceOptions = InferenceOptions(),
    *,
    threads: int = 1,
    on_rows: Callable[[int], None] | None = None,
    on_row: Callable[[int], None] | None = None,
) -> ChunkResult:
    """Predict one chunk.

    Parameters
    ----------
    threads : that read ahead
    on_rows : called with the number of rows that were predicted since; where galaxies are measured, which takes most
        of the time, of those that were read
    on_row : called with each row's number before it is read, if the chunk is predicted row by row
    """
    predictions: list[Predictions] = []
    if chunk.row_by_row:
        for row, item in enumerate(chunk.items):
            if row not in chunk.known_failures and on_row:
                on_row(row)
            known_failures = {0: chunk.known_failures[row]} if row in chunk.known_failures else None
            single = replace(inference, batch_size=1)
            predictions += predict_items(model, [item], reader, single, known_failures=known_failures)
    else:
        known, on_read = chunk.known_failures, on_rows if inference.structure else None
        blocks = predict_items(
            model, chunk.items, reader, inference, threads=threads, known_failures=known, on_read=on_read
        )
        for block in blocks:
            predictions.append(block)
            if on_rows and not inference.structure:
                on_rows(len(block))
    return chunk_result(chunk.number, chunk.items, concatenated(model.tree, predictions), layout)
