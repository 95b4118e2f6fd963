"""Limits of the prediction service: those of every request, and those of images."""

from __future__ import annotations

from dataclasses import dataclass

from ...images.image import MAX_PIXELS
from ..decoder import DECODE_SECONDS
from ..limits import MIB, RequestLimits

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits(RequestLimits):
    """Limits of the service; those of requests as in `RequestLimits`.

    Parameters
    ----------
    images : int
        Images, or positions, in one request; beyond it, 413.
    image_bytes : int
        File of one image; beyond it, an error of its row.
    pixels : int
        Width × height of one image; beyond it, an error of its row.
    decode_seconds : float
        To decode one image; beyond it, an error of its row.
    stored_rows : int
        Rows of results that are stored for download; the oldest are dropped first.

    Raises
    ------
    ValueError
        If one is not above 0, or more than the image reader accepts.
    """

    images: int = 200
    image_bytes: int = 32 * MIB
    pixels: int = MAX_PIXELS
    decode_seconds: float = DECODE_SECONDS
    stored_rows: int = 100_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pixels > MAX_PIXELS:
            raise ValueError(f"limit pixels = {self.pixels}; at most {MAX_PIXELS} are read")
