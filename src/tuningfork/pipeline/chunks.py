"""One part of a prediction: items in, a Parquet file's bytes out; reading overlaps with the network."""

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..images.image import ImageError
from ..inputs import InputItem, ItemReader
from ..model.embeddings import COLUMN, Embedder
from ..model.image_reader import Read, Reading
from ..model.model import Model
from ..model.options import InferenceOptions
from ..model.prediction_columns import kaggle_schema, output_schema
from ..model.predictions import Predictions, concatenated
from ..tables import Column, arrow_schema, ucd
from ..tables.arrow import number_arrays
from ..votes.tree import DecisionTree

__all__ = [
    "TableLayout",
    "ChunkResult",
    "Chunk",
    "predict_chunk",
    "chunk_result",
    "predict_items",
    "read_item",
    "table_schema",
]

#: Images at a time, where nothing else was chosen.
BATCH = 8
#: Rows whose votes are reckoned together, whatever the network's batch: small arrays cost NumPy as much as large ones.
TOGETHER = 64
#: Lots of so many rows that are read ahead.
READ_AHEAD = 3


@dataclass(frozen=True, slots=True)
class TableLayout:
    """What the table looks like.

    Parameters
    ----------
    kaggle : GalaxyID and the cumulative columns in the campaign's order, instead of columns in words
    positions : columns `ra` and `dec` behind the path, in degrees; not in Kaggle's layout
    embedder : whose embeddings are the last column; None: there is none
    carried : columns of the catalogue behind these; see `inputs.Columns`
    """

    kaggle: bool = False
    positions: bool = False
    embedder: Embedder | None = None
    carried: tuple[Column, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """One part to do.

    Parameters
    ----------
    known_failures : row → why it is not to be tried: reading it has ended a process before
    row_by_row : whether to say each row's number before it is read
    """

    number: int
    items: Sequence[InputItem]
    known_failures: Mapping[int, str] = field(default_factory=dict)
    row_by_row: bool = False


@dataclass(frozen=True)
class ChunkResult:
    """One part that is done: a Parquet file's bytes, and how many rows it has and how many of them failed."""

    number: int
    data: bytes
    rows: int
    failed: int


def read_item(reading: Reading, item: InputItem, fetch: Callable[[], bytes]) -> Read:
    """Fetch, decode and resize one picture; whatever goes wrong becomes the row's error."""
    name = (item.id, item.path)
    try:
        return reading.read(fetch(), name=name, radius=item.radius)
    except ImageError as error:
        return Read(*name, None, str(error))
    except Exception as error:  # one picture of a hundred million must not end the run
        return Read(*name, None, f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]}")


