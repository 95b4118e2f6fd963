"""Chunks of a prediction run: items in, the bytes of a Parquet file out; reading overlaps with the networks."""

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from .._utils.text import one_line
from ..images.image import ImageError
from ..images.structure import check_statmorph
from ..inputs import InputItem, ItemReader
from ..model.draw_columns import draw_columns, draw_schema
from ..model.embeddings import Embedder
from ..model.image_reader import ImageReader, LoadedImage
from ..model.model import Model
from ..model.options import InferenceOptions
from ..model.prediction_columns import kaggle_schema, output_schema
from ..model.predictions import Predictions, concatenated
from ..model.runtime import CPU_BATCH as BATCH
from ..model.structure_columns import REASON
from ..tables import Column, arrow_schema, ucd
from ..tables.arrow import number_array
from ..votes.tree import DecisionTree

__all__ = [
    "MEASURED_ROWS",
    "Chunk",
    "ChunkResult",
    "TableLayout",
    "chunk_result",
    "predict_batches_of",
    "predict_chunk",
    "predict_items",
    "read_item",
    "read_items",
    "table_schema",
    "write_part",
]

#: Rows whose fractions are computed together, whatever the batch size: small arrays cost NumPy as much as large ones.
BLOCK = 64
#: Blocks that are read ahead.
READ_AHEAD = 3
#: Rows of a part whose galaxies are measured: each takes about a second.
MEASURED_ROWS = 64


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Columns of the output table.

    Parameters
    ----------
    kaggle : GalaxyID and the cumulative columns in the campaign's order, instead of named columns
    positions : columns `ra` and `dec` behind the path, in degrees; not in Kaggle's layout
    embedder : whose embeddings are the last column; None: there is none
    carried : columns of the catalogue behind these; see `inputs.Columns`
    temporary : whether parts are joined and removed at the end: quick to write and to read, rather than small
    draws : how many draws of each fraction are in the last columns; not in Kaggle's layout
    structure : whether there are columns of structural parameters; not in Kaggle's layout
    """

    kaggle: bool = False
    positions: bool = False
    embedder: Embedder | None = None
    carried: tuple[Column, ...] = ()
    temporary: bool = False
    draws: int = 0
    structure: bool = False


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


@dataclass(frozen=True)
class ChunkResult:
    """A predicted chunk: the bytes of a Parquet file, how many rows it has, and how many of them failed."""

    number: int
    data: bytes
    rows: int
    failed: int


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
    `on_read` is called with the number of images that were read since; where they are measured, with each.
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
    return chunk_result(chunk, concatenated(model.tree, predictions), layout)


def chunk_result(chunk: Chunk, predictions: Predictions, layout: TableLayout) -> ChunkResult:
    """Write a chunk's predictions as a Parquet file.

    Errors and flags are in the file's metadata, too, since Kaggle's layout has no columns for them: `errors`, a JSON
    of row → path, ID, reason, and `out_of_domain`, `warnings`, `not_measured` and `classes` (a JSON), counts.
    """
    schema = table_schema(predictions.tree, layout)
    table = predictions.to_kaggle() if layout.kaggle else predictions.to_table()
    for place, name, values in (
        (2, "ra", [item.right_ascension for item in chunk.items]),
        (3, "dec", [item.declination for item in chunk.items]),
    ):
        if name in schema.names:
            column = number_array(np.array(values, np.float64), np.float64)
            table = table.add_column(place, schema.field(name), column)
    carried = [json.loads(item.carried) if item.carried else [None] * len(layout.carried) for item in chunk.items]
    for number, carry in enumerate(layout.carried):
        column = pa.array([values[number] for values in carried], carry.type)
        table = table.add_column(schema.get_field_index(carry.name), schema.field(carry.name), column)
    if layout.draws:
        fields = draw_schema(predictions.tree, layout.draws)
        for each, column in zip(fields, draw_columns(predictions, layout.draws), strict=True):
            table = table.append_column(each, column)
    errors = {
        str(row): [predictions.paths[row], predictions.ids[row], reason]
        for row, reason in enumerate(predictions.errors)
        if reason
    }
    flagged = str(predictions.out_of_domain.sum())
    warned = str(sum(map(bool, predictions.warnings)))
    counts = json.dumps(predictions.class_counts())
    metadata = {**(schema.metadata or {}), "errors": json.dumps(errors), "out_of_domain": flagged, "warnings": warned}
    metadata["classes"] = counts
    if layout.structure:
        metadata["not_measured"] = str(sum(map(bool, table[REASON.name].to_pylist())))
    data = write_part(table.replace_schema_metadata(metadata), temporary=layout.temporary)
    return ChunkResult(chunk.number, data, len(table), len(errors))


def write_part(table: pa.Table, *, temporary: bool = False) -> bytes:
    """A table as the bytes of a Parquet file with checksums; a temporary one is quick to write rather than small."""
    import pyarrow.parquet as pq

    from ..tables.parquet import repeating_columns

    buffer = io.BytesIO()
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": repeating_columns(table.schema)}
    if temporary:
        options = {"compression": "lz4", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(buffer, table.schema, write_page_checksum=True, **options) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def table_schema(tree: DecisionTree, layout: TableLayout) -> pa.Schema:
    """The columns of the output table."""
    if layout.kaggle:
        return kaggle_schema(tree)
    schema = output_schema(tree, layout.embedder, structure=layout.structure)
    if layout.positions:
        position = arrow_schema(
            [
                Column(name, pa.float64(), f"{text} (ICRS), of the input; null: it has none", "deg", ucd_word)
                for name, text, ucd_word in (
                    ("ra", "Right ascension", ucd.RIGHT_ASCENSION),
                    ("dec", "Declination", ucd.DECLINATION),
                )
            ]
        )
        schema = schema.insert(2, position.field("ra")).insert(3, position.field("dec"))
    for place, column in enumerate(arrow_schema(layout.carried), 4 if layout.positions else 2):
        schema = schema.insert(place, column)
    for each in draw_schema(tree, layout.draws) if layout.draws else ():
        schema = schema.append(each)
    return schema
