"""Split files of trainings: which galaxy is in which subset, train, validation or test."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..tables import CatalogError
from ..tables.csv_rows import read_dicts
from ..tables.identifiers import IdentifierError, exact_id

__all__ = ["check_subset", "read_split"]


def read_split(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read a CSV of ``id,part``, as `tuningfork train` writes it.

    Returns
    -------
    dict
        ID → subset.

    Raises
    ------
    CatalogError
        If it cannot be read, or puts a galaxy into two subsets: it would be tested on after it was trained on.
    """
    subsets: dict[str, str] = {}
    for row in read_dicts(path, ("id", "part")):
        try:
            id_, subset = exact_id(row["id"]), row["part"]
        except IdentifierError as error:
            raise CatalogError(f"{path}: {error}") from None
        if subsets.setdefault(id_, subset) != subset:
            raise CatalogError(
                f"{path}: galaxy {id_} is in two parts, {subsets[id_]} and {subset}; keep one of the rows"
            )
    return subsets


def check_subset(split: Mapping[str, str] | None, subset: str) -> None:
    """Raise CatalogError if a split, ID → subset, has no such subset; no split has all."""
    if split is not None and subset not in set(split.values()):
        raise CatalogError(f"the split has no part {subset!r}; it has {', '.join(sorted(set(split.values())))}")
