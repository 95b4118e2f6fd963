"""Tables on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from .._utils.text import escape_controls

__all__ = ["screen"]


def screen() -> Console:
    """Where tables are printed."""
    # A pipe has no width of its own; rich would fold tables at 80 columns.
    console = _SafeConsole(markup=False, emoji=False)
    return console if console.is_terminal else _SafeConsole(width=120, markup=False, emoji=False)


class _SafeConsole(Console):
    """Cells of tables are strangers' texts: no markup, and control characters are escaped."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escape_controls(text, "\n\t"), **options)
