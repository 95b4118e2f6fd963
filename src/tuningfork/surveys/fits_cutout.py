"""The square around a position from FITS images that were fetched: north up, of the requested size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images.fits.bands import Band, open_bands
from ..images.fits.framing import Framing
from ..images.fits.render import check_planes, render_bands, stretch_warnings
from ..images.fits.wcs import celestial_wcs, orientation, tangent_grid
from ..images.image import MIN_SIDE, ImageError, check_size
from .resampled_tile import on_grid

__all__ = ["Square", "cut_fits"]


@dataclass(frozen=True, slots=True)
class Square:
    """A square on the sky: ICRS degrees of its middle, arcseconds and pixels of a side."""

    ra: float
    dec: float
    size: float
    pixels: int


def cut_fits(images: Sequence[bytes], square: Square, framing: Framing) -> tuple[NDArray[np.uint8], str]:
    """Cut a square out of FITS images.

    As for mosaics: resampled on a grid of the images' own pixel scale, coloured, then brought to the square's pixels.

    Parameters
    ----------
    images : one or three FITS files
        Bands by increasing wavelength.
    framing : Framing
        Which image of a file, and the stretch.

    Returns
    -------
    rgb : (pixels, pixels, 3) uint8
        Red, green, blue; north is up (row 0), east is left (column 0).
    warning : str
        "" if there is none.

    Raises
    ------
    ImageError
        If an image has no WCS, or no data there.
    """
    with open_bands(images[0] if len(images) == 1 else images, framing) as image:
        bands = image.bands
        side = max(MIN_SIDE, round(square.size / min(map(_pixel_scale, bands))))
        check_size(side, side)
        grid = tangent_grid(square.ra, square.dec, square.size / side, (side, side))
        on_sky = on_grid(bands, grid, side, framing.stretch)
        warnings = (*image.warnings, *stretch_warnings(bands, framing.stretch))
    if on_sky is None:
        raise ImageError("the image of the service does not reach into the frame")
    planes, constant = on_sky
    warning = "; ".join((*warnings, *check_planes(planes, image.mask), *constant))
    rgb = render_bands(planes, framing.stretch, square.size / side, is_display=image.is_display)
    shape = (square.pixels, square.pixels)
    return np.asarray(Image.fromarray(rgb).resize(shape, Image.Resampling.LANCZOS)), warning


def _pixel_scale(band: Band) -> float:
    wcs, problem = celestial_wcs(band.header)
    local = None if wcs is None else orientation(wcs, ((band.shape[1] - 1) / 2, (band.shape[0] - 1) / 2))
    if local is None:
        raise ImageError(f"an image with {problem or 'no position on the sky'}")
    return local.pixel_scale
