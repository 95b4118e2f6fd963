"""Sources of images by position: one protocol for mosaics on disk and for services."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..images.image import ImageError

__all__ = ["Cutout", "Provenance", "SkySource", "check_square", "utc_text"]

#: Arcseconds: beyond this no galaxy is meant, and the plane of the image is no sky any more.
MAX_SIZE = 3 * 3600.0


@dataclass(frozen=True)
class Provenance:
    """Where a cutout comes from.

    Parameters
    ----------
    source, layer : str
        Such as ``legacy`` and ``ls-dr10``, or ``mosaic`` and the file's name.
    pixel_scale : float
        Arcseconds a pixel of the image.
    time : str
        When it was cut out or fetched, UTC, as ``2026-11-24T08:00:00Z``.
    address : str
        The service's address, without secrets; "" for files.
    """

    source: str
    layer: str
    pixel_scale: float
    time: str
    address: str = ""


@dataclass(frozen=True, eq=False)
class Cutout:
    """An image of a position on the sky.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        Red, green, blue in 0…255; north is up (row 0), east is left (column 0).
    provenance : Provenance
    warning : str
        What the user should know of it, such as a share of the frame without data; "" if nothing.
    """

    rgb: NDArray[np.uint8]
    provenance: Provenance
    warning: str = ""


def utc_text(seconds: float) -> str:
    """Seconds since 1970 as `Provenance.time`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class SkySource(Protocol):
    """Images by position. Safe to call from many threads."""

    def cutout(self, ra: float, dec: float, size: float, pixels: int) -> Cutout:
        """The square of `size` arcseconds a side around a position, `pixels` × `pixels`.

        Parameters
        ----------
        ra, dec : float
            ICRS, degrees.

        Raises
        ------
        ImageError
            If there is no image of it; the message is the reason, for the row's `error`.
        """
        ...


def check_square(ra: float, dec: float, size: float) -> None:
    """Raise ImageError for a position (degrees) or a size (arcsec) that is not on the sky."""
    if not (math.isfinite(ra) and math.isfinite(dec)):
        raise ImageError("no position: right ascension or declination is not a number")
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise ImageError(f"position RA {ra:g}, Dec {dec:g}: outside of 0–360° and ±90°")
    if not 0 < size <= MAX_SIZE:
        raise ImageError(f"a size of {size:g} arcsec; more than 0 and at most {MAX_SIZE:g} are cut out")
