"""Texts and numbers as Arrow arrays, by their memory: Arrow's own way in imports pandas where it is, for a second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["number_array", "number_arrays", "text_array", "vector_array", "vectors"]

#: A longer text array has offsets of 64 bits.
_MOST = 2**31 - 1


def text_array(values: Iterable[str | bytes | None], kind: pa.DataType | None = None) -> pa.Array:
    """Texts, or bytes, as an Arrow array; None becomes null.

    Parameters
    ----------
    kind : pa.string() or pa.binary()
        None: `pa.string()`.

    Raises
    ------
    OverflowError
        If they are 2 GiB or more together, beyond what such an array holds.
    """
    cells = list(values)
    encoded = [value.encode() if isinstance(value, str) else value or b"" for value in cells]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    if offsets[-1] > _MOST:
        raise OverflowError(f"texts of {offsets[-1]} bytes do not fit into one array; take fewer rows at a time")
    known = None
    if None in cells:
        bits = np.packbits(np.array([cell is not None for cell in cells]), bitorder="little")
        known = pa.py_buffer(bits)
    buffers = [known, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind or pa.string(), len(encoded), buffers)


def number_arrays(
    values: NDArray[Any], dtype: type[np.generic], valid: NDArray[np.bool_] | None = None
) -> list[pa.Array]:
    """The K columns of numbers or truths (N, K) as Arrow arrays of `dtype`.

    Parameters
    ----------
    valid : (N,) bool, optional
        Rows that are not null; None: a number is null where it is NaN.
    """
    numbers = np.ascontiguousarray(values.T, dtype)
    known = np.packbits(~np.isnan(numbers) if valid is None else valid[None], axis=1, bitorder="little")
    known = np.broadcast_to(known, (len(numbers), known.shape[1]))
    if dtype is np.bool_:
        numbers = np.packbits(numbers, axis=1, bitorder="little")
    return [
        pa.Array.from_buffers(pa.from_numpy_dtype(dtype), len(values), [pa.py_buffer(bits), pa.py_buffer(row)])
        for bits, row in zip(known, numbers, strict=True)
    ]


def number_array(values: NDArray[Any], dtype: type[np.generic], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """`number_arrays` of a single column (N,)."""
    return number_arrays(values[:, None], dtype, valid)[0]


def vector_array(values: NDArray[np.float32] | NDArray[np.float16]) -> pa.Array:
    """Vectors (N, D) as an Arrow array of N lists of D numbers; one with a NaN is null."""
    count, width = values.shape
    kind = pa.from_numpy_dtype(values.dtype)
    flat = pa.Array.from_buffers(kind, count * width, [None, pa.py_buffer(np.ascontiguousarray(values))])
    known = pa.py_buffer(np.packbits(~np.isnan(values).any(1), bitorder="little"))
    return pa.Array.from_buffers(pa.list_(kind, width), count, [known], children=[flat])


def vectors(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float32]:
    """The inverse of `vector_array`, (N, D) float32; NaN where it is null."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    width = column.type.list_size
    parts = [np.empty((0, width), np.float32)]
    for chunk in chunks:
        # Not `flatten`, which leaves nulls out.
        part = chunk.values.slice(chunk.offset * width, len(chunk) * width).to_numpy(zero_copy_only=False)
        part = part.reshape(-1, width).astype(np.float32)
        part[chunk.is_null().to_numpy(zero_copy_only=False)] = np.nan
        parts.append(part)
    return np.concatenate(parts)
