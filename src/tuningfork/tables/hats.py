"""HATS catalogues, as hats-import and LSDB write them: a folder of Parquet files, partitions by place in the sky."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from .formats import readable

__all__ = ["hats_partitions", "is_hats", "read_hats"]

#: What a catalogue's folder has beside its partitions, the last two by earlier versions; and a collection's.
_PROPERTIES = ("hats.properties", "properties", "catalog_info.json")
_COLLECTION, _PRIMARY = "collection.properties", "hats_primary_table_url"
#: A partition is a file, or a folder of files.
_PATTERNS = ("Norder=*/Dir=*/Npix=*.parquet", "Norder=*/Dir=*/Npix=*/*.parquet")


def is_hats(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is a HATS catalogue with partitions, or a collection that has one; they are not all listed."""
    return next(_partitions(Path(folder)), None) is not None


def hats_partitions(folder: str | os.PathLike[str]) -> list[Path]:
    """The partitions of a HATS catalogue, or of the catalogue of a collection, in order; none if it is no such folder.

    See the directory scheme at https://hats.readthedocs.io.
    """
    return sorted(set(_partitions(Path(folder))), key=lambda path: [_place(part) for part in path.parts])


def _partitions(folder: Path) -> Iterator[Path]:
    with suppress(OSError, UnicodeDecodeError):
        for line in (folder / _COLLECTION).read_text("utf-8").splitlines():
            key, _, value = line.partition("=")
            # A catalogue beside others: never one elsewhere.
            if key.strip() == _PRIMARY and value.strip() in os.listdir(folder):
                folder = folder / value.strip()
                break
    if any((folder / name).is_file() for name in _PROPERTIES):
        for root in (folder / "dataset", folder):
            for pattern in _PATTERNS:
                yield from root.glob(pattern)


def _place(part: str) -> tuple[str, int, str]:
    """A part of a path, by which Npix=9 comes before Npix=10."""
    name, _, number = part.partition(".")[0].partition("=")
    return name, int(number) if number.isdecimal() else -1, part


def read_hats(partitions: list[Path]) -> pa.Table:
    """Read all partitions as one table.

    Raises
    ------
    CatalogError
        If one is damaged, or their columns are of different types.
    """
    from .parquet import read_parquet

    with readable(partitions[0].parent, "HATS"):
        return pa.concat_tables(map(read_parquet, partitions), promote_options="permissive")
