"""Embeddings: features of a network as a column of a table, and which model they are of."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from .._utils.errors import TuningforkError
from .._utils.text import counted
from ..tables import Column, arrow_schema, ucd

__all__ = ["COLUMN", "Embedder", "EmbeddingError", "embedder_of"]

#: Name of the column.
COLUMN = "embedding"


class EmbeddingError(TuningforkError, ValueError):
    """Embeddings that are missing, damaged, or of another model; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Embedder:
    """Whose embeddings they are. Those of two embedders have nothing to do with one another.

    Parameters
    ----------
    model, sha256 : str
        The bundle's name and digest.
    n_views : int
        Rotated and reflected views that they are the mean of.
    width : int
        D, numbers in each.
    """

    model: str
    sha256: str
    n_views: int
    width: int

    @property
    def field(self) -> pa.Field:
        """The column: lists of D float32, null without a prediction; its metadata say whose they are."""
        text = (
            f"Features of the networks before their last layer, mean over {counted(self.n_views, 'view')}, "
            f"several networks side by side: {self.width} numbers of model {self.model}, SHA-256 {self.sha256}; "
            "null: no prediction"
        )
        field = arrow_schema([Column(COLUMN, pa.list_(pa.float32(), self.width), text, "", ucd.VALUE)]).field(0)
        about = {"model": self.model, "sha256": self.sha256, "views": str(self.n_views)}
        return field.with_metadata({**field.metadata, **about})

    def check(self, other: Embedder, where: str) -> None:
        """Raise EmbeddingError if embeddings of `other`, which are at `where`, cannot be compared with these."""
        for name, mine, its in (
            ("model", f"{self.model}, SHA-256 {self.sha256[:12]}…", f"{other.model}, SHA-256 {other.sha256[:12]}…"),
            ("number of views", self.n_views, other.n_views),
            ("width", self.width, other.width),
        ):
            if mine != its:
                raise EmbeddingError(
                    f"{where}: its embeddings are of another {name} ({its}, not {mine}); predict again with the same"
                )


def embedder_of(schema: pa.Schema, where: str) -> Embedder:
    """Whose embeddings a prediction table of ours holds.

    Raises
    ------
    EmbeddingError
        If it holds none, or does not say whose.
    """
    if COLUMN not in schema.names:
        raise EmbeddingError(f"{where}: no column {COLUMN!r}; write it with predict --embeddings")
    field = schema.field(COLUMN)
    about = {key.decode(): value.decode("utf-8", "replace") for key, value in (field.metadata or {}).items()}
    if not pa.types.is_fixed_size_list(field.type) or field.type.value_type != pa.float32():
        raise EmbeddingError(f"{where}: column {COLUMN!r} is {field.type}, not lists of D float32")
    try:
        return Embedder(about["model"], about["sha256"], int(about["views"]), field.type.list_size)
    except (KeyError, ValueError):
        raise EmbeddingError(
            f"{where}: column {COLUMN!r} does not say of which model it is; write it with predict --embeddings"
        ) from None
