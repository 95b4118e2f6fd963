"""A cutout server of one's own: an address with gaps for the position."""

from __future__ import annotations

import string

from .client import Client
from .image_service import ImageService

__all__ = ["GAPS", "is_template", "template"]

#: What may stand in braces in the address.
GAPS = {
    "ra": "right ascension, degrees",
    "dec": "declination, degrees",
    "pixels": "pixels a side",
    "size": "arcseconds a side",
    "size_degrees": "degrees a side",
    "pixel_scale": "arcseconds a pixel",
    "layer": "the value of --layer",
}
MAX_PIXELS = 4096


def is_template(address: str) -> bool:
    """Whether this is an address with gaps."""
    return address.startswith(("http://", "https://")) and "{" in address


def template(client: Client, address: str, layer: str = "") -> ImageService:
    """Images (JPEG, PNG or WebP; north up, east left) from ``https://my.server/cut?ra={ra}&dec={dec}&fov={size}``.

    Raises
    ------
    ValueError
        If a gap is none of `GAPS`, or the position has none.
    """
    try:
        gaps = {name for _, name, _, _ in string.Formatter().parse(address) if name is not None}
    except ValueError as error:
        raise ValueError(f"{address}: {error}") from None
    if unknown := sorted(gaps - GAPS.keys()):
        raise ValueError(f"{address}: {{{unknown[0]}}} is none of {', '.join(f'{{{gap}}}' for gap in GAPS)}")
    if not {"ra", "dec"} <= gaps:
        raise ValueError(f"{address}: needs {{ra}} and {{dec}} where the position belongs")

    def filled(ra: float, dec: float, size: float, pixels: int) -> str:
        place = {"ra": f"{ra:.7f}", "dec": f"{dec:.7f}", "pixels": pixels, "layer": layer}
        scale = {"size": f"{size:.6g}", "size_degrees": f"{size / 3600:.9g}", "pixel_scale": f"{size / pixels:.6g}"}
        return address.format(**place, **scale)

    return ImageService(client, "server", layer, filled, max_pixels=MAX_PIXELS)
