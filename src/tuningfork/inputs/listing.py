"""Listing of items on disk: streamed in, streamed out, with a digest that changes with the input."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from .._utils.files import atomic_file
from .._utils.urls import public_url
from .item import SCHEMA, InputItem, items_of, table_of

__all__ = ["Digest", "read_listing", "write_listing"]

#: Items that are written together.
ROWS = 10_000


class Digest:
    """Counts items and digests them, in whatever order they come: a folder may be listed in another one.

    The sum of the items' 128-bit hashes, modulo 2¹²⁸: a multiset hash for honest mistakes, not against attackers
    (Bellare & Micciancio 1997, EUROCRYPT, AdHash).
    """

    def __init__(self) -> None:
        self.rows = 0
        self.has_positions = False
        self._sum = 0

    def count(self, items: Iterable[InputItem]) -> Iterator[InputItem]:
        """Pass the items through, and count and digest each."""
        for item in items:
            self.rows += 1
            self.has_positions |= not math.isnan(item.right_ascension)
            self._sum += int.from_bytes(hashlib.blake2b(item.identity, digest_size=16).digest(), "little")
            yield item

    def hexdigest(self) -> str:
        """The digest of all items so far, 32 hexadecimal digits."""
        return f"{self._sum % 2**128:032x}"


def write_listing(items: Iterable[InputItem], file: Path) -> Digest:
    """Write items to a Parquet file, which appears complete or not at all; at most `ROWS` of them are in memory.

    Others cannot read it if it holds addresses that are signed, and so let in whoever knows them.
    """
    import pyarrow.parquet as pq

    digest = Digest()
    counted = digest.count(items)
    with atomic_file(file) as part, pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        while block := list(islice(counted, ROWS)):
            if any(public_url(item.location) != item.location for item in block):
                part.chmod(0o600)
            writer.write_table(table_of(block))
    return digest


def read_listing(file: Path) -> Iterator[InputItem]:
    """The items that `write_listing` wrote, in their order; one row group is in memory."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, pre_buffer=False) as listing:
        for number in range(listing.num_row_groups):
            yield from items_of(listing.read_row_group(number))
