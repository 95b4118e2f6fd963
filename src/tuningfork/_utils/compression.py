"""Files that are compressed as a whole, with gzip or bzip2: known by their first bytes, read as what they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import re
import zlib
from pathlib import PurePath
from typing import Any, BinaryIO

__all__ = ["DAMAGE", "EXTENSIONS", "MAGIC_SIZE", "compression_of", "decompressed", "has_compression", "inner_name"]

#: What a compressed file's name ends with.
EXTENSIONS = (".gz", ".bz2")
#: Bytes at a file's start that tell.
MAGIC_SIZE = 10
#: bzip2: the level, and the first block or, of an empty file, the end. A text may begin with "BZh", too.
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
#: What reading a damaged file raises.
DAMAGE = (OSError, EOFError, zlib.error)


def compression_of(start: bytes) -> str:
    """Return "gzip" or "bzip2" by a file's first bytes, `MAGIC_SIZE` of them; "" if it is neither.

    Examples
    --------
    >>> compression_of(gzip.compress(b"id")), compression_of(bz2.compress(b"id")), compression_of(b"BZh1,BZh2")
    ('gzip', 'bzip2', '')
    """
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    return "bzip2" if _BZIP2.match(start) else ""


def decompressed(file: BinaryIO | io.BufferedIOBase, compression: str) -> io.BufferedIOBase:
    """Return a stream of what a compressed file holds; reading it raises one of `DAMAGE` if it is damaged."""
    opened: Any = gzip.GzipFile(fileobj=file) if compression == "gzip" else bz2.BZ2File(file)  # type: ignore[arg-type]
    stream: io.BufferedIOBase = opened
    return stream


def has_compression(name: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends as that of a compressed one."""
    return PurePath(name).suffix.lower() in EXTENSIONS


def inner_name(name: str | os.PathLike[str]) -> str:
    """Return a file's name without folders and without the extension of its compression.

    Examples
    --------
    >>> inner_name("data/frame-r-000094.fits.bz2"), inner_name("a.csv")
    ('frame-r-000094.fits', 'a.csv')
    """
    path = PurePath(name)
    return path.stem if has_compression(path) else path.name
