"""Render FITS images as models see them: bands, orientation, frame and stretch, with warnings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image import MIN_SIDE, ImageError, RGBImage, check_size
from ..no_data import blank_pixels, constant_parts
from .bands import Band, Bands, Source, open_bands
from .flux_units import nanomaggies
from .framing import Framing
from .measure import cut, petrosian_r90, scale_warning
from .stretch import AUTO, apply_stretch, preset
from .wcs import Orientation, celestial_wcs, north_up, orientation, resample, sky_at, tangent_grid

__all__ = ["check_planes", "in_unit", "per_pixel", "pixel_scale_of", "render_bands", "render_fits", "stretch_warnings"]

#: Pixels by which two bands' WCS may differ before one is resampled to the other.
TOGETHER = 0.1
#: Zero point of fluxes in nanomaggies.
NANOMAGGY = 22.5
Pixel = tuple[float, float]


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def render_fits(
    sources: Source | Sequence[Source],
    framing: Framing = Framing(),
    *,
    radius: float = math.nan,
    mask: Source | None = None,
) -> RGBImage:
    """Render a FITS file, or several files that are a band each, by increasing wavelength.

    The middle of the image is the middle of the frame. Of a large image on disk only the frame is read.

    Parameters
    ----------
    radius : float
        petroR90 of the galaxy, arcsec; NaN: not known.
    mask : optional
        A FITS file of bad pixels, see `bands.open_bands`.

    Returns
    -------
    RGBImage
        Red, green, blue; north is up (row 0), east is left (column 0).

    Raises
    ------
    ImageError
        If the image cannot be read or has no data, or a size is wanted and its pixel scale is not known.
    """
    with open_bands(sources, framing, mask) as image:
        bands = image.bands
        height, width = bands[0].shape
        centre = ((width - 1) / 2, (height - 1) / 2)
        wcs, problem = celestial_wcs(bands[0].header)
        local = None if wcs is None else orientation(wcs, centre)
        warnings = list(image.warnings)
        if wcs is None:
            warnings.append(f"{problem}: shown by rows and columns, direction and pixel scale are not known")
        scale = math.nan if local is None else local.pixel_scale
        side, problem = _side(bands, framing, radius, scale, problem)
        warnings.append(problem)
        shape = (height, width) if side is None else (side, side)
        planes, constant = _frame(image, wcs, local if framing.orient else None, centre, shape)
        warnings += (*constant, *check_planes(planes, image.mask), *stretch_warnings(bands, framing.stretch))
        planes = np.stack([in_unit(p, band, framing.stretch, scale) for p, band in zip(planes, bands, strict=True)])
    light = planes.mean(0)
    known = radius / scale
    measured = not math.isfinite(known)
    # Bytes are display brightness, in which galaxies look larger than their light is.
    if not (measured and image.is_display):
        warnings.append(scale_warning(min(light.shape), petrosian_r90(light) if measured else known, measured=measured))
    rgb = render_bands(planes, framing.stretch, scale, is_display=image.is_display)
    return RGBImage(rgb, tuple(filter(None, warnings)))


def check_planes(planes: NDArray[np.float32], mask: str) -> tuple[str, ...]:
    """Describe blank pixels of a frame (B, H, W), see `no_data.blank_pixels`.

    Parameters
    ----------
    mask : str
        Name of the mask, for errors; "" if there is none.
    """
    try:
        return blank_pixels(planes)
    except ImageError as error:
        if not mask:
            raise
        raise ImageError(
            f"{error}: a pixel is bad where the {mask} is not 0; --mask-bits chooses the bits that are bad"
        ) from None


def stretch_warnings(bands: Sequence[Band], stretch: str) -> tuple[str, ...]:
    """Describe bands whose numbers are not those that a stretch is for, by BUNIT and zero point."""
    if all(band.is_display for band in bands):
        return (
            ()
            if stretch == AUTO
            else (f"8 bits are display brightness and shown as they are, not by stretch {stretch}",)
        )
    units = list(dict.fromkeys(band.unit for band in bands))
    if stretch == AUTO or preset(stretch).unit != "nanomaggies":
        is_apart = stretch == AUTO and len(units) > 1
        return (f"bands of different units (BUNIT): {', '.join(unit or 'none' for unit in units)}",) if is_apart else ()
    for band in bands:
        if band.unit and nanomaggies(band.unit, 1.0) is None:
            return (f"image {band.label} is in {band.unit} (BUNIT), and stretch {stretch} is for nanomaggies",)
        if not band.unit and (zero := band.zero_point) and abs(zero[1] - NANOMAGGY) > 0.01:
            card, value = zero
            return (
                f"image {band.label} has the zero point {value:.4g} ({card}), and stretch {stretch} is for "
                f"nanomaggies, whose zero point is {NANOMAGGY}: multiply it by {10 ** (0.4 * (NANOMAGGY - value)):.4g}",
            )
    return ()


def in_unit(plane: NDArray[np.float32], band: Band, stretch: str, pixel_scale: float) -> NDArray[np.float32]:
    """A band's plane in the unit that a stretch is for, as far as BUNIT tells it.

    Parameters
    ----------
    pixel_scale : float
        Arcseconds a pixel of the plane; NaN: not known.
    """
    if stretch == AUTO or band.is_display or preset(stretch).unit != "nanomaggies":
        return plane
    known = pixel_scale if math.isfinite(pixel_scale) else preset(stretch).pixel_scale
    factor = nanomaggies(band.unit, known or math.nan)
    return plane if factor in (None, 1.0) else plane * np.float32(factor)


def render_bands(
    planes: NDArray[np.float32], stretch: str, pixel_scale: float, *, is_display: bool
) -> NDArray[np.uint8]:
    """Bands (B, H, W) by increasing wavelength, rows growing upwards → (H, W, 3) uint8, the upper row first.

    Parameters
    ----------
    pixel_scale : float
        Arcseconds a pixel; NaN: not known.
    is_display : bool
        Whether they are display brightness in 0…255, which no stretch changes.
    """
    if is_display:
        stretch, planes = AUTO, np.rint(np.nan_to_num(planes)).clip(0, 255).astype(np.uint8)
    rgb = apply_stretch(planes, stretch, pixel_scale if math.isfinite(pixel_scale) else None)
    return np.ascontiguousarray(rgb[::-1])


def _side(bands: Sequence[Band], framing: Framing, radius: float, scale: float, problem: str) -> tuple[int | None, str]:
    """Pixels a side of the frame, None: all of the image; and a warning. `problem`: why there is no scale."""
    size = framing.side(radius)
    if size is not None:
        if math.isfinite(scale):
            pixels = round(size / scale)
            if pixels < MIN_SIDE:
                raise ImageError(
                    f"a frame of {size:g} arcsec is {size / scale:.2g} px at {scale:.4g} arcsec a pixel, by the WCS; "
                    f"at least {MIN_SIDE} px are needed"
                )
            return pixels, ""
        if framing.size is not None:
            why = "" if problem in ("", "no WCS") else f" that can be used ({problem})"
            raise ImageError(
                f"a size in arcsec (--size) needs a pixel scale, and the image has no WCS{why}; leave it out"
            )
        return None, "its pixel scale is not known: all of the image is shown"
    if not framing.measure:
        return None, ""
    height, width = bands[0].shape
    check_size(width, height)
    measured = petrosian_r90(np.mean([band.read() for band in bands], 0))
    if not math.isfinite(measured):
        return None, "no galaxy that ends within the image could be measured: all of the image is shown"
    return max(1, round(framing.radii * measured)), ""


def _frame(
    image: Bands, wcs: Any, local: Orientation | None, centre: Pixel, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The frame (B, h, w) around a pixel, rows growing upwards, and warnings; north up if its orientation is known."""
    bands = image.bands
    check_size(*shape[::-1])
    straight = local is None or local.is_straight
    # A frame that is turned reaches farther, at most by its diagonal.
    reach = 0.0 if straight else (math.hypot(*shape) - min(shape)) / 2 + 2
    rows, columns = (
        slice(max(0, math.floor(c - n / 2 - reach)), max(0, min(size, math.ceil(c + n / 2 + reach) + 1)))
        for c, n, size in zip(centre[::-1], shape, bands[0].shape, strict=True)
    )
    check_size(columns.stop - columns.start, rows.stop - rows.start)
    section = None if wcs is None else wcs[rows, columns]
    planes = np.stack([_aligned(band, bands[0], wcs, section, rows, columns) for band in bands])
    frame = cut(planes, (centre[0] - columns.start, centre[1] - rows.start), shape)
    # Resampling would blur exact zeros.
    warnings = constant_parts(frame, is_flux=not image.is_display)
    if not image.is_display and (values := _display_values(frame)):
        warnings += (f"{values} are taken as fluxes; display brightness is saved as 8 bits (BITPIX)",)
    if local is None or straight:
        return (frame if local is None else north_up(frame, local)), warnings
    ra, dec = sky_at(wcs, *centre)
    grid = tangent_grid(float(ra), float(dec), local.pixel_scale, shape)
    return np.stack([resample(plane, section, grid, shape) for plane in planes]), warnings


