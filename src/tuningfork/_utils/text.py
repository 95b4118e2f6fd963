"""Names and messages as text that any table and any terminal can hold."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "bounds_text",
    "counted",
    "decimals",
    "escape_controls",
    "native_path",
    "nearest",
    "one_line",
    "percent",
    "text",
]

#: Control characters of ASCII and Latin-1, line and paragraph separators, and the marks that turn the reading
#: direction (as in "Trojan Source", Boucher & Anderson 2023): all that moves a terminal's cursor or forges a line.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def text(name: str) -> str:
    """A file's name as valid Unicode: bytes that are no UTF-8 are written out as ``\\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def native_path(name: str) -> str:
    """A file's name as this system's locale spells it: the locale may know fewer letters than a table.

    Where the locale is not UTF-8, a name that it cannot spell stands for its UTF-8 bytes.
    """
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return os.fsdecode(name.encode("utf-8", "surrogateescape"))
    return name


def one_line(message: object, limit: int = 200) -> str:
    """An error or a message on one line of at most `limit` characters, as a table's cell needs it."""
    return " ".join(str(message).split())[:limit] or type(message).__name__


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun.

    Parameters
    ----------
    one, many : str
        The noun, and its plural if that is not the noun with an s.

    Examples
    --------
    >>> counted(1, "run"), counted(2, "run"), counted(0, "galaxy", "galaxies")
    ('1 run', '2 runs', '0 galaxies')
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def decimals(value: float | None, digits: int = 4) -> str:
    """A number with so many decimals; a dash for None.

    Examples
    --------
    >>> decimals(0.09121), decimals(None), decimals(0.5, 2)
    ('0.0912', '–', '0.50')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def percent(share: float) -> str:
    """A share as a whole percentage.

    Examples
    --------
    >>> percent(0.578)
    '58 %'
    """
    return f"{100 * share:.0f} %"


def bounds_text(low: float | None, high: float | None, digits: int = 4) -> str:
    """Both ends of an interval; a dash for None.

    Examples
    --------
    >>> bounds_text(0.0905, 0.09121), bounds_text(None, None), bounds_text(0, 1, 2)
    ('0.0905…0.0912', '–', '0.00…1.00')
    """
    return "–" if low is None or high is None else f"{decimals(low, digits)}…{decimals(high, digits)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that `word` is like, for the end of an error; "" if it is like none.

    Examples
    --------
    >>> f"no model 'defualt'{nearest('defualt', ['default', 'fast'])}"
    "no model 'defualt'; did you mean 'default'?"
    """
    spelled = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), spelled, 1, 0.6)
    return f"; did you mean {spelled[near[0]]!r}?" if near else ""


def escape_controls(message: str, keep: str = "") -> str:
    """Escape control characters, so that a stranger's file name cannot move the cursor or forge a line.

    Parameters
    ----------
    keep : str
        Control characters that stay, such as ``"\\n\\t"`` in a text that has lines of its own.

    Examples
    --------
    >>> print(escape_controls("galaxy\\x1b[2J.jpg"))
    galaxy\\x1b[2J.jpg
    """

    def escaped(match: re.Match[str]) -> str:
        sign = match[0]
        return sign if sign in keep else sign.encode("unicode_escape").decode()

    return _CONTROLS.sub(escaped, message)
