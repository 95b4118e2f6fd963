"""Zip archives: their members by the central directory, their bytes checked against it."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from .._utils.text import one_line
from ..images.image import ImageError, size_problem
from .byte_source import CHANGED_MESSAGE, ByteSource
from .tar import DamagedArchiveError

__all__ = ["ZipMember", "read_member", "zip_members"]

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
STORED, DEFLATED = 0, 8
#: Bytes of the central directory that are in memory at a time.
BLOCK = 2**20
#: What the fields of a local header may take beyond those of the directory, for one read to be enough.
SPARE = 256


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file of an archive.

    Parameters
    ----------
    name : str
        Bytes that are no UTF-8 are taken for IBM's code page 437, as the format asks.
    offset : int
        Where its local header begins.
    packed, size : int
        Bytes in the archive, and unpacked.
    crc, method : int
        CRC-32 of the bytes; 0 stored, 8 deflated.
    problem : str
        Why it cannot be unpacked; "" if it can.
    """

    name: str
    offset: int
    packed: int
    size: int
    crc: int
    method: int
    problem: str = ""


def zip_members(source: ByteSource) -> Iterator[ZipMember]:
    """The files of a zip archive in the order of its central directory, of which at most `BLOCK` is in memory.

    Members whose bytes overlap those of another one have a problem: a small archive could unpack without end
    (Fifield 2019, "A better zip bomb").

    Raises
    ------
    DamagedArchiveError
        If there is no central directory; or behind its last good member.
    ImageError
        If the archive cannot be reached, or has changed.
    """
    overlapping = _overlapping(source)
    for number, member in enumerate(_members(source)):
        if number in overlapping and not member.problem:
            member = replace(member, problem="damaged: its bytes overlap those of another member")
        if not member.name.endswith("/"):
            yield member


def _overlapping(source: ByteSource) -> set[int]:
    """Numbers of members that reach into the next one; 16 bytes of each member are in memory."""
    starts, ends = array("q"), array("q")
    with suppress(DamagedArchiveError):
        for member in _members(source):
            starts.append(member.offset)
            ends.append(member.offset + _LOCAL.size + member.packed)
    if not starts:
        return set()
    begin, end = np.frombuffer(starts, np.int64), np.frombuffer(ends, np.int64)
    order = np.argsort(begin, kind="stable")
    return set(order[:-1][end[order[:-1]] > begin[order[1:]]].tolist())


def _members(source: ByteSource) -> Iterator[ZipMember]:
    """All members, folders too."""
    count, size, start, shift = _directory(source)
    end = start + size
    data, at = b"", 0
    for number in range(count):
        # A record has 46 bytes and three fields of at most 64 KiB each.
        if len(data) - at < _CENTRAL.size + 3 * 2**16 and start < end:
            data, at = data[at:] + source.read(start, min(BLOCK, end - start)), 0
            start += BLOCK
        if len(data) - at < _CENTRAL.size or data[at : at + 4] != b"PK\1\2":
            raise DamagedArchiveError(f"the archive's directory is damaged: {number} of {count} members were found")
        fields = _CENTRAL.unpack_from(data, at)
        length = fields[10] + fields[11] + fields[12]
        at += _CENTRAL.size
        if len(data) - at < length:
            raise DamagedArchiveError(f"the archive's directory is damaged: {number} of {count} members were found")
        yield _member(fields, data[at : at + length], shift, source.size)
        at += length


