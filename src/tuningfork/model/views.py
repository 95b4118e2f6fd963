"""Test-time augmentation: the rotated and reflected views of an image over which predictions are averaged.

A galaxy's morphology depends neither on its orientation in the sky nor on its handedness, so the eight symmetries of
the square image (the dihedral group of order 8) give eight equally good inputs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["VIEW_COUNTS", "check_n_views", "view_transforms", "views_of"]

#: Numbers of views that can be averaged.
VIEW_COUNTS = (1, 2, 4, 8)

_TRANSFORMS = {
    1: ((0, False),),
    2: ((0, False), (0, True)),
    4: ((0, False), (1, False), (2, False), (3, False)),
    8: tuple((quarter_turns, mirrored) for mirrored in (False, True) for quarter_turns in range(4)),
}


def check_n_views(n_views: object) -> int:
    """Return `n_views` if it is one of `VIEW_COUNTS`.

    Raises
    ------
    ValueError
        If it is anything else, such as 3, ``True`` or ``"4"``.

    Examples
    --------
    >>> check_n_views(4)
    4
    """
    if type(n_views) is not int or n_views not in VIEW_COUNTS:
        raise ValueError(f"n_views = {n_views!r}; it must be one of {', '.join(map(str, VIEW_COUNTS))}")
    return n_views


def view_transforms(n_views: int) -> tuple[tuple[int, bool], ...]:
    """Return the views as pairs (quarter turns counterclockwise, whether mirrored left to right afterwards).

    The first is the image itself; 2 views are the image and its mirror image; 4 are its rotations; 8 are all.

    Examples
    --------
    >>> view_transforms(2)
    ((0, False), (0, True))
    """
    return _TRANSFORMS[check_n_views(n_views)]


def views_of(images: NDArray[np.uint8], n_views: int) -> list[NDArray[np.uint8]]:
    """Return `n_views` views of square images, in the order of `view_transforms`.

    Parameters
    ----------
    images : (N, S, S, 3) uint8
    n_views : 1, 2, 4 or 8

    Returns
    -------
    list of `n_views` arrays (N, S, S, 3) uint8
    """
    views = []
    for quarter_turns, mirrored in view_transforms(n_views):
        view = np.rot90(images, quarter_turns, axes=(1, 2))
        views.append(view[:, :, ::-1] if mirrored else view)
    return views
