"""Build an index from a stream of embeddings: of tables by `predict --embeddings`, or of images being predicted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .._utils.text import one_line
from ..model.embeddings import COLUMN, Embedder, EmbeddingError, embedder_of
from ..model.predictions import Predictions
from ..tables import MAX_REPORTED, RowError
from ..tables.arrow import vectors
from .index_file import SimilarityError, index_writer, read_index
from .pca import COMPONENTS, SAMPLE, PrincipalAxes, fit_axes

__all__ = ["Block", "BuildReport", "EmbeddingTables", "blocks_of_predictions", "build_index", "texts_of"]

#: Rows of a table that are held together: 10 MB of `default`.
_BATCH = 1024


@dataclass(frozen=True, eq=False)
class Block:
    """N galaxies: names, paths, embeddings (N, D) float32, NaN where there is none, and then why."""

    ids: Sequence[str]
    paths: Sequence[str]
    embeddings: NDArray[np.float32]
    errors: Sequence[str]


@dataclass(frozen=True)
class BuildReport:
    """Rows of the index, how many of them are new, and how many galaxies were left out; `errors` names the first."""

    rows: int
    added: int
    failed: int
    errors: tuple[RowError, ...]


class EmbeddingTables:
    """Parquet files that `predict --embeddings` wrote: one table, or a folder of parts.

    Raises
    ------
    EmbeddingError
        If one has no embeddings, or they are not of one model.
    SimilarityError
        If there is no Parquet file, or one cannot be read.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self._files = list(chain.from_iterable(_parquet_files(Path(path)) for path in paths))
        embedders = []
        for file in self._files:
            with _reading(file):
                schema = pq.read_schema(file)
            embedders.append(embedder_of(schema, str(file)))
            embedders[0].check(embedders[-1], str(file))
        self.embedder = embedders[0]

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Their rows, a few at a time: the embeddings, and of the columns `names` those that there are."""
        for file in self._files:
            with _reading(file), pq.ParquetFile(file) as table:
                columns = [name for name in (*names, COLUMN) if name in table.schema_arrow.names]
                yield from table.iter_batches(_BATCH, columns=columns, use_threads=False)

    def blocks(self) -> Iterator[Block]:
        """Their galaxies, a few at a time."""
        for batch in self.batches(("id", "path", "error")):
            texts = [texts_of(batch, name) for name in ("id", "path", "error")]
            yield Block(texts[0], texts[1], vectors(batch.column(COLUMN)), texts[2])


def blocks_of_predictions(stream: Iterable[Predictions]) -> Iterator[Block]:
    """Blocks of predictions with embeddings, as they arrive."""
    for predictions in stream:
        if predictions.embeddings is None:
            raise EmbeddingError("predictions without embeddings; predict with embeddings=True")
        yield Block(predictions.ids, predictions.paths, predictions.embeddings, predictions.errors)


def build_index(
    blocks: Iterable[Block],
    embedder: Embedder,
    output: str | os.PathLike[str],
    *,
    onto: str | os.PathLike[str] | None = None,
    components: int = COMPONENTS,
    progress: Callable[[int, int], None] | None = None,
) -> BuildReport:
    """Write an index of all galaxies of `blocks`; the file appears complete or not at all.

    The principal axes are fitted on the first `SAMPLE` embeddings: these, and after them one block at a time, are all
    that memory holds. A galaxy without an embedding is left out and reported.

    Parameters
    ----------
    onto : path, optional
        An index whose galaxies come first, on its axes; it may be `output` itself.
    components : int
        K, the length of a vector.
    progress : function of (rows done, 0)

    Raises
    ------
    EmbeddingError
        If the embeddings are of another model than those of `onto`.
    SimilarityError
        If there is none, or more than an index holds.

    Examples
    --------
    >>> import numpy as np
    >>> from tuningfork.model.embeddings import Embedder
    >>> values = np.random.default_rng(0).random((30, 8), dtype=np.float32)
    >>> names = [f"g{row}" for row in range(30)]
    >>> block = Block(names, [f"{name}.jpg" for name in names], values, [""] * 30)
    >>> build_index([block], Embedder("fast", "ab" * 32, 1, 8), "galaxies.index").rows
    30
    """
    stream, old = _ValidRows(blocks), None
    first: list[Block] = []
    if onto is not None:
        old = read_index(onto)
        old.embedder.check(embedder, "what is to be added")
        axes = old.axes
    else:
        first = _first_blocks(stream, SAMPLE)
        axes = _fit(first, components, stream)
    with index_writer(output, embedder, axes) as file:
        if old is not None:
            for at in range(0, len(old.vectors), _BATCH):
                rows = slice(at, at + _BATCH)
                file.write(old.ids[rows].to_pylist(), old.paths[rows].to_pylist(), old.vectors[rows])
        before = file.rows
        for block in chain(_pop_all(first), stream):
            file.write(block.ids, block.paths, axes.vectors(block.embeddings))
            if progress:
                progress(file.rows, 0)
        if file.rows == before:
            raise SimilarityError(f"no galaxy has an embedding ({stream.failed} rows failed); nothing to add")
        return BuildReport(file.rows, file.rows - before, stream.failed, tuple(stream.errors))


class _ValidRows:
    """Blocks without the rows that have no embedding, which are counted."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks = iter(blocks)
        self.rows = self.failed = 0
        self.errors: list[RowError] = []

    def __iter__(self) -> Iterator[Block]:
        for block in self._blocks:
            good = np.all(np.isfinite(block.embeddings), 1)
            for row in np.flatnonzero(~good).tolist():
                self.failed += 1
                if len(self.errors) < MAX_REPORTED:
                    reason = block.errors[row] or "it has no embedding"
                    self.errors.append(RowError(block.paths[row], self.rows + row + 1, block.ids[row], "", reason))
            self.rows += len(good)
            rows = np.flatnonzero(good).tolist()
            if rows:
                texts = [[each[row] for row in rows] for each in (block.ids, block.paths, block.errors)]
                yield Block(texts[0], texts[1], block.embeddings[good], texts[2])


def _first_blocks(stream: _ValidRows, rows: int) -> list[Block]:
    first: list[Block] = []
    for block in stream:
        first.append(block)
        if sum(len(each.ids) for each in first) >= rows:
            break
    return first


def _fit(first: Sequence[Block], components: int, stream: _ValidRows) -> PrincipalAxes:
    if not first:
        raise SimilarityError(f"no galaxy has an embedding ({stream.failed} rows failed); nothing to index")
    return fit_axes(np.concatenate([block.embeddings for block in first])[:SAMPLE], components)


def _pop_all(blocks: list[Block]) -> Iterator[Block]:
    """Yield blocks and let go of each, so that its memory is free."""
    while blocks:
        yield blocks.pop(0)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise SimilarityError(f"{file}: no such file; check its name") from None
    except (OSError, pa.ArrowException) as error:
        raise SimilarityError(
            f"{file}: cannot be read as Parquet: {one_line(error)}; predict to .parquet, or to a folder"
        ) from None


def _parquet_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.glob("*.parquet") if not file.name.startswith((".", "_")))
    if not files:
        raise SimilarityError(f"{path}: no Parquet file in it; is it the folder of a prediction?")
    return files


def texts_of(batch: pa.RecordBatch, name: str) -> list[str]:
    """The texts of a column; "" where a row, or the table, has none."""
    if name not in batch.schema.names:
        return [""] * len(batch)
    return ["" if value is None else str(value) for value in batch.column(name).to_pylist()]
