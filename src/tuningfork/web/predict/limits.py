"""What a service takes: the limits of every request, and those of pictures."""

from __future__ import annotations

from dataclasses import dataclass

from ...images.image import MAX_PIXELS
from ..limits import MIB, RequestLimits

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits(RequestLimits):
    """Limits of a service; those of requests as in `RequestLimits`.

    Parameters
    ----------
    pictures : int
        Pictures, or positions, in one request; beyond it, 413.
    picture_bytes : int
        Of one picture's file; beyond it, an error of its row.
    pixels : int
        Of one picture, width × height; beyond it, an error of its row.
    kept_rows : int
        Rows of results that are kept for download; the oldest go first.

    Raises
    ------
    ValueError
        If one is not above 0, or more than a reader takes.
    """

    pictures: int = 200
    picture_bytes: int = 32 * MIB
    pixels: int = MAX_PIXELS
    kept_rows: int = 100_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pixels > MAX_PIXELS:
            raise ValueError(f"limit pixels = {self.pixels}; at most {MAX_PIXELS} are read")
