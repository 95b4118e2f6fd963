"""Embeddings on a plane, so that galaxies that a network sees alike lie together: UMAP (McInnes et al. 2018)."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._utils.errors import TuningforkError
from .pca import fit_axes

__all__ = ["LEAST", "MapError", "plane"]

#: Galaxies that make a map; of fewer, UMAP's neighbourhoods are all of them.
LEAST = 20
#: UMAP's own defaults: neighbours that make a neighbourhood, and how close points may lie.
_NEIGHBOURS, _CLOSEST = 15, 0.1
#: Principal axes that it sees; more tell nothing that a plane could show.
_COMPONENTS = 64


class MapError(TuningforkError, ValueError):
    """No map can be drawn; the message says why."""


def plane(embeddings: ArrayLike, seed: int = 0) -> NDArray[np.float32]:
    """Where each of N galaxies lies, (N, 2) float32 in [0, 1], to the right and down; the seed decides it.

    Parameters
    ----------
    embeddings : (N, D), finite
        Compared by the cosine between them, centred, as `similar.Index` does.

    Raises
    ------
    MapError
        If there are fewer than `LEAST`, or umap-learn is not installed.
    """
    values = np.asarray(embeddings, np.float32)
    if len(values) < LEAST:
        raise MapError(f"{len(values)} galaxies have an embedding; a map needs at least {LEAST}")
    with warnings.catch_warnings():
        # It misses TensorFlow, which is not needed, and says that a seed leaves it one thread.
        warnings.simplefilter("ignore")
        try:
            from umap import UMAP
        except ImportError as error:
            raise MapError(f"a map needs umap-learn ({error}): pip install 'tuningfork[similar]'") from None
        # Between vectors of length 1 Euclid's distance has the order of the cosine.
        vectors = fit_axes(values, _COMPONENTS).vectors(values)
        drawn = UMAP(n_neighbors=_NEIGHBOURS, min_dist=_CLOSEST, random_state=seed, n_jobs=1).fit_transform(vectors)
    low, high = drawn.min(0), drawn.max(0)
    return ((drawn - low) / np.maximum(high - low, 1e-9)).astype(np.float32)