def _display_values(planes: NDArray[np.float32]) -> str:
    """What the numbers are if they look like display brightness, else "": the sky of fluxes is in part below 0."""
    known = planes[np.isfinite(planes)]
    if not known.size or known.min() < 0:
        return ""
    highest = known.max()
    if 0.5 <= highest <= 1:
        return "floats in 0…1"
    if len(planes) == 3 and 100 < highest <= 255 and not np.mod(known, 1).any():
        return "integers in 0…255 of blue, green, red"
    return ""


def _aligned(band: Band, first: Band, wcs: Any, section: Any, rows: slice, columns: slice) -> NDArray[np.float32]:
    """A section of one band, resampled to the pixels of the first if its own are elsewhere."""
    if band is first or band.header is first.header:
        return band.read(rows, columns)
    own = None if wcs is None else celestial_wcs(band.header)[0]
    if own is None:
        if band.shape != first.shape:
            raise ImageError(f"bands of {first.shape} and {band.shape} px, and no WCS to resample one to the other")
        return band.read(rows, columns)
    corners = np.array([0, first.shape[1] - 1.0]), np.array([0, first.shape[0] - 1.0])
    away = np.abs(np.subtract(own.world_to_pixel(wcs.pixel_to_world(*corners)), corners))
    if band.shape == first.shape and away.max() <= TOGETHER:
        return band.read(rows, columns)
    check_size(*band.shape[::-1])
    plane = resample(band.read(), own, section, (rows.stop - rows.start, columns.stop - columns.start))
    return plane * per_pixel(band, pixel_scale_of(band, own), pixel_scale_of(first, wcs))


def per_pixel(band: Band, own: float, pixel_scale: float) -> np.float32:
    """What fluxes of a band's pixels are multiplied with to be those of other pixels.

    Parameters
    ----------
    own, pixel_scale : float
        Arcseconds a side of the band's pixels and of the others; NaN: not known.
    """
    if band.is_surface_brightness or not math.isfinite(own * pixel_scale):
        return np.float32(1)
    return np.float32((pixel_scale / own) ** 2)


def pixel_scale_of(band: Band, wcs: Any) -> float:
    """Arcseconds a pixel in the middle of a band; NaN if it has no place in the sky."""
    local = orientation(wcs, ((band.shape[1] - 1) / 2, (band.shape[0] - 1) / 2))
    return math.nan if local is None else local.pixel_scale
