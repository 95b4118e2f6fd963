"""SkyServer's ImgCutout, the source of the images of Galaxy Zoo 2.

Interface: skyserver.sdss.org, "Finding Chart": ``getjpeg`` with `ra`, `dec`, `scale` (arcsec a pixel), `width` and
`height` (64 to 2048 pixels). A place outside of the footprint is drawn as a black image, perhaps with a line of
text: an image with text cannot be distinguished from a sky.
"""

from __future__ import annotations

from urllib.parse import urlencode

from .client import Client
from .image_service import ImageService
from .registry import SurveyOptions, register_survey

__all__ = ["BASE", "LAYER", "sdss"]

BASE = "https://skyserver.sdss.org"
#: Data release; part of the address.
LAYER = "dr18"
MIN_PIXELS, MAX_PIXELS = 64, 2048


@register_survey("sdss")
def sdss(client: Client, options: SurveyOptions) -> ImageService:
    """SDSS, by data release: i, r and g as red, green and blue (Lupton et al. 2004)."""
    layer, base = options.layer or LAYER, (options.base or BASE).rstrip("/")

    def address(ra: float, dec: float, size: float, pixels: int) -> str:
        query = {"ra": f"{ra:.7f}", "dec": f"{dec:.7f}", "scale": f"{size / pixels:.6g}"}
        return f"{base}/{layer}/SkyServerWS/ImgCutout/getjpeg?{urlencode({**query, 'width': pixels, 'height': pixels})}"

    return ImageService(client, "sdss", layer, address, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
