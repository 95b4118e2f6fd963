"""An image service: one address, one image; what the single surveys' modules have in common."""

from __future__ import annotations

from collections.abc import Callable

from .._utils.urls import public_url
from ..images.image import ImageError
from .client import Answer, Client
from .cutout import Cutout, Provenance, check_square, utc_text
from .responses import image_in

__all__ = ["AddressOf", "ImageService"]

#: Right ascension, declination (degrees, ICRS), side (arcseconds), pixels a side → address.
AddressOf = Callable[[float, float, float, int], str]


class ImageService:
    """Cutouts as a service draws them: north up, east left, in colours of its own; see `cutout.SkySource`.

    Parameters
    ----------
    address_of : function
        The address of the request for a position.
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
        check_square(ra, dec, size)
        least, most = self._limits
        if not least <= pixels <= most:
            raise ImageError(f"{pixels} px a side; {self._name} draws {least} to {most}")
        address = self._address_of(ra, dec, size, pixels)

        def read(answer: Answer) -> Cutout:
            provenance = Provenance(self._name, self._layer, size / pixels, utc_text(answer.time), public_url(address))
            return Cutout(image_in(answer, pixels), provenance)

        return self._client.get(address, read)
