"""Scripts of pages that are files: modules joined to one, and the hash by which a content security policy allows it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Script", "joined", "static_text"]

_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A script for ``<script type="module">``.

    Parameters
    ----------
    text : Markup
    source : str
        The source expression that allows it in ``script-src``.
    """

    text: Markup
    source: str


def static_text(name: str) -> str:
    """The text of a file of ``display/static``."""
    return (resources.files("tuningfork.display") / "static" / name).read_text("utf-8")


@cache
def joined(*names: str) -> Script:
    """Join modules of ``display/static`` to one script that imports nothing, each after those that it uses.

    A page that is opened from a disk may not load modules; a script within it runs.
    """
    from markupsafe import Markup

    text = "\n".join(_EXPORT.sub("", _IMPORT.sub("", static_text(name))) for name in names)
    if "</script" in text.lower():
        raise ValueError(f"{', '.join(names)}: a script within a page must not hold its end tag")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"'sha256-{digest}'")
