"""Checks of JPEG and PNG files before they are decoded: endless scans, wrong checksums."""

from __future__ import annotations

import re
import struct
import zlib

from .image import MAX_PIXELS, ImageError

__all__ = ["check_jpeg_scans", "check_png_checksums"]

#: Scans of a JPEG file: encoders write ten; each is a pass over all pixels, and a file of 1 MB may have 100,000.
FEW_SCANS, MOST_SCANS = 20, 100
_START_OF_SCAN = b"\xff\xda"
#: Markers with a segment: all but stuffing, TEM, RST0 to RST7 and SOI; and the end of the image.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_END = 0xD9
MOST_SEGMENTS = 10_000
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


def check_png_checksums(data: bytes) -> None:
    """Raise ImageError for a PNG file with a chunk whose checksum is wrong; decoders skip those of the pixels."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            return  # truncated, which is the decoder's error
        if (
            kind in _CRITICAL
            and zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack(">I", data[end : end + 4])[0]
        ):
            raise ImageError(f"damaged PNG file: the checksum of its chunk {kind.decode()} is wrong")
        at = end + 4
