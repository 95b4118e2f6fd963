"""Addresses as text: what is one, and what of it is secret."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode

__all__ = ["is_address", "public"]

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
