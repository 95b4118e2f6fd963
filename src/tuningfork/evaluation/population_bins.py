"""Bins of a column to count galaxies by: by edges, of equally many galaxies, or by its words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.errors import TuningforkError

__all__ = ["BinError", "Bins", "bins_of", "parse_bins"]

Edge = tuple[float | None, float | None]

#: More bins than this are no bins: a column of identifiers, perhaps.
MAX_BINS = 100
#: Bins of equally many galaxies, where the user names none.
DEFAULT_BINS = 5


class BinError(TuningforkError, ValueError):
    """Bins that make no sense, or a column that cannot be binned; the message says why."""


@dataclass(frozen=True)
class Bins:
    """Bins of a column's values.

    Parameters
    ----------
    column : str
        "" for one bin of all galaxies.
    names : tuple of str
        Of the bins, for people.
    edges : tuple of (low, high)
        Of a bin of numbers, low included, high excluded but for the last bin; None where there is none.
    words : tuple of str
        The values of a column of texts, one a bin; () for numbers.
    """

    column: str = ""
    names: tuple[str, ...] = ("all",)
    edges: tuple[Edge, ...] = ((None, None),)
    words: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """Why a row may be in no bin; `places` gives -1 for the first, -2 for the second."""
        if not self.column:
            return ()
        return (f"{self.column} is blank", f"{self.column} is in no bin")

    def places(self, values: NDArray[Any] | None, count: int) -> NDArray[np.intp]:
        """Return the bin of each of the values (n,), negative where it is in none; see `left_out`.

        Raises
        ------
        BinError
            If the bins have edges, and the values are texts.
        """
        if not self.column or values is None:
            return np.zeros(count, np.intp)
        if self.words:
            place = {word: number for number, word in enumerate(self.words)}
            return np.array([place.get(value, -2) if value else -1 for value in values.tolist()], np.intp)
        if values.dtype.kind not in "fiub":
            raise _texts(self.column)
        edges = np.array([low for low, _ in self.edges] + [self.edges[-1][1]], np.float64)
        out = np.searchsorted(edges, values, "right") - 1
        # The last bin contains its upper edge.
        out = np.where(values == edges[-1], len(edges) - 2, out)
        out = np.where((values < edges[0]) | (values > edges[-1]), -2, out)
        return np.where(np.isnan(values), -1, out).astype(np.intp)


def parse_bins(text: str | None) -> int | tuple[float, ...] | None:
    """Parse ``5`` (bins of equally many galaxies) or ``0,0.05,0.1`` (edges). Raises BinError."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise BinError(
            f"bins {text!r}: a number of bins, such as 5, or edges, such as 0,0.05,0.1, are expected"
        ) from None
    if len(numbers) == 1:
        if not numbers[0].is_integer() or not 1 <= numbers[0] <= MAX_BINS:
            raise BinError(f"bins {text!r}: a number of bins from 1 to {MAX_BINS} is expected, or two or more edges")
        return int(numbers[0])
    if not np.isfinite(numbers).all() or not (np.diff(numbers) > 0).all():
        raise BinError(f"bins {text!r}: edges must be finite and ascend")
    if len(numbers) > MAX_BINS + 1:
        raise BinError(f"{len(numbers) - 1} bins; {MAX_BINS} are the most")
    return tuple(numbers)


def bins_of(column: str, bins: int | Sequence[float] | None, values: Iterable[NDArray[Any]]) -> Bins:
    """Return the bins of a column.

    Parameters
    ----------
    column : str
    bins : int, edges or None
        Number of bins of equally many galaxies; or edges; None: 5, or the words of a column of texts.
    values : iterable of (n,) of floats or texts
        The column; it is read only where edges are not given.

    Raises
    ------
    BinError
        If the column has no values, or too many different words.
    """
    if isinstance(bins, Sequence):
        return _by_edges(column, bins)
    parts = list(values)
    if parts and parts[0].dtype.kind not in "fiub":
        return _by_words(column, bins, parts)
    known = np.concatenate(parts) if parts else np.empty(0)
    known = known[np.isfinite(known)]
    if not len(known):
        raise BinError(f"column {column!r} has no numbers to bin")
    edges = np.unique(np.quantile(known, np.linspace(0, 1, (bins or DEFAULT_BINS) + 1)))
    if len(edges) == 1:
        raise BinError(f"column {column!r} has one value only, {edges[0]:g}; count without --by")
    return _by_edges(column, edges.tolist())


def _by_edges(column: str, edges: Sequence[float]) -> Bins:
    pairs = list(pairwise(edges))
    names = tuple(f"{low:.4g}…{high:.4g}" for low, high in pairs)
    return Bins(column, names, tuple(pairs))


def _by_words(column: str, bins: object, parts: Sequence[NDArray[Any]]) -> Bins:
    if bins is not None:
        raise _texts(column)
    words = sorted({word for part in parts for word in part.tolist()} - {""})
    if not words:
        raise BinError(f"column {column!r} is blank in all rows")
    if len(words) > MAX_BINS:
        raise BinError(f"column {column!r} has {len(words)} different texts; {MAX_BINS} bins are the most")
    return Bins(column, tuple(words), ((None, None),) * len(words), tuple(words))


def _texts(column: str) -> BinError:
    return BinError(f"column {column!r} holds texts, each of which is a bin; leave out --bins")
