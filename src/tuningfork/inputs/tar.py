"""Tar archives: their members and where the bytes are, by walking from header to header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .._utils.errors import TuningforkError
from .byte_source import ByteSource

__all__ = ["DamagedArchiveError", "TarMember", "tar_members"]

RECORD = 512
#: Bytes of a header that holds a long name or settings; real ones have a few hundred.
MAX_EXTENSION = 2**20
#: How far behind the end mark we look for more.
TAIL = 2**16
_LINKS = {b"1": "a hard link", b"2": "a symbolic link"}
#: Links, devices, folders, pipes: no bytes follow, whatever their size says.
_EMPTY = (b"1", b"2", b"3", b"4", b"5", b"6")
_SETTING = re.compile(rb"(\d{1,9}) ([^=]+)=")


class DamagedArchiveError(TuningforkError, ValueError):
    """The archive ends, or makes no sense, from here on; the message says where."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file of an archive, or a link.

    Parameters
    ----------
    name : str
        Bytes that are no UTF-8 stand as surrogates.
    offset, size : int
        Where its bytes are.
    problem : str
        Why they are not the file's bytes; "" if they are.
    """

    name: str
    offset: int
    size: int
    problem: str = ""


def tar_members(source: ByteSource) -> Iterator[TarMember]:
    """The files and links of a tar archive of any dialect (POSIX 1003.1: ustar and pax; GNU's), in their order.

    Raises
    ------
    DamagedArchiveError
        After the last good member, if the archive does not end as it should; a member that is cut is not good.
    ImageError
        If the archive cannot be reached, or has changed.
    """
    at = 0
    always: dict[str, bytes] = {}
    next_: dict[str, bytes] = {}
    while True:
        header = source.read(at, RECORD)
        if len(header) < RECORD:
            raise DamagedArchiveError(f"the archive is cut at byte {source.size}: its end mark is missing")
        if not any(header):
            if any(source.read(at, TAIL)):
                raise DamagedArchiveError(
                    f"more follows behind the end mark at byte {at}; were archives joined? Name each of them"
                )
            return
        _check(header, at)
        kind, size = header[156:157], _number(header[124:136], at)
        start = at + RECORD
        if kind in b"LKxXg":
            data = _extension(source, start, size)
            if kind == b"L":
                next_["path"] = data.partition(b"\0")[0]
            elif kind == b"K":
                next_["linkpath"] = data.partition(b"\0")[0]
            elif kind == b"g":
                always |= _settings(data)
            else:
                next_ |= _settings(data)
            at = start + _padded(size)
            continue
        settings, next_ = always | next_, {}
        size = 0 if kind in _EMPTY else _decimal(settings["size"], at) if "size" in settings else size
        sparse = any(name.startswith("GNU.sparse.") for name in settings)
        if kind == b"S":
            sparse, start = True, _behind_maps(source, header, start)
        name = _text(settings.get("GNU.sparse.name") or settings.get("path") or _short_name(header))
        if start + size > source.size:
            raise DamagedArchiveError(f"the archive is cut at byte {source.size}, within {name!r}")
        if kind in _LINKS:
            target = _text(settings.get("linkpath") or header[157:257].partition(b"\0")[0])
            yield TarMember(name, start, 0, f"{_LINKS[kind]} to {target!r}; pack the file itself")
        elif sparse:
            yield TarMember(name, start, size, "packed as a sparse file; pack it again without --sparse")
        elif kind not in _EMPTY:
            yield TarMember(name, start, size)
        at = start + _padded(size)


def _check(header: bytes, at: int) -> None:
    checksum = _number(header[148:156], at)
    counted = header[:148] + b"        " + header[156:]
    # Some old writers summed signed bytes.
    if checksum != sum(counted) and checksum != sum(counted) - 256 * sum(byte > 127 for byte in counted):
        raise DamagedArchiveError(f"no header of a tar archive at byte {at}")


def _number(field: bytes, at: int) -> int:
    if field[0] == 0x80:
        number = int.from_bytes(field[1:], "big")
    else:
        digits = field.partition(b"\0")[0].strip()
        if digits and not all(byte in b"01234567" for byte in digits):
            raise DamagedArchiveError(f"no header of a tar archive at byte {at}")
        number = int(digits or b"0", 8)
    return _bounded(number, at)


def _decimal(value: bytes, at: int) -> int:
    if not value.isdigit() or len(value) > 20:
        raise DamagedArchiveError(f"no header of a tar archive at byte {at}")
    return _bounded(int(value), at)


def _bounded(number: int, at: int) -> int:
    if number >= 2**62:
        raise DamagedArchiveError(f"a member of {number} bytes at byte {at}")
    return number


def _extension(source: ByteSource, start: int, size: int) -> bytes:
    if size > MAX_EXTENSION:
        raise DamagedArchiveError(f"a name takes {size} bytes at byte {start}; at most {MAX_EXTENSION} are read")
    data = source.read(start, size)
    if len(data) < size:
        raise DamagedArchiveError(f"the archive is cut at byte {source.size}")
    return data


def _settings(data: bytes) -> dict[str, bytes]:
    """Records of pax: ``LENGTH NAME=VALUE`` and a newline, the length counting all of it."""
    settings = {}
    at = 0
    while record := _SETTING.match(data, at):
        length = int(record[1])
        if length <= record.end() - at:
            break
        name = record[2].decode("utf-8", "replace")
        settings[name] = data[record.end() : at + length - 1]
        at += length
    return settings


def _behind_maps(source: ByteSource, header: bytes, start: int) -> int:
    """Where the bytes of GNU's old sparse members begin: behind records with more of the map."""
    more = header[482]
    while more:
        record = source.read(start, RECORD)
        if len(record) < RECORD:
            raise DamagedArchiveError(f"the archive is cut at byte {source.size}")
        more = record[504]
        start += RECORD
    return start


def _short_name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    # GNU's dialect has times where ustar has the first half of a long name.
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape").replace("\0", "")


def _padded(size: int) -> int:
    return -(-size // RECORD) * RECORD
