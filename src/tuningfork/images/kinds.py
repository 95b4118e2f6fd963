"""What a file that is no image we read seems to be, by its first bytes: for messages."""

from __future__ import annotations

import re

__all__ = ["kind_of"]

_UNPACK = ", which must be unpacked first"
#: First bytes, the name of the kind, and what to do.
_MAGIC = (
    (b"GIF8", "GIF, to be saved as PNG"),
    (b"BM", "BMP, to be saved as PNG"),
    (b"\x00\x00\x00\x0cjP", "JPEG 2000, to be saved as PNG"),
    (b"\xff\x4f\xff\x51", "JPEG 2000, to be saved as PNG"),
    (b"\xff\x0a", "JPEG XL, to be saved as PNG"),
    (b"\x00\x00\x00\x0cJXL", "JPEG XL, to be saved as PNG"),
    (b"XISF0100", "XISF of PixInsight, to be saved as FITS"),
    (b"#ASDF", "ASDF; save its image as FITS"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "a zip archive, such as .npz or .xlsx"),
    (b"BZh", f"a file compressed by bzip2{_UNPACK}"),
    (b"\xfd7zXZ\x00", f"a file compressed by xz{_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"a file compressed by zstd{_UNPACK}"),
    (b"\x1f\x9d", f"a file compressed by compress (.Z){_UNPACK}"),
    (b"\x1f\x8b", f"a file compressed by gzip{_UNPACK}"),
    (b"\x89HDF", "HDF5"),
    (b"PAR1", "Parquet; a catalogue's name ends with .parquet"),
    (b"ARROW1", "Arrow or Feather; save it as Parquet"),
    (b"version https://git-lfs", "a pointer of Git LFS, whose file was not fetched: git lfs pull"),
)
_BRANDS = {
    b"avif": "AVIF, to be saved as PNG",
    b"heic": "HEIC, to be saved as PNG",
    b"mif1": "HEIC, to be saved as PNG",
}
_HTML = re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)


def kind_of(data: bytes) -> str:
    """Describe what a file seems to be; "" if it is not known.

    Examples
    --------
    >>> kind_of(b"<html><body>404"), kind_of(bytes(100)), kind_of(b"id ra dec")
    ('a web page or XML, perhaps an error of a server', 'zeros only', 'a text file')
    """
    start = data[:4096]
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], "a video or another kind of MPEG-4")
    if _HTML.match(start):
        return "a web page or XML, perhaps an error of a server"
    if not any(start):
        return "zeros only"
    is_text = not any(byte < 9 or 13 < byte < 32 for byte in start)
    return "a text file" if is_text and start.isascii() else ""
