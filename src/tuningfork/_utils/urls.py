"""URLs as text: their parts, what lies beside them, and what of them is secret."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

__all__ = ["is_url", "join_url", "name_of", "public_url", "split_url"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
#: Parameters of a URL that let whoever knows them read: S3's, Google's and CloudFront's signatures, tokens.
_SECRET = re.compile(
    r"^(x-(amz|goog|oss|cos)-.*|.*(signature|token|secret|credential|passw|auth|api[-_]?key|accesskey|googleaccessid).*"
    r"|sig|key|key-pair-id|policy|expires|hdnea|hdnts)$",
    re.IGNORECASE,
)
#: What comes with a `sig`, Azure's signature, and changes with it.
_WITH_SIG = re.compile(r"^(s[vepriktdo]|s[kp]r|sk[a-z]+|srt?|ses|spr|sip)$", re.IGNORECASE)


def is_url(name: str) -> bool:
    """Whether this names an object in a store, not a file; no path of `pathlib` has two slashes in a row."""
    return _SCHEME.match(name) is not None


def public_url(url: str) -> str:
    """Remove user, password, signatures and tokens from a URL; anything else is returned as it is."""
    match = _SCHEME.match(url) if "://" in url else None
    if match is None:
        return url
    start = match.end()
    end = len(url) if (slash := url.find("/", start)) < 0 else slash
    host, rest = url[start:end].rpartition("@")[2], url[end:]
    if match[1].lower() in ("http", "https"):
        rest, mark, query = rest.partition("#")[0].partition("?")
        if mark:
            parameters = parse_qsl(query, keep_blank_values=True)
            signed = any(name.lower() == "sig" for name, _ in parameters)
            harmless = [
                (name, value)
                for name, value in parameters
                if not _SECRET.match(name) and not (signed and _WITH_SIG.match(name))
            ]
            query = query if len(harmless) == len(parameters) else urlencode(harmless)
            rest += f"?{query}" if query else ""
    return url[:start] + host + rest


def split_url(url: str) -> tuple[str, str, str]:
    """Split into scheme, bucket or host, and the rest without its first slash (for https with its query)."""
    scheme, _, rest = url.partition("://")
    host, _, key = rest.partition("/")
    if scheme.lower().startswith("http") and ("?" in host or "#" in host):
        host, key = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")[0], ""
    return scheme.lower(), host, key


def join_url(folder: str, relative: str) -> str:
    """The URL of `relative`, a path, within the URL of a folder; it does not leave the bucket or host."""
    scheme, host, key = split_url(folder)
    if scheme.startswith("http"):
        key, relative = key.partition("?")[0], quote(relative, errors="surrogateescape")
    return f"{scheme}://{host}/{posixpath.normpath(posixpath.join('/', key, relative)).lstrip('/')}"


def name_of(location: str) -> str:
    """The last part of a URL or a path, as a file's name."""
    if not is_url(location):
        return Path(location).name
    if split_url(location)[0].startswith("http"):
        return unquote(public_url(location).partition("?")[0].rstrip("/").rpartition("/")[2])
    return location.rstrip("/").rpartition("/")[2]
