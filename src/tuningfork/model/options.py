"""Inference options: how many views, which batch size, and whether embeddings are returned."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["InferenceOptions"]


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """How the networks are run: test-time augmentation, batch size, embeddings.

    Parameters
    ----------
    n_views : 1, 2, 4 or 8, optional
        Rotated and reflected views to average (test-time augmentation); None: as the model's bundle asks.
    batch_size : int, optional
        Images that a network takes at a time; None: what is fast.
    embeddings : bool
        Whether embeddings are returned, too.

    Examples
    --------
    >>> InferenceOptions(n_views=4).n_views
    4
    """

    n_views: int | None = None
    batch_size: int | None = None
    embeddings: bool = False
