"""Tables on the terminal: one look for all commands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from .._utils.text import escape_controls

__all__ = ["print_table", "screen"]

#: Width of what is no terminal, such as a pipe; rich would fold tables at 80 columns.
WIDTH = 120
#: Also with an interval, a spread or a unit behind it.
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?[%/…±(×].*)?")


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", best: Sequence[bool] = ()
) -> None:
    """Print a table; its first column is not folded, and columns of numbers are aligned to the right.

    Parameters
    ----------
    header : C texts
    rows : sequences of C cells
        Texts or numbers; None: a dash.
    title : str
    best : sequence of bool
        Rows to set in bold.
    """
    cells = [["–" if cell is None else str(cell) for cell in row] for row in rows]
    columns = [
        Column(name, justify="right" if _is_numeric([row[at] for row in cells]) else "left", no_wrap=at == 0)
        for at, name in enumerate(header)
    ]
    look: dict[str, Any] = {"box": SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(*columns, **look)
    for number, row in enumerate(cells):
        table.add_row(*row, style="bold" if number < len(best) and best[number] else "")
    console = screen()
    if title:
        console.print()
        # Not the table's own, which would be folded to its width.
        console.print(title, style="bold", highlight=False, soft_wrap=True)
    console.print(table)


def _is_numeric(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell not in ("", "–")]
    return bool(filled) and all(_NUMBER.fullmatch(cell) for cell in filled)


def screen() -> Console:
    """Where tables are printed."""
    console = _SafeConsole(markup=False, emoji=False)
    return console if console.is_terminal else _SafeConsole(width=WIDTH, markup=False, emoji=False)


class _SafeConsole(Console):
    """Cells of tables are strangers' texts: no markup, and control characters are escaped."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escape_controls(text, "\n\t"), **options)
