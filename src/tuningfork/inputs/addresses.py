"""Addresses of remote stores as text: which we read, what lies beside them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import quote, unquote

from .._utils.errors import InputError
from .._utils.urls import is_address, public

__all__ = ["STORES", "check_address", "is_address", "join", "name_of", "public", "split"]

#: Kinds of stores; `memory` is fsspec's own, within one process.
STORES = ("s3", "gs", "gcs", "https", "http", "memory")


def check_address(address: str) -> None:
    """Raise InputError, without the address' secrets, if this is none that we read."""
    scheme, place, _ = split(address)
    if scheme not in STORES:
        raise InputError(f"{public(address)}: {scheme}:// is none of {', '.join(f'{s}://' for s in STORES)}")
    if "@" in place:
        raise InputError(
            f"{public(address)}: holds a user's name or password; give them to the store's own configuration "
            "(environment, ~/.config/fsspec), where no table shows them"
        )
    if not place:
        raise InputError(f"{public(address)}: names no {'host' if scheme.startswith('http') else 'bucket'}")
    if any(ord(letter) < 32 for letter in address):
        raise InputError(f"{public(address)}: holds control characters")


def split(address: str) -> tuple[str, str, str]:
    """Scheme, bucket or host, and the rest without its first slash (for https with its query)."""
    scheme, _, rest = address.partition("://")
    place, _, key = rest.partition("/")
    if scheme.lower().startswith("http") and ("?" in place or "#" in place):
        place, key = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")[0], ""
    return scheme.lower(), place, key


def join(folder: str, relative: str) -> str:
    """The address of `relative`, a path, within the address of a folder; it does not leave the bucket or host."""
    scheme, place, key = split(folder)
    if scheme.startswith("http"):
        key, relative = key.partition("?")[0], quote(relative, errors="surrogateescape")
    return f"{scheme}://{place}/{posixpath.normpath(posixpath.join('/', key, relative)).lstrip('/')}"


def name_of(address: str) -> str:
    """The last part of an address or a path, as a file's name."""
    if not is_address(address):
        return Path(address).name
    if split(address)[0].startswith("http"):
        return unquote(public(address).partition("?")[0].rstrip("/").rpartition("/")[2])
    return address.rstrip("/").rpartition("/")[2]
