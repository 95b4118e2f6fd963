"""Nearest-neighbour queries: the galaxies of an index that are most similar to each predicted image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .._utils.urls import is_url
from ..model.embeddings import EmbeddingError
from ..model.predictions import Predictions
from .index import Index, Neighbour

__all__ = ["Match", "query"]


@dataclass(frozen=True, slots=True)
class Match:
    """An image, what is predicted of it, and the galaxies that are most similar to it, the nearest first.

    Parameters
    ----------
    id, path, class_name : str
    headline : str
        A description of the galaxy, and its class.
    error : str
        Why the image has no prediction and so no neighbours; "" if it has.
    neighbours : tuple of Neighbour
    """

    id: str
    path: str
    class_name: str
    headline: str
    error: str
    neighbours: tuple[Neighbour, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain types."""
        return {**asdict(self), "neighbours": [asdict(each) for each in self.neighbours]}


def query(index: Index, stream: Iterable[Predictions], k: int = 10, *, include_self: bool = False) -> Iterator[Match]:
    """Find the k nearest galaxies of each image, as predictions with embeddings arrive.

    Parameters
    ----------
    stream : iterable of Predictions
        With embeddings.
    include_self : bool
        Whether to include a galaxy whose image is the queried file itself; a copy elsewhere always counts.

    Raises
    ------
    EmbeddingError
        If the predictions are of another model than the index, or have no embeddings.
    """
    for predictions in stream:
        if predictions.embeddings is None:
            raise EmbeddingError("predictions without embeddings have no neighbours; predict with embeddings=True")
        # One more, for the image's own place among them.
        near = index.near(predictions.embeddings, k + (not include_self), embedder=predictions.embedder)
        for row, neighbours in enumerate(near):
            if not include_self:
                own = _location(predictions.paths[row])
                neighbours = [each for each in neighbours if not own or _location(each.path) != own]
            error = predictions.errors[row]
            texts = ("", "") if error else (predictions.class_names[row], predictions[row].headline())
            yield Match(predictions.ids[row], predictions.paths[row], *texts, error, tuple(neighbours[:k]))


def _location(path: str) -> str:
    return path if is_url(path) or not path else os.path.realpath(path)
