"""SkyServer's ImgCutout, which made the pictures of Galaxy Zoo 2.

Interface: skyserver.sdss.org, "Finding Chart": ``getjpeg`` with `ra`, `dec`, `scale` (arcsec a pixel), `width` and
`height` (64 to 2048 pixels). A place outside of the footprint is drawn as a black picture, perhaps with a line of
text: a picture with text cannot be told from a sky.
"""

from __future__ import annotations

from urllib.parse import urlencode

from .client import Client
from .picture_service import PictureService

__all__ = ["BASE", "LAYER", "sdss"]

BASE = "https://skyserver.sdss.org"
#: Data release; part of the address.
LAYER = "dr18"
MIN_PIXELS, MAX_PIXELS = 64, 2048


def sdss(client: Client, layer: str = LAYER, base: str = BASE) -> PictureService:
    """Pictures of a data release: i, r and g as red, green and blue (Lupton et al. 2004)."""

    def address(ra: float, dec: float, size: float, pixels: int) -> str:
        asked = {"ra": f"{ra:.7f}", "dec": f"{dec:.7f}", "scale": f"{size / pixels:.6g}"}
        return f"{base}/{layer}/SkyServerWS/ImgCutout/getjpeg?{urlencode({**asked, 'width': pixels, 'height': pixels})}"

    return PictureService(client, "sdss", layer, address, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
