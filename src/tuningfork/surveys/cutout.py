"""What gives pictures by position: one protocol for mosaics on disk and for services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cutout", "Provenance", "SkySource"]


@dataclass(frozen=True)
class Provenance:
    """Where a cutout comes from.

    Parameters
    ----------
    source, layer : str
        Such as ``legacy`` and ``ls-dr10``, or ``mosaic`` and the file's name.
    pixel_scale : float
        Arcseconds a pixel of the picture as it is given out.
    time : str
        When it was made or fetched, UTC, as ``2026-11-24T08:00:00Z``.
    address : str
        The service's address that gave it, without secrets; "" for files.
    """

    source: str
    layer: str
    pixel_scale: float
    time: str
    address: str = ""


@dataclass(frozen=True, eq=False)
class Cutout:
    """A picture of a place in the sky.

    Parameters
    ----------
    picture : (H, W, 3) uint8
        Red, green, blue in 0…255; north is up (row 0), east is left (column 0).
    provenance : Provenance
    warning : str
        What to tell beside the row's prediction, such as a share of the frame without data; "" if nothing.
    """

    picture: NDArray[np.uint8]
    provenance: Provenance
    warning: str = ""


class SkySource(Protocol):
    """Pictures by position. Safe to call from many threads."""

    def cutout(self, ra: float, dec: float, size: float, pixels: int) -> Cutout:
        """The square of `size` arcseconds a side around a position, `pixels` × `pixels`.

        Parameters
        ----------
        ra, dec : float
            ICRS, degrees.

        Raises
        ------
        ImageError
            If there is no picture of it; the message is the reason, for the row's `error`.
        """
        ...
