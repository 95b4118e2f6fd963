"""Pictures asked of an index: each with its nearest galaxies, or why it has none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..model.predictions import Predictions
from .index import Index, Neighbour

__all__ = ["Found", "asked"]


@dataclass(frozen=True, slots=True)
class Found:
    """A picture, what the model says of it, and the galaxies that are like it, the nearest first."""

    id: str
    path: str
    class_name: str
    error: str
    neighbours: tuple[Neighbour, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain types."""
        return {**asdict(self), "neighbours": [asdict(each) for each in self.neighbours]}


def asked(index: Index, stream: Iterable[Predictions], k: int = 10, *, itself: bool = False) -> Iterator[Found]:
    """The k nearest galaxies of each picture, as predictions with embeddings come.

    Parameters
    ----------
    itself : bool
        Whether a galaxy whose picture is the very file that is asked for counts; a copy elsewhere always does.

    Raises
    ------
    EmbeddingError
        If the predictions are of another model than the index.
    """
    for told in stream:
        # One more, for the picture's own place among them.
        near = index.near(told.embeddings, k + (not itself), embedder=told.embedder)
        for row, neighbours in enumerate(near):
            if not itself:
                own = _place(told.paths[row])
                neighbours = [each for each in neighbours if not own or _place(each.path) != own]
            name = "" if told.errors[row] else told[row].class_name
            yield Found(told.ids[row], told.paths[row], name, told.errors[row], tuple(neighbours[:k]))


def _place(path: str) -> str:
    return path if "://" in path or not path else os.path.realpath(path)
