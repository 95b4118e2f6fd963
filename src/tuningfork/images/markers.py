"""Checks of JPEG, PNG and TIFF files before they are decoded: endless scans, lost blocks, wrong checksums."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from .image import MAX_PIXELS, ImageError

__all__ = [
    "check_jpeg_scans",
    "check_jpeg_zeros",
    "check_png_checksums",
    "check_tiff_checksums",
    "has_jpeg_metadata",
]

#: Scans of a JPEG file: encoders write ten; each is a pass over all pixels, and a file of 1 MB may have 100,000.
FEW_SCANS, MOST_SCANS = 20, 100
_START_OF_SCAN = b"\xff\xda"
#: Markers with a segment: all but stuffing, TEM, RST0 to RST7 and SOI; and the end of the image.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_END = 0xD9
MOST_SEGMENTS = 10_000
#: Zero bytes in a row that no pixels give, but a lost block of a disk or of a download. By the usual Huffman tables
#: they stand for forty coefficients of -1 each after the other.
_ZEROS = bytes(16)
_HUFFMAN_TABLE = 0xC4
#: APP1, a segment of EXIF or XMP; a byte that may stand before any marker.
_APP1, _FILL = b"\xff\xe1", b"\xff\xff"
#: Compressions of TIFF with a checksum of zlib that libtiff does not look at.
_DEFLATE = (8, 32946)
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"tRNS")


def check_jpeg_scans(data: bytes, pixels: int) -> None:
    """Raise ImageError for a JPEG file of so many scans that decoding `pixels` would take minutes."""
    most = max(FEW_SCANS, min(MOST_SCANS, FEW_SCANS * MAX_PIXELS // max(pixels, 1)))
    # Thumbnails within the file have scans of their own, so that more than that are counted one by one.
    if data.count(_START_OF_SCAN) > most and _has_more_scans(data, most):
        raise ImageError(f"JPEG file of more than {most} scans, which would take minutes to decode; save it anew")


def _has_more_scans(data: bytes, most: int) -> bool:
    scans, at = 0, 2
    for _ in range(MOST_SEGMENTS):
        marker = _MARKER.search(data, at)
        if scans > most or marker is None or marker.group()[1] == _END:
            return scans > most
        scans += marker.group() == _START_OF_SCAN
        at = marker.end() + max(2, int.from_bytes(data[marker.end() : marker.end() + 2]))
    raise ImageError(f"JPEG file of more than {MOST_SEGMENTS} segments; save it anew")


def check_jpeg_zeros(data: bytes) -> None:
    """Raise ImageError for a JPEG file with a run of zero bytes among its pixels: a decoder may not notice.

    Files whose own Huffman tables give zeros a meaning, such as that of an empty block, are left alone.
    """
    start = data.rfind(_START_OF_SCAN)
    at = data.find(_ZEROS, start) if start >= 0 else -1
    # Behind the image other data may follow.
    if at >= 0 and data.find(b"\xff\xd9", start, at) < 0 and not _has_short_zeros(data, start):
        raise ImageError(f"damaged JPEG file: zeros instead of pixels from byte {at} on")


def _has_short_zeros(data: bytes, end: int) -> bool:
    """Whether the code of zeros alone ends a block, or skips some of it, in all Huffman tables of AC coefficients."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        marker = _MARKER.search(data, at, end)
        if marker is None:
            return True
        length = max(2, int.from_bytes(data[marker.end() : marker.end() + 2]))
        if marker.group()[1] == _HUFFMAN_TABLE:
            table, last = marker.end() + 2, min(marker.end() + length, len(data))
            while table + 17 < last:
                if data[table] >> 4 and data[table + 17] & 0x0F:
                    return False
                table += 17 + sum(data[table + 1 : table + 17])
        at = marker.end() + length
    return True


def has_jpeg_metadata(data: bytes) -> bool:
    """Whether a JPEG file has EXIF or XMP before its pixels; only the first bytes of each segment are looked at."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        marker = data[at : at + 2]
        if marker == _APP1:
            return True
        if marker == _START_OF_SCAN or not marker.startswith(b"\xff"):
            return False
        at += 1 if marker == _FILL else 2 + int.from_bytes(data[at + 2 : at + 4])
    raise ImageError(f"JPEG file of more than {MOST_SEGMENTS} segments; save it anew")


def check_tiff_checksums(data: bytes, tags: Mapping[int, Any]) -> None:
    """Raise ImageError for a TIFF file whose deflated pixels are cut, or do not match their checksum."""
    if tags.get(259) not in _DEFLATE:
        return
    offsets, sizes = (tags.get(strips, tags.get(tiles, ())) for strips, tiles in ((273, 324), (279, 325)))
    for offset, size in zip(_numbers(offsets), _numbers(sizes), strict=False):
        unpacker, rest = zlib.decompressobj(), data[offset : offset + size]
        while rest and not unpacker.eof:
            # A MiB at a time, whatever it unpacks to.
            try:
                unpacker.decompress(rest, 2**20)
            except zlib.error as error:
                raise ImageError(f"damaged TIFF file: {error}") from None
            rest = unpacker.unconsumed_tail
        if not unpacker.eof:
            raise ImageError("damaged or truncated TIFF file: its pixels end before they should")


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value),)


def check_png_checksums(data: bytes) -> None:
    """Raise ImageError for a PNG file that is cut, or of a wrong checksum; decoders do not look at those of pixels."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if kind == b"IEND":
            return
        if (
            kind in _CRITICAL
            and zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack(">I", data[end : end + 4])[0]
        ):
            raise ImageError(f"damaged PNG file: the checksum of its chunk {kind.decode()} is wrong")
        at = end + 4
    raise ImageError("truncated PNG file: its end is missing")
