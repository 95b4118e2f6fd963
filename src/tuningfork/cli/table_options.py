"""Options of catalogues: which columns mean what, and which the output takes over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from .console import print_note

__all__ = [
    "TABLES",
    "BytesColumnOption",
    "DecColumnOption",
    "IdColumnOption",
    "KeepColumnsOption",
    "KeepOfPredictionsOption",
    "PathColumnOption",
    "RaColumnOption",
    "chosen_columns",
    "columns_to_keep",
    "listed",
    "print_column_changes",
]

TABLES = "Catalogues"
IdColumnOption = Annotated[str | None, typer.Option(help="The galaxies' identifiers.", rich_help_panel=TABLES)]
PathColumnOption = Annotated[str | None, typer.Option(help="Their images' files.", rich_help_panel=TABLES)]
BytesColumnOption = Annotated[
    str | None, typer.Option(help="Their images themselves, as bytes.", rich_help_panel=TABLES)
]
RaColumnOption = Annotated[str | None, typer.Option(help="Right ascension, degrees.", rich_help_panel=TABLES)]
DecColumnOption = Annotated[str | None, typer.Option(help="Declination, degrees.", rich_help_panel=TABLES)]
KeepColumnsOption = Annotated[
    str,
    typer.Option(
        "--keep-columns",
        metavar="NAMES",
        help="Columns of the catalogue to keep in the output: all, none, or names separated by commas.",
        rich_help_panel=TABLES,
    ),
]
KeepOfPredictionsOption = Annotated[
    str,
    typer.Option(
        "--keep-columns",
        metavar="NAMES",
        help="Catalogue columns of the predictions to keep in the output: all, none, or names separated by commas.",
    ),
]
#: Names of columns that are printed.
LISTED = 10


def columns_to_keep(value: str) -> list[str] | None:
    """The names of `KeepColumnsOption`; None: all."""
    if value.strip().lower() == "all":
        return None
    if value.strip().lower() in ("none", ""):
        return []
    names = [name.strip() for name in value.split(",")]
    if not all(names):
        raise typer.BadParameter("all, none, or names separated by commas", param_hint="--keep-columns")
    return names


def chosen_columns(keep: Sequence[str] | None, names: Sequence[str], where: str) -> list[str]:
    """Of a table's columns those that are kept.

    Raises
    ------
    InputError
        If one that is named is not there.
    """
    from .._utils.errors import InputError
    from .._utils.text import nearest

    if keep is None:
        return list(names)
    for name in keep:
        if name not in names:
            raise InputError(f"{where}: no column {name!r}{nearest(name, names)}; it has {listed(list(names))}")
    return [name for name in names if name in keep]


def print_column_changes(renamed: dict[str, str], left_out: Sequence[tuple[str, str]]) -> None:
    """Print which columns of a catalogue have another name in the output, or are not there."""
    if renamed:
        pairs = [f"{old} → {new}" for old, new in renamed.items()]
        print_note(f"columns whose names the output has already: {listed(pairs)}")
    if left_out:
        print_note(f"columns left out: {listed([f'{name} ({why})' for name, why in left_out])}")


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
