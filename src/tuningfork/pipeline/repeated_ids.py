"""Repeated identifiers: refused where the table has no path to tell rows apart (Kaggle's layout), else counted."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..inputs import InputItem
from .options import PredictError

__all__ = ["count_repeated_ids", "distinct_ids"]

logger = logging.getLogger(__name__)
#: Rows beyond which repeated identifiers are not counted: eight bytes of each are in memory.
MAX_COUNTED = 20_000_000


def count_repeated_ids(items: Iterable[InputItem], most: int = MAX_COUNTED) -> Iterator[InputItem]:
    """Pass items through; log a warning at their end if some have one ID.

    Parameters
    ----------
    items : iterable of InputItem
    most : int
        With more items than this, none are counted.
    """
    hashes = array("q")
    for item in items:
        if len(hashes) <= most:
            hashes.append(hash(item.id))
        yield item
    if len(hashes) <= most:
        _, counts = _unique(hashes)
        if repeated := int(counts[counts > 1].sum()):
            logger.warning("%d rows share their ID with another row; the column `path` tells them apart", repeated)


def distinct_ids(items: Iterable[InputItem], again: Callable[[], Iterable[InputItem]]) -> Iterator[InputItem]:
    """Pass items through; raise PredictError at their end if two have one ID. Holds eight bytes of each."""
    hashes = array("q")
    for item in items:
        hashes.append(hash(item.id))
        yield item
    values, counts = _unique(hashes)
    suspects = set(values[counts > 1].tolist())
    paths: dict[str, str] = {}
    for item in again() if suspects else ():
        if hash(item.id) not in suspects:
            continue
        if item.id in paths:
            raise PredictError(
                f"{item.path} and {paths[item.id]} are both named {item.id}, and Kaggle's layout has no path to "
                "tell them apart; rename one, or leave it out"
            )
        paths[item.id] = item.path


def _unique(hashes: array[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    values, counts = np.unique(np.frombuffer(hashes, np.int64) if hashes else np.empty(0, np.int64), return_counts=True)
    return values, counts