def predict_items(
    model: Model,
    items: Sequence[InputItem],
    reader: ItemReader,
    inference: InferenceOptions = InferenceOptions(),
    *,
    threads: int = 1,
    known_failures: Mapping[int, str] | None = None,
) -> Iterator[Predictions]:
    """Predictions of a few batches at a time; the next ones are read in `threads` threads while the network works.

    At most ``READ_AHEAD + 1`` times `TOGETHER` resized pictures are held, or as many batches, however many items there
    are.
    """
    batch = inference.batch_size or BATCH
    together = max(batch, TOGETHER)
    # A few pictures at a time are one errand for a thread.
    errand = max(1, min(8, together // threads))

    def prepared(row: int) -> tuple[InputItem, Callable[[], bytes]]:
        item = items[row]
        if known_failures and row in known_failures:
            item = replace(item, error=known_failures[row])
        return item, reader.prepare(item)

    with ThreadPoolExecutor(max_workers=threads) as pool:
        ahead: deque[list[Future[list[Read]]]] = deque()
        starts = iter(range(0, len(items), together))

        def fill() -> None:
            for start in islice(starts, READ_AHEAD - len(ahead)):
                rows = range(start, min(start + together, len(items)))
                lots = [[prepared(row) for row in rows[at : at + errand]] for at in range(0, len(rows), errand)]
                ahead.append([pool.submit(_read_lot, model.reading, lot) for lot in lots])

        try:
            fill()
            while ahead:
                reads = [read for future in ahead.popleft() for read in future.result()]
                fill()
                yield model.predict_loaded(reads, replace(inference, batch_size=batch))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read_lot(reading: Reading, lot: Sequence[tuple[InputItem, Callable[[], bytes]]]) -> list[Read]:
    return [read_item(reading, item, fetch) for item, fetch in lot]


def predict_chunk(
    model: Model,
    chunk: Chunk,
    reader: ItemReader,
    layout: TableLayout,
    inference: InferenceOptions = InferenceOptions(),
    *,
    threads: int = 1,
    done: Callable[[int], None] | None = None,
    at: Callable[[int], None] | None = None,
) -> ChunkResult:
    """Predict one part.

    Parameters
    ----------
    done : called with the number of rows that were predicted since
    at : called with each row's number before it is read, if the chunk is to be done one by one
    """
    parts = []
    if chunk.row_by_row:
        for row, item in enumerate(chunk.items):
            if row not in chunk.known_failures and at:
                at(row)
            known_failures = {0: chunk.known_failures[row]} if row in chunk.known_failures else None
            one = replace(inference, batch_size=1)
            parts += predict_items(model, [item], reader, one, known_failures=known_failures)
    else:
        for predictions in predict_items(
            model, chunk.items, reader, inference, threads=threads, known_failures=chunk.known_failures
        ):
            parts.append(predictions)
            if done:
                done(len(predictions))
    return chunk_result(chunk, concatenated(model.tree, parts), layout)


def chunk_result(chunk: Chunk, predictions: Predictions, layout: TableLayout) -> ChunkResult:
    """The part's table as a Parquet file.

    Reasons and flags travel in its metadata too, since Kaggle's layout has no columns for them: `errors`,
    a JSON of row → path, ID, reason, and `out_of_domain`, a count.
    """
    schema = table_schema(predictions.tree, layout)
    table = predictions.to_kaggle() if layout.kaggle else predictions.to_table()
    for at, name, values in (
        (2, "ra", [item.right_ascension for item in chunk.items]),
        (3, "dec", [item.declination for item in chunk.items]),
    ):
        if name in schema.names:
            column = number_arrays(np.array(values, np.float64)[:, None], np.float64)[0]
            table = table.add_column(at, schema.field(name), column)
    carried = [json.loads(item.carried) if item.carried else [None] * len(layout.carried) for item in chunk.items]
    for number, about in enumerate(layout.carried):
        column = pa.array([values[number] for values in carried], about.type)
        table = table.add_column(schema.get_field_index(about.name), schema.field(about.name), column)
    reasons = {
        str(row): [predictions.paths[row], predictions.ids[row], reason]
        for row, reason in enumerate(predictions.errors)
        if reason
    }
    flagged = str(predictions.out_of_domain.sum())
    metadata = {**(schema.metadata or {}), "errors": json.dumps(reasons), "out_of_domain": flagged}
    buffer = io.BytesIO()
    # No two embeddings share a number that a dictionary could save.
    repeating = [name for name in table.column_names if name != COLUMN]
    options = {"compression": "zstd", "write_page_checksum": True, "use_dictionary": repeating}
    with pq.ParquetWriter(buffer, table.schema.with_metadata(metadata), **options) as writer:
        writer.write_table(table.replace_schema_metadata(metadata))
    return ChunkResult(chunk.number, buffer.getvalue(), len(table), len(reasons))


def table_schema(tree: DecisionTree, layout: TableLayout) -> pa.Schema:
    """The columns of the output table."""
    if layout.kaggle:
        return kaggle_schema(tree)
    schema = output_schema(tree, layout.embedder)
    if layout.positions:
        position = arrow_schema(
            [
                Column(name, pa.float64(), f"{text} (ICRS), as the input says; null: it does not", "deg", word)
                for name, text, word in (
                    ("ra", "Right ascension", ucd.RIGHT_ASCENSION),
                    ("dec", "Declination", ucd.DECLINATION),
                )
            ]
        )
        schema = schema.insert(2, position.field("ra")).insert(3, position.field("dec"))
    for at, field_ in enumerate(arrow_schema(layout.carried), 4 if layout.positions else 2):
        schema = schema.insert(at, field_)
    return schema
