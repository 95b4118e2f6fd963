"""Split files: which galaxy is in which subset, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuningfork.tables import CatalogError
from tuningfork.votes.split_file import check_subset, read_split


def split(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "split.csv"
    path.write_text("\n".join(["id,part", *rows]) + "\n")
    return path


def test_a_split_maps_ids_to_subsets(tmp_path: Path) -> None:
    subsets = read_split(split(tmp_path, "1,train", "2,test", "2,test"))
    assert subsets == {"1": "train", "2": "test"}
    check_subset(subsets, "test")
    with pytest.raises(CatalogError, match=r"no part 'validation'; it has test, train"):
        check_subset(subsets, "validation")


def test_a_galaxy_in_two_subsets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"split\.csv: galaxy 2 is in two parts, train and test"):
        read_split(split(tmp_path, "1,train", "2,train", "2,test"))
