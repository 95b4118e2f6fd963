"""Embeddings projected onto a plane by UMAP (McInnes et al. 2018), so that similar galaxies lie together."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._utils.errors import TuningforkError
from .._utils.extras import install_hint
from .pca import fit_axes

__all__ = ["MIN_GALAXIES", "MapError", "project"]

#: Galaxies that make a map; of fewer, UMAP's neighbourhoods are all of them.
MIN_GALAXIES = 20
#: UMAP's own defaults: neighbours that make a neighbourhood, and how close points may lie.
_NEIGHBOURS, _MIN_DISTANCE = 15, 0.1
#: Principal components that UMAP is given; more add nothing that a plane could show.
_COMPONENTS = 64


class MapError(TuningforkError, ValueError):
    """No map can be drawn; the message says why."""


def project(embeddings: ArrayLike, seed: int = 0) -> NDArray[np.float32]:
    """Project embeddings onto a plane with UMAP.

    Parameters
    ----------
    embeddings : (N, D), finite
        Compared by the cosine between them, centred, as `Index` does.
    seed : int
        The same seed gives the same map.

    Returns
    -------
    (N, 2) float32 in [0, 1]
        Position of each galaxy, to the right and down.

    Raises
    ------
    MapError
        If there are fewer than `MIN_GALAXIES`, or umap-learn is not installed.
    """
    values = np.asarray(embeddings, np.float32)
    if len(values) < MIN_GALAXIES:
        raise MapError(f"{len(values)} galaxies have an embedding; a map needs at least {MIN_GALAXIES}")
    with warnings.catch_warnings():
        # It misses TensorFlow, which is not needed, and says that a seed leaves it one thread.
        warnings.simplefilter("ignore")
        try:
            from umap import UMAP
        except ImportError as error:
            raise MapError(f"a map needs umap-learn ({error}): {install_hint('similar')}") from None
        # Between vectors of length 1 Euclid's distance has the order of the cosine.
        vectors = fit_axes(values, _COMPONENTS).vectors(values)
        umap = UMAP(n_neighbors=_NEIGHBOURS, min_dist=_MIN_DISTANCE, random_state=seed, n_jobs=1)
        places = umap.fit_transform(vectors)
    low, high = places.min(0), places.max(0)
    return ((places - low) / np.maximum(high - low, 1e-9)).astype(np.float32)
