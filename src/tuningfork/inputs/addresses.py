"""Addresses of remote stores as text: what they are, what of them is secret, what lies beside them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from .errors import InputError

__all__ = ["STORES", "check_address", "is_address", "join", "name_of", "public", "split"]

#: Kinds of stores; `memory` is fsspec's own, within one process.
STORES = ("s3", "gs", "gcs", "https", "http", "memory")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
#: Parameters of an address that let whoever knows them read: S3's, Google's and CloudFront's signatures, tokens.
_SECRET = re.compile(
    r"^(x-(amz|goog|oss|cos)-.*|.*(signature|token|secret|credential|passw|auth|api[-_]?key|accesskey|googleaccessid).*"
    r"|sig|key|key-pair-id|policy|expires|hdnea|hdnts)$",
    re.IGNORECASE,
)
#: What comes with a `sig`, Azure's signature, and changes with it.
_WITH_SIG = re.compile(r"^(s[vepriktdo]|s[kp]r|sk[a-z]+|srt?|ses|spr|sip)$", re.IGNORECASE)


def is_address(name: str) -> bool:
    """Whether this names a store, not a file; no path of `pathlib` has two slashes in a row."""
    return _SCHEME.match(name) is not None


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


def public(address: str) -> str:
    """The address without what lets others in: user, password, signatures, tokens."""
    found = _SCHEME.match(address) if "://" in address else None
    if found is None:
        return address
    start = found.end()
    end = len(address) if (slash := address.find("/", start)) < 0 else slash
    place, rest = address[start:end], address[end:]
    place = place.rpartition("@")[2]
    if found[1].lower() in ("http", "https"):
        rest = rest.partition("#")[0]
        rest, mark, query = rest.partition("?")
        if mark:
            told = parse_qsl(query, keep_blank_values=True)
            signed = any(name.lower() == "sig" for name, _ in told)
            kept = [
                (name, value)
                for name, value in told
                if not _SECRET.match(name) and not (signed and _WITH_SIG.match(name))
            ]
            query = query if len(kept) == len(told) else urlencode(kept)
            rest += f"?{query}" if query else ""
    return address[:start] + place + rest


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
