"""Catalogues that `tuningfork predict` reads: cutouts at their positions, and which of their columns it takes over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .sky_options import Request
from .table_options import print_column_changes

if TYPE_CHECKING:
    from ..inputs import Columns

__all__ = ["cut_out_positions", "with_catalogues_columns"]


def cut_out_positions(
    catalogue: str, folder: Path, request: Request, columns: Columns, keep: list[str] | None, is_resumed: bool
) -> str:
    """The table of the catalogue's cutouts, in `folder`."""
    from ..surveys import TABLE
    from .cutouts import cut_out

    # A continued run has listed the images; one that is downloaded only now would be another input.
    if not (is_resumed and (folder / TABLE).exists()):
        cut_out(catalogue, folder, request, columns, keep=keep, resume=True)
    return str(folder / TABLE)


def with_catalogues_columns(
    catalogues: Sequence[str], columns: Columns, keep: list[str] | None, predicted: Sequence[str], output: str
) -> Columns:
    """The roles of the catalogues' columns, and which of them the output takes over beside what is `predicted`."""
    from .._utils.errors import InputError
    from ..inputs import Columns, carried_columns, with_carried
    from ..surveys import CARRIED, cutouts_schema, is_cutouts
    from .mistakes import explain

    own: list[str] = []
    if columns == Columns() and all(map(is_cutouts, catalogues)):
        columns = Columns(error="error", carried=CARRIED)
        own = cutouts_schema().names
    taken = {
        *predicted,
        "ra",
        "dec",
        "embedding",
        *(column.name for _, column in columns.carried),
    }
    try:
        carried = carried_columns(catalogues, columns, taken, keep=keep, own=own)
    except InputError as error:
        raise explain(catalogues[0], error, output) from None
    print_column_changes(carried.renamed, carried.left_out)
    return with_carried(columns, carried)
