"""Any HiPS (IVOA, 2017) through the hips2fits service of CDS.

Interface: alasky.cds.unistra.fr/hips-image-services/hips2fits, as `astroquery.hips2fits` calls it: `hips`, `ra`, `dec`
and `fov` (degrees, of the larger side), `width`, `height`, `projection`, `coordsys`, `rotation_angle`, `format` (fits,
jpg, png). Errors come as JSON with `title` and `description`. A HiPS of one band is drawn in grey, its contrast
chosen for each image by percentiles (`min_cut`, `max_cut`).
"""

from __future__ import annotations

from urllib.parse import urlencode

from .client import Client
from .image_service import ImageService
from .registry import SurveyOptions, register_survey

__all__ = ["BASE", "LAYER", "hips"]

BASE = "https://alasky.cds.unistra.fr/hips-image-services/hips2fits"
LAYER = "CDS/P/SDSS9/color"
#: The service draws more, of 50 million pixels; no galaxy needs it.
MAX_PIXELS = 4096


@register_survey("hips", example="hips:CDS/P/SDSS9/color")
def hips(client: Client, options: SurveyOptions) -> ImageService:
    """Any HiPS by its identifier, such as ``CDS/P/SDSS9/color`` or ``CDS/P/PanSTARRS/DR1/color-i-r-g``."""
    layer, base = options.identifier or options.layer or LAYER, (options.base or BASE).rstrip("/")

    def address(ra: float, dec: float, size: float, pixels: int) -> str:
        place = {"ra": f"{ra:.7f}", "dec": f"{dec:.7f}", "fov": f"{size / 3600:.9g}"}
        drawn = {"width": pixels, "height": pixels, "projection": "TAN", "coordsys": "icrs", "rotation_angle": "0.0"}
        return f"{base}?{urlencode({'hips': layer, **place, **drawn, 'format': 'jpg'})}"

    return ImageService(client, "hips", layer, address, max_pixels=MAX_PIXELS)
