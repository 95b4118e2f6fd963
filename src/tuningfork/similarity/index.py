"""Exact nearest-neighbour search by cosine among the embeddings of an index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._utils.extras import install_hint
from ..model.embeddings import Embedder
from .index_file import IndexContents, SimilarityError, read_index

__all__ = ["Index", "Neighbour"]

#: Queries of one FAISS search, which holds a distance to each galaxy for every one of them.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A galaxy of an index.

    Parameters
    ----------
    id, path : str
        Its names in the table or folder that was indexed.
    distance : float in [0, 2]
        1 − cosine between the two embeddings, centred: 0 the same, 1 nothing in common.
    """

    id: str
    path: str
    distance: float


class Index:
    """N galaxies and their embeddings by one model, for nearest-neighbour queries.

    The search is exact, on 16-bit vectors that FAISS holds in memory: 256 bytes a galaxy beside its name and path.

    Parameters
    ----------
    contents : IndexContents
        As `read_index` returns it.

    Raises
    ------
    SimilarityError
        If FAISS is not installed.
    """

    def __init__(self, contents: IndexContents) -> None:
        self._contents = contents
        self._faiss = _faiss_index(contents)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Index:
        """Open the index file at `path`.

        Raises
        ------
        SimilarityError
            If it is no index, damaged, or of a version that this one does not know.
        OSError
            If it cannot be read at all.
        """
        return cls(read_index(path))

    def __len__(self) -> int:
        return len(self._contents.vectors)

    @property
    def embedder(self) -> Embedder:
        """Whose embeddings it holds: the model's name and digest, its views, D."""
        return self._contents.embedder

    def near(self, embeddings: ArrayLike, k: int = 10, *, embedder: Embedder | None = None) -> list[list[Neighbour]]:
        """For each embedding the k nearest galaxies, the nearest first.

        Parameters
        ----------
        embeddings : (N, D) float32
            As `Predictions.embeddings`. A row with a NaN, of an image that could not be read, has no neighbours.
        k : int
            At least 1; of a smaller index, all its galaxies.
        embedder : Embedder, optional
            Whose they are; another than the index's is refused.

        Raises
        ------
        EmbeddingError, ValueError
            If the embeddings are of another model, or of another shape.
        """
        if k < 1:
            raise ValueError(f"k = {k}; at least 1 is needed")
        if embedder is not None:
            self.embedder.check(embedder, "the query")
        vectors = self._contents.axes.vectors(embeddings)
        neighbours: list[list[Neighbour]] = [[] for _ in vectors]
        good = np.flatnonzero(np.isfinite(vectors).all(1))
        count = min(k, len(self))
        for first in range(0, len(good) if count else 0, _BATCH):
            rows = good[first : first + _BATCH]
            cosines, places = self._faiss.search(np.ascontiguousarray(vectors[rows]), count)
            for row, near, at in zip(rows.tolist(), cosines.tolist(), places.tolist(), strict=True):
                neighbours[row] = self._neighbours(near, at)
        return neighbours

    def _neighbours(self, cosines: Sequence[float], places: Sequence[int]) -> list[Neighbour]:
        ids, paths = self._contents.ids, self._contents.paths
        return [
            # Rounding may reach beyond 1.
            Neighbour(ids[at].as_py(), paths[at].as_py(), min(max(1 - cosine, 0.0), 2.0))
            for cosine, at in zip(cosines, places, strict=True)
        ]


def _faiss_index(contents: IndexContents) -> Any:
    try:
        import faiss
    except ImportError:
        raise SimilarityError(f"similar galaxies need FAISS: {install_hint('similar')}") from None
    vectors = contents.vectors
    index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    for first in range(0, len(vectors), 2**16):
        index.add(np.ascontiguousarray(vectors[first : first + 2**16], np.float32))
    return index
