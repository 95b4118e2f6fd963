"""Split files of trainings: which galaxy is in which subset, train, validation or test."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping

from ..tables import CatalogError

__all__ = ["check_subset", "read_split"]


def read_split(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read a CSV of ``id,part``, as `tuningfork train` writes it: ID → subset. Raises CatalogError."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames is None or not {"id", "part"} <= set(reader.fieldnames):
                raise CatalogError(f"{path}: columns id and part are expected, as `tuningfork train` writes them")
            return {row["id"]: row["part"] for row in reader}
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror}") from None


def check_subset(split: Mapping[str, str] | None, subset: str) -> None:
    """Raise CatalogError if a split, ID → subset, has no such subset; no split has all."""
    if split is not None and subset not in set(split.values()):
        raise CatalogError(f"the split has no part {subset!r}; it has {', '.join(sorted(set(split.values())))}")
