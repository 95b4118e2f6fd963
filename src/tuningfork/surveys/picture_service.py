"""A service that gives a whole picture for an address: what the single surveys' files have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

from .._utils.urls import public_url
from ..images.image import ImageError
from .client import Answer, Client
from .cutout import Cutout, Provenance
from .responses import picture_in

__all__ = ["AddressOf", "PictureService", "check_place", "stamp"]

#: Right ascension, declination (degrees, ICRS), side (arcseconds), pixels a side → address.
AddressOf = Callable[[float, float, float, int], str]
#: Arcseconds: beyond this no galaxy is meant, and the plane of the picture is no sky any more.
MAX_SIZE = 3 * 3600.0


class PictureService:
    """Cutouts as a service draws them: north up, east left, in colours of its own; see `source.SkySource`.

    Parameters
    ----------
    address_of : function
        The request for a place.
    min_pixels, max_pixels : int
        What the service draws; beyond this it would silently draw something else.
    """

    def __init__(
        self, client: Client, name: str, layer: str, address_of: AddressOf, *, min_pixels: int = 8, max_pixels: int
    ) -> None:
        self._client, self._name, self._layer, self._address_of = client, name, layer, address_of
        self._limits = min_pixels, max_pixels

    def cutout(self, ra: float, dec: float, size: float, pixels: int) -> Cutout:
        """See `SkySource.cutout`."""
        check_place(ra, dec, size)
        least, most = self._limits
        if not least <= pixels <= most:
            raise ImageError(f"{pixels} px a side; {self._name} draws {least} to {most}")
        address = self._address_of(ra, dec, size, pixels)

        def read(answer: Answer) -> Cutout:
            told = Provenance(self._name, self._layer, size / pixels, stamp(answer.time), public_url(address))
            return Cutout(picture_in(answer, pixels), told)

        return self._client.get(address, read)


def check_place(ra: float, dec: float, size: float) -> None:
    """Raise ImageError for what is no place in the sky."""
    if not (math.isfinite(ra) and math.isfinite(dec)):
        raise ImageError("no position")
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise ImageError(f"RA {ra:g}, Dec {dec:g}: outside of 0–360° and ±90°")
    if not 0 < size <= MAX_SIZE:
        raise ImageError(f"a size of {size:g} arcsec; more than 0 and at most {MAX_SIZE:g} are cut out")


def stamp(seconds: float) -> str:
    """Seconds since 1970 as `Provenance.time`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
