"""Images in tar (WebDataset's shards) and zip archives: read where they lie, never unpacked to disk."""

from __future__ import annotations

import posixpath
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .._utils.errors import InputError
from .._utils.text import text
from .._utils.urls import is_url, name_of, public_url
from ..images.find import count_left_out, is_image_name
from ..images.image import ImageError, size_problem
from ..tables.identifiers import file_id
from .byte_source import CHANGED_MESSAGE, ByteSource, ReadAhead
from .item import InputItem
from .objects import open_byte_source
from .tar import DamagedArchiveError, TarMember, tar_members
from .zip import ZipMember, read_member, zip_members

__all__ = ["EXTENSIONS", "COMPRESSED_ARCHIVES", "TarReader", "ZipReader", "archive_items", "check_packed"]

EXTENSIONS = {".tar": "tar", ".zip": "zip"}
#: Compressed as one stream: no member can be read without all before it.
COMPRESSED_ARCHIVES = (
    ".tar.gz",
    ".tgz",
    ".tar.zst",
    ".tzst",
    ".tar.bz2",
    ".tbz2",
    ".tar.xz",
    ".txz",
    ".tar.lz4",
    ".7z",
    ".rar",
)
_MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0")
#: Archives that are open at a time.
OPEN = 64


def check_packed(location: str) -> None:
    """Raise InputError for an archive that must be unpacked first."""
    name = name_of(location) if is_url(location) else location
    if name.lower().endswith(COMPRESSED_ARCHIVES):
        _refuse_packed(location)


def _refuse_packed(location: str) -> None:
    raise InputError(
        f"{text(public_url(location))}: is compressed in one piece, so that no image can be read without all "
        "before it; unpack it (images hardly get smaller) and name the .tar or the folder"
    )


def archive_items(location: str, left_out: Counter[str] | None = None) -> Iterator[InputItem]:
    """List the images of an archive, a file or a URL, by their extensions; one member is in memory at a time.

    Hidden members are left out as hidden files are, and archives within archives are not opened. Links, and
    members that are packed in a way that we do not read, are items with an error; so is, at last, an archive
    that is damaged or cut, whose members before the damage are good. Members are called as files are, without
    the extension.

    Raises
    ------
    InputError
        If the archive cannot be reached, or is compressed in one piece.
    """
    left_out = Counter() if left_out is None else left_out
    where = text(public_url(location))
    kind = EXTENSIONS[Path(name_of(location)).suffix.lower()]
    try:
        source = open_byte_source(location)
        if kind == "tar" and source.read(0, 6).startswith(_MAGIC):
            _refuse_packed(location)
        if is_url(location):
            source = ReadAhead(source)
        try:
            for member, stamp, problem in (_tar_members if kind == "tar" else _zip_members)(source):
                if _is_image(member.name, left_out):
                    name, path = file_id(_file_name(member.name, kind)), f"{where}/{text(member.name)}"
                    place = (member.name, member.offset, member.size)
                    yield InputItem(name, path, kind, location, *place, stamp, error=problem)
        except DamagedArchiveError as error:
            name = text(posixpath.splitext(name_of(location))[0])
            yield InputItem(name, where, kind, location, stamp=source.stamp, error=str(error))
    except ImageError as error:
        raise InputError(f"{where}: {error}") from None


def _file_name(member: str, kind: str) -> str:
    # Some writers of zip on Windows part folders by backslashes, which the format forbids.
    return posixpath.basename(member.replace("\\", "/") if kind == "zip" and "/" not in member else member)


def _tar_members(source: ByteSource) -> Iterator[tuple[TarMember, str, str]]:
    """Each member with its stamp and what is wrong with it."""
    for member in tar_members(source):
        yield member, source.stamp, member.problem or size_problem(member.size)


def _zip_members(source: ByteSource) -> Iterator[tuple[ZipMember, str, str]]:
    """Each member with its stamp, which has what `ZipReader` needs to unpack it, and what is wrong with it."""
    for member in zip_members(source):
        yield member, f"{source.stamp} {member.crc} {member.packed} {member.method}", member.problem


def _is_image(name: str, left_out: Counter[str]) -> bool:
    """Whether a member is an image; counts those that are not."""
    hidden = [part for part in name.split("/") if part.startswith(".") and part not in (".", "..")]
    if not hidden and is_image_name(name):
        return True
    count_left_out(hidden[0] if hidden else name, left_out)
    return False


class _Archives:
    """Archives that are open; the one that was used longest ago is let go first."""

    def __init__(self) -> None:
        self._sources: OrderedDict[tuple[str, str], ByteSource] = OrderedDict()

    def source(self, location: str, stamp: str) -> ByteSource:
        """The open archive; raises ImageError if it cannot be opened, or has changed since it was listed."""
        key = (location, stamp)
        if key not in self._sources:
            self._sources[key] = open_byte_source(location, stamp)
        self._sources.move_to_end(key)
        if len(self._sources) > OPEN:
            self._sources.popitem(last=False)
        return self._sources[key]

    def close(self) -> None:
        """Let go of all of them."""
        self._sources.clear()


class TarReader(_Archives):
    """Reads members of tar archives, several at a time; see `readers.Reader`."""

    def prepare(self, item: InputItem) -> Callable[[], bytes]:
        """The member's bytes, read when they are called for."""
        return partial(_read_tar, self.source(item.location, item.stamp), item)


def _read_tar(source: ByteSource, item: InputItem) -> bytes:
    data = source.read(item.offset, item.size)
    if len(data) < item.size:
        raise ImageError(CHANGED_MESSAGE)
    return data


class ZipReader(_Archives):
    """Reads members of zip archives, several at a time; see `readers.Reader`."""

    def prepare(self, item: InputItem) -> Callable[[], bytes]:
        """The member's bytes, read and unpacked when they are called for."""
        stamp, crc, packed, method = item.stamp.rsplit(" ", 3)
        source = self.source(item.location, stamp)
        return partial(read_member, source, item.offset, int(packed), item.size, int(crc), int(method))