def _directory(source: ByteSource) -> tuple[int, int, int, int]:
    """Members, size and place of the central directory, and by how much what stands before the archive shifts all."""
    tail = source.read(max(0, source.size - _END.size - 2**16), _END.size + 2**16)
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < _END.size:
        raise DamagedArchiveError("no zip archive, or cut: its directory, at the end, is missing")
    _, disk, first_disk, on_disk, count, size, start, _ = _END.unpack_from(tail, place)
    end = source.size - len(tail) + place
    if 0xFFFF in (disk, first_disk, on_disk, count) or 0xFFFFFFFF in (size, start):
        locator = source.read(end - _LOCATOR.size, _LOCATOR.size) if end >= _LOCATOR.size else b""
        if locator[:4] == b"PK\6\7":
            _, _, at, _ = _LOCATOR.unpack(locator)
            # What stands before the archive shifts this record too, which therefore is sought where it must end.
            for candidate in (end - _LOCATOR.size - _END64.size, at):
                record = source.read(candidate, _END64.size) if 0 <= candidate < source.size else b""
                if len(record) == _END64.size and record[:4] == b"PK\6\6":
                    _, _, _, _, disk, first_disk, on_disk, count, size, start = _END64.unpack(record)
                    end = candidate
                    break
            else:
                raise DamagedArchiveError("the archive's directory is damaged")
    shift = end - size - start
    if disk or first_disk or on_disk != count:
        raise DamagedArchiveError("one of several volumes; join them first")
    if shift < 0 or count * _CENTRAL.size > size:
        raise DamagedArchiveError("the archive's directory is damaged")
    return count, size, start + shift, shift


def _member(fields: tuple[int, ...], rest: bytes, shift: int, total: int) -> ZipMember:
    flags, method, crc, packed, size, name_length, extra_length, offset = (
        *(fields[3], fields[4], fields[7], fields[8], fields[9], fields[10], fields[11], fields[16]),
    )
    packed, size, offset = _wide(rest[name_length : name_length + extra_length], packed, size, offset)
    name = _text(rest[:name_length], bool(flags & 0x800))
    offset += shift
    problem = ""
    if flags & 0x41:
        problem = "encrypted; unpack the archive first"
    elif method not in (STORED, DEFLATED):
        problem = f"packed by method {method}; only stored and deflated members are read: pack it again"
    elif size_problem(max(size, packed)):
        problem = size_problem(max(size, packed))
    elif offset + _LOCAL.size + packed > total or (method == STORED and packed != size):
        problem = "damaged: the archive's directory tells what cannot be"
    return ZipMember(name, min(offset, 2**62), min(packed, 2**62), min(size, 2**62), crc, method, problem)


def _wide(extra: bytes, packed: int, size: int, offset: int) -> tuple[int, int, int]:
    """Numbers of more than 32 bits stand in an extra field (zip64), in this order, if the short one says so."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            size = next(numbers, size) if size == 0xFFFFFFFF else size
            packed = next(numbers, packed) if packed == 0xFFFFFFFF else packed
            offset = next(numbers, offset) if offset == 0xFFFFFFFF else offset
            break
        at += 4 + length
    return packed, size, offset


def _text(name: bytes, is_utf8: bool) -> str:
    try:
        # Many writers do not say that it is UTF-8.
        return name.decode("utf-8").replace("\0", "")
    except UnicodeDecodeError:
        decoded = name.decode("utf-8", "surrogateescape") if is_utf8 else name.decode("cp437")
        return decoded.replace("\0", "")


def read_member(source: ByteSource, offset: int, packed: int, size: int, crc: int, method: int) -> bytes:
    """A member's bytes, unpacked; no more than `size` of them are produced.

    Raises
    ------
    ImageError
        If they are not what the directory says.
    """
    head = source.read(offset, _LOCAL.size + SPARE + packed)
    if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
        raise ImageError("damaged: no member of the archive where its directory says")
    fields = _LOCAL.unpack_from(head)
    start = _LOCAL.size + fields[9] + fields[10]
    data = head[start : start + packed]
    if len(data) < packed:
        data += source.read(offset + start + len(data), packed - len(data))
    if len(data) < packed:
        raise ImageError(CHANGED_MESSAGE)
    if method == DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflate.decompress(data, size + 1)
        except zlib.error as error:
            raise ImageError(f"damaged: {one_line(error)}") from None
    if len(data) != size:
        raise ImageError(f"damaged: {'more' if len(data) > size else 'fewer'} bytes than the archive's directory says")
    if zlib.crc32(data) != crc:
        raise ImageError("damaged: its checksum (CRC-32) is another one")
    return data
