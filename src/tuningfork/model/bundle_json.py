"""The description of a bundle: a JSON whose text is canonical, with its own digest, and what it must hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._utils.errors import TuningforkError

__all__ = [
    "COPY_AGAIN",
    "FORMAT",
    "MAX_JSON_BYTES",
    "BundleError",
    "digest_of",
    "json_text",
    "read_description",
    "text_digest",
]

FORMAT = "tuningfork-bundle"
#: The newest form. A bundle is written in the oldest one that can say what it holds.
VERSION = 3
MAX_JSON_BYTES = 16 * 2**20
#: The remedy of a damaged file.
COPY_AGAIN = "copy the model again"
_KINDS = {
    "name": str,
    "title": str,
    "description": str,
    "licence": str,
    "attribution": list,
    "tree": dict,
    "networks": list,
    "training": dict,
    "figures": dict,
    "versions": dict,
}


class BundleError(TuningforkError, ValueError):
    """A bundle that cannot be trusted or understood; names the file and the remedy."""


def text_digest(text: str) -> str:
    """SHA-256 of a text in UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def json_text(content: Mapping[str, Any]) -> str:
    """The one spelling in which a description is written."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of a description without its own digest, hexadecimal; ValueError for NaN and infinities."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_description(path: Path) -> dict[str, Any]:
    """Read a bundle.json, checked: every byte is what was written, and all entries are there.

    Raises
    ------
    BundleError
        If it cannot be read, is of another format or a newer version, or differs from what was written.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise BundleError(f"{path}: larger than {MAX_JSON_BYTES} bytes, no model's description")
    try:
        text = path.read_text("utf-8")
        content = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: cannot be read as JSON: {error}; {COPY_AGAIN}") from None
    if not isinstance(content, dict):
        raise BundleError(f"{path}: not a tuningfork bundle; name the folder of one")
    _check_format(content, text, path)
    return content


def _check_format(content: Mapping[str, Any], text: str, path: Path) -> None:
    if content.get("format") != FORMAT:
        raise BundleError(f"{path}: not a tuningfork bundle; name the folder of one")
    if content.get("version") not in range(1, VERSION + 1):
        raise BundleError(
            f"{path}: format version {content.get('version')!r}; this tuningfork reads versions 1…{VERSION}: "
            "upgrade tuningfork, or train the model again"
        )
    digest = content.get("sha256")
    try:
        actual = digest_of({key: value for key, value in content.items() if key != "sha256"})
        # The text too: another spelling of the same content is not what was written.
        complete = text == json_text(content)
    except (ValueError, RecursionError):  # NaN, half a surrogate pair: nothing that we wrote
        actual, complete = None, False
    if not complete or digest != actual:
        raise BundleError(f"{path}: its content differs from what was written (SHA-256); {COPY_AGAIN}")
    for key, kind in _KINDS.items():
        if not isinstance(content.get(key), kind):
            raise BundleError(f"{path}: entry {key!r} is missing or not a {kind.__name__}; {COPY_AGAIN}")
