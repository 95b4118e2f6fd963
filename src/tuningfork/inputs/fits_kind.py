"""Whether a FITS file is a table or an image, by its headers."""

from __future__ import annotations

import math
import re

from .byte_source import LocalFile, SourceUnavailable

__all__ = ["holds_table"]

BLOCK = 2880
#: What is looked at: blocks of one header, units of one file.
MAX_BLOCKS, MAX_UNITS = 400, 32
_CARD = re.compile(rb"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|ZIMAGE) *= *('?)([^'/ ]+)")


def holds_table(path: str) -> bool:
    """Whether this FITS file has a binary table and no image; False for what is no whole FITS file."""
    try:
        source = LocalFile(path)
        at, table = 0, False
        for _ in range(MAX_UNITS):
            cards, at = _header(source, at)
            axes = [int(cards[b"NAXIS%d" % n]) for n in range(1, int(cards[b"NAXIS"]) + 1)]
            is_table = cards.get(b"XTENSION") in (b"BINTABLE", b"TABLE")
            # A compressed image is a table to the standard.
            if cards.get(b"ZIMAGE") == b"T" or (axes and not is_table and math.prod(axes) > 0):
                return False
            if int(cards.get(b"TFIELDS", 0)) > 999 or min([1, *axes]) < 0:
                return False
            table |= is_table
            numbers = math.prod(axes) if axes else 0
            bits = abs(int(cards[b"BITPIX"])) * int(cards.get(b"GCOUNT", 1)) * (int(cards.get(b"PCOUNT", 0)) + numbers)
            at += -(-bits // (8 * BLOCK)) * BLOCK
            if at >= source.size:
                return table
    except (SourceUnavailable, KeyError, ValueError):
        pass
    return False


def _header(source: LocalFile, at: int) -> tuple[dict[bytes, bytes], int]:
    """The cards that tell a unit's kind and size, and where its data begin; ValueError if there is no header."""
    found: dict[bytes, bytes] = {}
    for _ in range(MAX_BLOCKS):
        block = source.read(at, BLOCK)
        if len(block) < BLOCK:
            break
        at += BLOCK
        for start in range(0, BLOCK, 80):
            card = block[start : start + 80]
            if card.rstrip() == b"END":
                if int(found[b"NAXIS"]) > 999:
                    break
                return found, at
            if told := _CARD.match(card):
                found[told[1]] = told[3]
    raise ValueError("no FITS header")
