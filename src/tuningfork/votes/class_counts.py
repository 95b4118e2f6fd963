"""Clean-sample classes of a vote table: how many galaxies each has, and a table of them."""

from __future__ import annotations

import pyarrow as pa

from ..tables import Column, arrow_schema, ucd
from .clean_samples import Status
from .vote_table import VoteTable

__all__ = ["class_counts", "class_table"]


def class_counts(votes: VoteTable) -> dict[str, int]:
    """Return the number of galaxies by class, in the rules' order, then unclassified and undecided."""
    counts = {rule.name: int((votes.classes == c).sum()) for c, rule in enumerate(votes.tree.classes)}
    for status in (Status.UNCLASSIFIED, Status.UNDECIDED):
        counts[status.label] = int((votes.classes == status).sum())
    return counts


def class_table(votes: VoteTable) -> pa.Table:
    """Return a table of ID, `class` (null if there is none) and `status`."""
    listed = ", ".join(f"{c} {rule.meaning}" for c, rule in enumerate(votes.tree.classes))
    text = "classified; unclassified: fits no rule; undecided: a rule over unknown columns may fit"
    schema = arrow_schema(
        [
            Column(votes.tree.id_columns[0], pa.string(), "Identifier of the galaxy", ucd=ucd.IDENTIFIER),
            Column("class", pa.int8(), f"Class by the clean-sample rules: {listed}", ucd=ucd.CLASS),
            Column("status", pa.string(), text, ucd=ucd.STATUS),
        ]
    )
    status = [Status(min(int(c), 0)).label for c in votes.classes]
    numbers = pa.array(votes.classes, mask=votes.classes < 0)
    return pa.table([pa.array(list(votes.ids)), numbers, pa.array(status)], schema=schema)
