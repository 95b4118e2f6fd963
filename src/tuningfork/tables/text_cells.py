"""Columns as the cells of formats that are text: VOTable and ECSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Vector", "Words", "rows_of_text"]

#: A format's own words for truths, numbers that are not finite, and what is not known.
Words = Mapping[str, str]


@dataclass(frozen=True)
class Vector:
    """What stands before, between and after the numbers of a vector, and for those that are not finite."""

    before: str
    between: str
    after: str
    words: Words


def rows_of_text(
    table: pa.Table, words: Words, quoted: Callable[[pa.Array], pa.Array], vector: Vector, between: str
) -> list[str]:
    """Every row of a table as one text.

    Parameters
    ----------
    table : pa.Table
        Of the types of `columns.plain_schema`.
    words : mapping
        What stands for ``false``, ``true``, ``null``, ``nan``, ``inf`` and ``-inf``.
    quoted : function
        Makes texts safe.
    vector : Vector
        How a format writes several numbers in one cell.
    between : between two cells
    """
    table = table.combine_chunks()
    cells = [_cells(column.combine_chunks(), words, quoted, vector) for column in table.columns]
    return pc.binary_join_element_wise(*cells, between).to_pylist() if cells else []


def _cells(values: pa.Array, words: Words, quoted: Callable[[pa.Array], pa.Array], vector: Vector) -> pa.Array:
    kind = values.type
    if pa.types.is_boolean(kind):
        texts = pc.if_else(values, words["true"], words["false"])
    elif pa.types.is_fixed_size_list(kind):
        texts = _vectors(values, vector)
    elif pa.types.is_floating(kind):
        texts = _numbers(values, words)
    elif pa.types.is_integer(kind):
        texts = values.cast(pa.string())
    else:
        # None of the formats knows a null text from an empty one.
        return quoted(pc.fill_null(values, ""))
    return pc.fill_null(texts, words["null"])


def _numbers(values: pa.Array, words: Words) -> pa.Array:
    texts = values.cast(pa.string())
    for infinity in ("inf", "-inf"):
        texts = pc.if_else(pc.equal(values, float(infinity)), words[infinity], texts)
    return pc.if_else(pc.is_nan(values), words["nan"], texts)


def _vectors(values: pa.Array, vector: Vector) -> pa.Array:
    known, size = values.drop_null(), values.type.list_size
    numbers = pc.fill_null(_numbers(known.flatten(), vector.words), vector.words["nan"])
    offsets = pa.array(range(0, len(numbers) + 1, size), pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, numbers), vector.between)
    # A vector that is not known is one of numbers that are not known, as FITS has it.
    texts = pc.replace_with_mask(
        pa.array([vector.between.join([vector.words["nan"]] * size)] * len(values)), values.is_valid(), joined
    )
    return pc.binary_join_element_wise(vector.before, texts, vector.after, "")
