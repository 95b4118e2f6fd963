"""Names and messages as text that any table and terminal can hold."""

from __future__ import annotations

__all__ = ["reason", "text"]


def text(name: str) -> str:
    """A file's name as tables can hold it: bytes that are no UTF-8 are written out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def reason(error: Exception) -> str:
    """The message of an exception on one line, as a table's cell needs it."""
    return " ".join(str(error).split())[:200] or type(error).__name__
