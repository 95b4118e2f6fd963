"""The index file: Parquet that any reader opens, and that ours trusts only after validation.

Columns `id`, `path` and `vector` (K float16, little-endian, of length 1). In the file's metadata: a JSON with whose
embeddings they are, the mean and axes that made vectors of them, and a SHA-256 of all that. Nothing is compressed and
no value stands for many, so that a file cannot grow in memory far beyond its size on disk.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from .._utils.files import atomic_file, check_writable
from .._utils.text import one_line
from ..model.embeddings import Embedder
from ..tables import Column, arrow_schema
from ..tables.arrow import text_array
from .pca import PrincipalAxes

__all__ = ["MAX_ROWS", "IndexContents", "IndexWriter", "SimilarityError", "index_writer", "read_index"]

FORMAT, VERSION = "tuningfork-index", 1
MAX_ROWS = 50_000_000
MAX_WIDTH, MAX_COMPONENTS = 100_000, 4096
#: Of Parquet's own description at the end of the file, which holds the axes too.
MAX_FOOTER_BYTES = 256 * 2**20
#: Rows that are written and read together.
BATCH = 8192
#: A unit vector's length after rounding to 16 bits is off by less; a zero vector has none.
_ROUNDING = 0.01
_HEADER, _MEAN, _AXES, _DIGEST = b"tuningfork", b"mean", b"axes", b"sha256"
_REMEDY = "make it again with tuningfork index"


class SimilarityError(TuningforkError, ValueError):
    """An index cannot be built, trusted or queried; the message names the remedy."""


@dataclass(frozen=True, eq=False)
class IndexContents:
    """The contents of an index file: whose embeddings they are, the principal axes, and N rows.

    Parameters
    ----------
    ids, paths : (N,) Arrow texts
    vectors : (N, K) float16, of length 1
    """

    embedder: Embedder
    axes: PrincipalAxes
    ids: pa.ChunkedArray
    paths: pa.ChunkedArray
    vectors: NDArray[np.float16]


class IndexWriter:
    """Writes rows as they arrive; see `index_writer`."""

    def __init__(self, file: pq.ParquetWriter, digest: _Digest) -> None:
        self._file, self._digest = file, digest
        self.rows = 0

    def write(self, ids: Sequence[str], paths: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
        """N more rows with their vectors (N, K). Raises SimilarityError if there are more than an index holds."""
        self.rows += len(ids)
        if self.rows > MAX_ROWS:
            raise SimilarityError(f"more than {MAX_ROWS:,} galaxies; make several indexes")
        kind = self._file.schema.field("vector").type
        numbers = pa.py_buffer(np.ascontiguousarray(vectors, "<f2"))
        columns = [text_array(ids), text_array(paths), pa.Array.from_buffers(kind, len(ids), [None, numbers])]
        batch = pa.RecordBatch.from_arrays(columns, schema=self._file.schema)
        self._digest.add(batch)
        self._file.write_batch(batch, row_group_size=BATCH)


@contextmanager
def index_writer(path: str | os.PathLike[str], embedder: Embedder, axes: PrincipalAxes) -> Iterator[IndexWriter]:
    """Write an index; the file appears, complete, when the block ends without an error."""
    check_writable(path)
    about = {
        _HEADER: json.dumps({"format": FORMAT, "version": VERSION, **asdict(embedder), "components": axes.components}),
        _MEAN: _text(axes.mean),
        _AXES: _text(axes.axes),
    }
    digest = _Digest(about)
    options = {
        "compression": "none",
        "use_dictionary": False,
        "column_encoding": "PLAIN",
        "write_statistics": False,
        "write_page_checksum": True,
        "store_schema": False,
    }
    with atomic_file(path) as partial, pq.ParquetWriter(str(partial), _schema(axes.components), **options) as file:
        yield IndexWriter(file, digest)
        file.add_key_value_metadata({**about, _DIGEST: digest.hexdigest()})


def read_index(path: str | os.PathLike[str]) -> IndexContents:
    """Read and validate an index file.

    Raises
    ------
    SimilarityError
        If it is no index, its version is not known, or any of its rows, numbers or texts are not what was written.
    OSError
        If it cannot be read at all.
    """
    path = Path(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_footer(file, size, path)
        try:
            return _contents(file, size, path)
        except SimilarityError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException) as error:
            raise SimilarityError(
                f"{path}: its content is not what was written ({one_line(error, 300)}); {_REMEDY}"
            ) from None


def _check_footer(file: Any, size: int, path: Path) -> None:
    """That it ends as Parquet does, with a description that is not larger than ours can be."""
    trailer = b""
    if size >= 12:
        file.seek(-8, os.SEEK_END)
        trailer = file.read(8)
    if trailer[4:] != b"PAR1":
        raise SimilarityError(f"{path}: not an index; {_REMEDY}")
    if int.from_bytes(trailer[:4], "little") > min(MAX_FOOTER_BYTES, size):
        raise SimilarityError(f"{path}: its description is larger than {MAX_FOOTER_BYTES} bytes or itself; {_REMEDY}")
    file.seek(0)


def _contents(file: Any, size: int, path: Path) -> IndexContents:
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    about = {key: value.decode() for key, value in (parquet.metadata.metadata or {}).items()}
    embedder, axes = _about(about, path)
    rows = parquet.metadata.num_rows
    if rows > MAX_ROWS or rows * 2 * axes.components > size:
        raise SimilarityError(f"{path}: of {rows:,} rows, more than it can hold; {_REMEDY}")
    if not parquet.schema_arrow.equals(_schema(axes.components), check_metadata=False):
        raise SimilarityError(f"{path}: its columns are not those of an index; {_REMEDY}")
    _check_plain(parquet.metadata, path)
    digest = _Digest(about)
    vectors = np.empty((rows, axes.components), "<f2")
    batches, at = [], 0
    for batch in parquet.iter_batches(BATCH, use_threads=False):
        if any(column.null_count for column in batch.columns):
            raise SimilarityError(f"{path}: a row has a blank; {_REMEDY}")
        digest.add(batch)
        vectors[at : at + len(batch)] = _halves(batch.column(2)).reshape(len(batch), -1)
        _check_vectors(vectors[at : at + len(batch)], path)
        batches.append(batch.select(["id", "path"]))
        at += len(batch)
    if at != rows or about[_DIGEST] != digest.hexdigest():
        raise SimilarityError(f"{path}: its content differs from what was written (SHA-256); {_REMEDY}")
    texts = pa.Table.from_batches(batches, _schema(axes.components).remove(2))
    return IndexContents(embedder, axes, texts["id"], texts["path"], vectors)


def _about(about: dict[bytes, str], path: Path) -> tuple[Embedder, PrincipalAxes]:
    header = json.loads(about.get(_HEADER, "null"))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SimilarityError(f"{path}: not an index; {_REMEDY}")
    if header["version"] != VERSION:
        raise SimilarityError(f"{path}: version {header['version']!r} of the format; upgrade tuningfork, or {_REMEDY}")
    kinds = {"model": str, "sha256": str, "n_views": int, "width": int, "components": int}
    for key, kind in kinds.items():
        if type(header[key]) is not kind:
            raise SimilarityError(f"{path}: entry {key!r} is not a {kind.__name__}; {_REMEDY}")
    width, components = header["width"], header["components"]
    if not (1 <= components <= min(width, MAX_COMPONENTS) and width <= MAX_WIDTH):
        raise SimilarityError(f"{path}: {components} components of {width} numbers; {_REMEDY}")
    mean, axes = (_floats(about[key]) for key in (_MEAN, _AXES))
    embedder = Embedder(header["model"], header["sha256"], header["n_views"], width)
    return embedder, PrincipalAxes(mean.reshape(width), axes.reshape(components, width))


def _check_plain(metadata: pq.FileMetaData, path: Path) -> None:
    """That pages hold the values themselves: neither compressed nor dictionaries."""
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if column.compression != "UNCOMPRESSED" or not {*column.encodings} <= {"PLAIN", "RLE"}:
                raise SimilarityError(f"{path}: its rows are not written as an index's are; {_REMEDY}")


def _check_vectors(vectors: NDArray[np.float16], path: Path) -> None:
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    if not ((np.abs(lengths - 1) < _ROUNDING) | (lengths == 0)).all():
        raise SimilarityError(f"{path}: a vector is not of length 1; {_REMEDY}")


def _schema(components: int) -> pa.Schema:
    text = f"{components} float16, little-endian: the embedding, of length 1, on the axes in this file's metadata"
    schema = arrow_schema(
        [
            Column("id", pa.string(), "Identifier of the galaxy"),
            Column("path", pa.string(), "Image file"),
            Column("vector", pa.binary(2 * components), text),
        ]
    )
    return pa.schema([field.with_nullable(False) for field in schema])


class _Digest:
    """SHA-256 of a header and of rows, however these come in batches."""

    def __init__(self, about: dict[bytes, str]) -> None:
        self._about = hashlib.sha256(b"\0".join(about[key].encode() for key in (_HEADER, _MEAN, _AXES)))
        self._columns = [hashlib.sha256() for _ in range(3)]

    def add(self, batch: pa.RecordBatch) -> None:
        for column, digest in zip(batch.columns[:2], self._columns, strict=False):
            # Where each text ends belongs to it.
            digest.update("".join(f"{len(text)}:{text}" for text in column.to_pylist()).encode())
        self._columns[2].update(_halves(batch.column(2)).tobytes())

    def hexdigest(self) -> str:
        total = self._about.copy()
        for column in self._columns:
            total.update(column.digest())
        return total.hexdigest()


def _halves(column: pa.Array) -> NDArray[np.float16]:
    width = column.type.byte_width
    data = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width : (column.offset + len(column)) * width]
    return data.view("<f2")


def _text(values: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _floats(text: str) -> NDArray[np.float32]:
    values = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("an axis is not finite")
    return values
