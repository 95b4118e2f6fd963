"""FITS images that were fetched, whole or in part → the picture of a place: north up, of the size that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images.fits.bands import Band, open_bands
from ..images.fits.framing import Framing
from ..images.fits.render import check_planes, render_bands
from ..images.fits.wcs import celestial_wcs, orientation, tangent_grid
from ..images.image import MIN_SIDE, ImageError, check_size
from .mosaic import on_grid

__all__ = ["gridded"]


def gridded(
    images: Sequence[bytes], ra: float, dec: float, size: float, pixels: int, framing: Framing
) -> tuple[NDArray[np.uint8], str]:
    """The square of `size` arcsec around a position, and what to tell of it.

    As mosaics are: laid on a grid of the images' own pixel scale, coloured, then brought to `pixels`.

    Parameters
    ----------
    images : one or three FITS files
        Bands by increasing wavelength.
    framing : Framing
        Which image of a file, and the stretch; place and size are those given here.

    Returns
    -------
    picture : (pixels, pixels, 3) uint8
        Red, green, blue; north is up (row 0), east is left (column 0).
    warning : str
        "" if there is nothing to tell.

    Raises
    ------
    ImageError
        If an image has no WCS, or no data there.
    """
    with open_bands(images[0] if len(images) == 1 else images, framing) as image:
        bands = image.bands
        side = max(MIN_SIDE, round(size / min(map(_pixel_scale, bands))))
        check_size(side, side)
        planes = on_grid(bands, tangent_grid(ra, dec, size / side, (side, side)), side)
    if planes is None:
        raise ImageError("the image that the service gave does not reach into the frame")
    warning = "; ".join((*image.warnings, *check_planes(planes, image)))
    picture = render_bands(planes, framing.stretch, size / side, is_display=image.is_display)
    return np.asarray(Image.fromarray(picture).resize((pixels, pixels), Image.Resampling.LANCZOS)), warning


def _pixel_scale(band: Band) -> float:
    wcs, lacking = celestial_wcs(band.header)
    lies = None if wcs is None else orientation(wcs, ((band.shape[1] - 1) / 2, (band.shape[0] - 1) / 2))
    if lies is None:
        raise ImageError(f"an image with {lacking or 'no place in the sky'}")
    return lies.pixel_scale
