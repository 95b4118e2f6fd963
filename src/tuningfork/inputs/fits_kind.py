"""Whether a FITS file is a table or an image, by its headers."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable

from .._utils.compression import DAMAGE, MAGIC_SIZE, compression_of, decompressed
from .byte_source import ByteStream, LocalFile, SourceUnavailable

__all__ = ["holds_table"]

BLOCK = 2880
#: What is looked at: blocks of one header, units of one file.
MAX_BLOCKS, MAX_UNITS = 400, 32
#: Of a compressed file, so many bytes are unpacked to look at.
MAX_BYTES = 2**31
_CARD = re.compile(rb"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|ZIMAGE) *= *('?)([^'/ ]+)")


def holds_table(path: str) -> bool:
    """Whether this FITS file, also a compressed one, has a binary table and no image.

    TOPCAT's own FITS begins with a row of bytes that holds a VOTable, which is no image. False for what is no
    complete FITS file.
    """
    table = False
    try:
        read, is_compressed = _reader(path)
        at = 0
        for _ in range(MAX_UNITS):
            unit = _header(read, at)
            if unit is None:
                return table
            cards, at = unit
            axes = [int(cards[b"NAXIS%d" % n]) for n in range(1, int(cards[b"NAXIS"]) + 1)]
            is_table = cards.get(b"XTENSION") in (b"BINTABLE", b"TABLE")
            # A compressed image is a table to the standard.
            if cards.get(b"ZIMAGE") == b"T" or (len(axes) > 1 and not is_table and math.prod(axes) > 0):
                return False
            if int(cards.get(b"TFIELDS", 0)) > 999 or min([1, *axes]) < 0:
                return False
            table |= is_table
            numbers = math.prod(axes) if axes else 0
            bits = abs(int(cards[b"BITPIX"])) * int(cards.get(b"GCOUNT", 1)) * (int(cards.get(b"PCOUNT", 0)) + numbers)
            at += -(-bits // (8 * BLOCK)) * BLOCK
            if at > MAX_BYTES and is_compressed:
                return False
    except (SourceUnavailable, KeyError, ValueError, *DAMAGE):
        pass
    return False


def _reader(path: str) -> tuple[Callable[[int], bytes], bool]:
    """A function that reads a block of the file, unpacked, from a byte on; and whether it unpacks."""
    source = LocalFile(path)
    compression = compression_of(source.read(0, MAGIC_SIZE))
    if not compression:
        return lambda at: source.read(at, BLOCK), False
    file = decompressed(io.BufferedReader(ByteStream(source)), compression)

    def read(at: int) -> bytes:
        file.seek(at)
        return file.read(BLOCK)

    return read, True


def _header(read: Callable[[int], bytes], at: int) -> tuple[dict[bytes, bytes], int] | None:
    """The cards that give a unit's kind and size, and where its data begin; None at the end of the file.

    Raises
    ------
    ValueError
        If there is no header.
    """
    cards: dict[bytes, bytes] = {}
    for number in range(MAX_BLOCKS):
        block = read(at)
        if not block and number == 0:
            return None
        if len(block) < BLOCK:
            break
        at += BLOCK
        for start in range(0, BLOCK, 80):
            card = block[start : start + 80]
            if card.rstrip() == b"END":
                if int(cards[b"NAXIS"]) > 999:
                    break
                return cards, at
            if match := _CARD.match(card):
                cards[match[1]] = match[3]
    raise ValueError("no FITS header")
