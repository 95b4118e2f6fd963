"""Check that no two items have one ID, where the table has no path to tell them apart: Kaggle's layout."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..inputs import InputItem
from .options import PredictError

__all__ = ["distinct_ids"]


def distinct_ids(items: Iterable[InputItem], again: Callable[[], Iterable[InputItem]]) -> Iterator[InputItem]:
    """Pass items through; raise PredictError at their end if two have one ID. Holds eight bytes of each."""
    hashes = array("q")
    for item in items:
        hashes.append(hash(item.id))
        yield item
    values, counts = np.unique(np.frombuffer(hashes, np.int64), return_counts=True) if hashes else ((), np.zeros(0))
    suspects = {int(value) for value in np.asarray(values)[counts > 1]} if (counts > 1).any() else ()
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
