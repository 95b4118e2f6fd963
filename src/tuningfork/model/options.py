"""Options of inference: test-time augmentation, batch size, embeddings, structure, passed on as one object."""

from __future__ import annotations

from dataclasses import dataclass

from .views import check_n_views

__all__ = ["InferenceOptions"]


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """How a model's networks are run.

    Parameters
    ----------
    n_views : 1, 2, 4, 8 or None
        Rotated and reflected views of each image to average (test-time augmentation); None: as many as the
        bundle asks for.
    batch_size : int of at least 1, or None
        Images that a network gets at a time; None: chosen by the caller. It changes predictions only by
        rounding.
    embeddings : bool
        Whether to return the networks' features too.
    draws : int
        Draws of the fractions that a table gets as columns; `Predictions.draws` draws without it.
    structure : bool
        Whether to measure each galaxy's structure, too: concentration, asymmetry, Gini, M20, Sérsic and more, by
        statmorph, in the same image. About a second an image; needs the extra ``structure``.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> InferenceOptions(n_views=8).n_views
    8
    """

    n_views: int | None = None
    batch_size: int | None = None
    embeddings: bool = False
    draws: int = 0
    structure: bool = False

    def __post_init__(self) -> None:
        if self.n_views is not None:
            check_n_views(self.n_views)
        if self.batch_size is not None and (type(self.batch_size) is not int or self.batch_size < 1):
            raise ValueError(f"batch_size = {self.batch_size!r}; it must be an integer of at least 1")
        if type(self.draws) is not int or self.draws < 0:
            raise ValueError(f"draws = {self.draws!r}; it must be an integer of at least 0")
