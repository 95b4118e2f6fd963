"""The cutout service of the DESI Legacy Imaging Surveys' viewer.

Interface: github.com/legacysurvey/imagine, map/views.py (`get_cutout`, commit 8402fc3): ``jpeg-cutout`` with `ra`,
`dec`, `layer`, `pixscale` (arcsec) and `size` (pixels, silently cut to 3000), north up and east left; outside of the
footprint one colour, for an unknown layer the page "no such layer" with status 200.
"""

from __future__ import annotations

from urllib.parse import urlencode

from .client import Client
from .image_service import ImageService
from .registry import SurveyOptions, register_survey

__all__ = ["BASE", "LAYER", "legacy"]

BASE = "https://www.legacysurvey.org/viewer"
LAYER = "ls-dr10"
MAX_PIXELS = 3000


@register_survey("legacy")
def legacy(client: Client, options: SurveyOptions) -> ImageService:
    """DESI Legacy Imaging Surveys: layers ``ls-dr10``, ``ls-dr9-north``, ``sdss``, ``unwise-neo7``, ``hsc-dr3`` …"""
    layer, base = options.layer or LAYER, (options.base or BASE).rstrip("/")

    def address(ra: float, dec: float, size: float, pixels: int) -> str:
        query = {"ra": f"{ra:.7f}", "dec": f"{dec:.7f}", "layer": layer, "pixscale": f"{size / pixels:.6g}"}
        return f"{base}/jpeg-cutout?{urlencode({**query, 'size': pixels})}"

    return ImageService(client, "legacy", layer, address, max_pixels=MAX_PIXELS)
