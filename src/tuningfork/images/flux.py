"""The light of an image as one plane of numbers: fluxes of FITS bands, or the display brightness of other files."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fits.bands import open_bands
from .fits.file import is_fits
from .fits.framing import Framing
from .fits.render import check_planes
from .fits.wcs import celestial_wcs, orientation
from .image import ImageError, RGBImage
from .no_data import constant_parts
from .read import read_image

__all__ = ["FluxImage", "display_light", "read_flux"]


@dataclass(frozen=True, eq=False)
class FluxImage:
    """One plane of light.

    Parameters
    ----------
    light : (H, W) float64
        Mean of the bands, rows growing upwards; NaN where a pixel is blank.
    pixel_scale : float
        Arcseconds a pixel; NaN: not known.
    is_display : bool
        Whether it is display brightness, of which fluxes cannot be computed.
    warnings : tuple of str
    """

    light: NDArray[np.float64]
    pixel_scale: float
    is_display: bool
    warnings: tuple[str, ...] = ()


def read_flux(data: bytes, framing: Framing = Framing()) -> FluxImage:
    """Read the bytes of an image file as one plane; the bands and masks of a FITS file as `framing` says.

    Raises
    ------
    ImageError
        If it cannot be read, or has no data.
    """
    if not is_fits(data):
        return display_light(read_image(data, framing))
    with open_bands(data, framing) as file:
        shapes = {band.shape for band in file.bands}
        if len(shapes) > 1:
            raise ImageError(f"bands of different shapes {sorted(shapes)}; choose one with --bands")
        planes = np.stack([band.read() for band in file.bands])
        missing = (*constant_parts(planes, is_flux=not file.is_display), *check_planes(planes, file.mask))
        light = planes.mean(0, dtype=np.float64)
        wcs, _ = celestial_wcs(file.bands[0].header)
        height, width = light.shape
        local = None if wcs is None else orientation(wcs, ((width - 1) / 2, (height - 1) / 2))
        return FluxImage(
            light, math.nan if local is None else local.pixel_scale, file.is_display, (*file.warnings, *missing)
        )


def display_light(image: RGBImage) -> FluxImage:
    """The brightness of an image that was read already: the mean of its colours."""
    return FluxImage(image.rgb[::-1].mean(-1), math.nan, True, image.warnings)
