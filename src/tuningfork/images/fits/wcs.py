"""World coordinates: the orientation of an image on the sky, and the image resampled with north up, east left."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.text import one_line
from ..complaints import decoder_complaints
from .cards import card_text

__all__ = [
    "Orientation",
    "celestial_wcs",
    "north_up",
    "orientation",
    "pixels_at",
    "resample",
    "sky_at",
    "tangent_grid",
]

#: Degrees: an image that is so close to north up is turned by quarters, and no pixel is interpolated. A network that
#: was trained on galaxies in any direction is blind to a degree, but interpolation smooths the noise that it sees.
STRAIGHT = 1.0
#: Arcseconds a pixel between which a WCS is plausible; a degree stands where a header gives none.
FINEST, COARSEST = 1e-4, 3599.0
#: Cards of distortions in tables of other units, as in HST's; they are below a pixel.
_LOOKUP = ("CPDIS", "CPERR", "DP1", "DP2", "D2IM", "DET2IM", "AXISCORR")
#: Flux that no pixel has; and the share of holes among its neighbours that makes an interpolated pixel one.
ABSURD, MOST_HOLE = 1e30, 0.25


@dataclass(frozen=True, eq=False)
class Orientation:
    """The sky around one pixel.

    Parameters
    ----------
    jacobian : (2, 2) float64
        Degrees of the sky (east, north) for a step of one pixel (along columns' numbers, along rows' numbers).
    """

    jacobian: NDArray[np.float64]

    @property
    def pixel_scale(self) -> float:
        """Arcseconds: the side of a square as large as the pixel."""
        return 3600 * math.sqrt(abs(np.linalg.det(self.jacobian)))

    @property
    def is_mirrored(self) -> bool:
        """Whether east is on the right of north."""
        return bool(np.linalg.det(self.jacobian) > 0)

    @property
    def position_angle(self) -> float:
        """Degrees from the direction of growing rows to north, counter-clockwise as displayed, (−180, 180]."""
        x, y = np.linalg.solve(self.jacobian, (0.0, 1.0))
        return math.degrees(math.atan2(-x, y))

    @property
    def steps(self) -> NDArray[np.float64]:
        """(2, 2) where a pixel's step to the west (first column) and to the north (second) leads, in pixels (x, y)."""
        steps = np.linalg.inv(self.jacobian) @ np.diag((-1, 1)) * (self.pixel_scale / 3600)
        return np.asarray(steps, np.float64)

    @property
    def is_straight(self) -> bool:
        """Whether quarter turns and a reflection put north up, but for `STRAIGHT` degrees."""
        return bool(np.abs(self.steps - np.rint(self.steps)).max() <= math.radians(STRAIGHT))


def celestial_wcs(header: Any) -> tuple[Any, str]:
    """The WCS of an image's two axes of the sky, or None and why there is none that can be used."""
    from astropy import log
    from astropy.wcs import WCS

    # astropy prints its information on the standard output, where a table may be written.
    log.addFilter(_is_warning)
    if any(card.keyword.startswith(_LOOKUP) for card in header.cards):
        header = type(header)([card for card in header.cards if not card.keyword.startswith(_LOOKUP)])
    try:
        with decoder_complaints():
            # Distortions (SIP, TPV) of the axes of the sky are refused with a third axis beside them, which a plane of
            # a cube may have kept.
            if _is_celestial(header, 1) and _is_celestial(header, 2):
                wcs = WCS(header, naxis=2)
                wcs.pixel_shape = wcs.pixel_shape and wcs.pixel_shape[:2]  # else slices take the cube's
            else:
                wcs = WCS(header).celestial
            if wcs.naxis != 2 or not wcs.has_celestial:
                return None, "no WCS"
            # Whether its numbers lead anywhere shows only in their use.
            middle = orientation(wcs, (wcs.wcs.crpix[0] - 1, wcs.wcs.crpix[1] - 1))
    except Exception as error:  # wcslib and astropy raise many kinds
        return None, f"broken WCS ({one_line(error, 120)})"
    if middle is None:
        return None, "broken WCS (its pixels have no place or no size in the sky)"
    return wcs, ""


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def _is_celestial(header: Any, axis: int) -> bool:
    kind = card_text(header, f"CTYPE{axis}").upper()
    return kind[:4] in ("RA--", "DEC-") or kind[1:4] in ("LON", "LAT") or kind[2:4] in ("LN", "LT")


def orientation(wcs: Any, pixel: tuple[float, float]) -> Orientation | None:
    """How the sky lies around a pixel (column, row), both from 0; None where the WCS has no sky or an absurd one."""
    x, y = pixel
    half = 0.5
    with np.errstate(all="ignore"):
        columns, rows = x + half * np.array([0, 1, -1, 0, 0]), y + half * np.array([0, 0, 0, 1, -1])
        ra, dec = np.radians(sky_at(wcs, columns, rows))
        # As vectors, since right ascensions turn fast beside a pole: their parts to the east and north of the middle.
        places = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], -1)
        east = (-math.sin(ra[0]), math.cos(ra[0]), 0.0)
        north = (-math.sin(dec[0]) * math.cos(ra[0]), -math.sin(dec[0]) * math.sin(ra[0]), math.cos(dec[0]))
        jacobian = np.degrees(np.array([east, north]) @ (places[1::2] - places[2::2]).T)
        if not np.isfinite(jacobian).all() or np.linalg.det(jacobian) == 0:
            return None
    local = Orientation(jacobian)
    # A pixel that is ten times as long as wide is a mistake of the header.
    return local if FINEST <= local.pixel_scale <= COARSEST and np.abs(local.steps).max() < 10 else None


def sky_at(wcs: Any, columns: Any, rows: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ICRS right ascension and declination, degrees, of pixels counted from 0."""
    place = wcs.pixel_to_world(columns, rows)
    if not hasattr(place, "icrs"):
        raise ValueError("its coordinates are not those of the celestial sphere")
    place = place.icrs
    return np.asarray(place.ra.deg), np.asarray(place.dec.deg)


def pixels_at(wcs: Any, ra: Any, dec: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows, from 0, of ICRS positions in degrees; NaN where the projection does not reach."""
    from astropy.coordinates import SkyCoord

    with decoder_complaints(), np.errstate(all="ignore"):
        columns, rows = wcs.world_to_pixel(SkyCoord(ra, dec, unit="deg"))
    return np.asarray(columns), np.asarray(rows)


def north_up(planes: NDArray[np.float32], local: Orientation) -> NDArray[np.float32]:
    """Quarter turns and a reflection: (B, H, W), rows growing upwards → (B, H, W) or (B, W, H), north up, east left.

    No number changes. North is then within `STRAIGHT` degrees if ``local.is_straight``, within 45° else.
    """
    west, north = local.steps.T
    is_swapped = abs(north[0]) > abs(north[1])
    if is_swapped:
        planes = planes.swapaxes(1, 2)
        west, north = west[::-1], north[::-1]
    columns, rows = (1 if west[0] > 0 else -1), (1 if north[1] > 0 else -1)
    return planes[:, ::rows, ::columns]


def resample(plane: NDArray[np.float32], wcs: Any, target: Any, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate one plane on another WCS: (h, w) float32 → `shape` float32, NaN where it has no pixel.

    Cubic splines, which leave the noise nearly as it is: half a pixel off, a linear interpolation halves its
    variance twice, and a network takes that for another survey. They would carry a NaN through all of the image;
    so holes are filled, and cut out again after it.

    Parameters
    ----------
    plane : (h, w) float32
        NaN, or beyond `ABSURD`, where it has no data.
    wcs, target : astropy.wcs.WCS
        Of the plane, and of the result.
    shape : (rows, columns)
        Of the result.
    """
    from reproject import reproject_interp

    def interpolated(values: NDArray[np.float32], order: str) -> NDArray[np.float32]:
        return reproject_interp((values, wcs), target, shape_out=shape, order=order, return_footprint=False)

    hole = ~(np.abs(plane) < ABSURD)
    if hole.all():
        return np.full(shape, np.nan, np.float32)
    if hole.any():
        plane = np.where(hole, np.median(plane[~hole]), plane)
    with decoder_complaints(), np.errstate(all="ignore"):
        out = np.asarray(interpolated(plane, "bicubic"), np.float32)
        if hole.any():
            # NaN is below nothing.
            out[~(interpolated(hole.astype(np.float32), "bilinear") < MOST_HOLE)] = np.nan
    return out


def tangent_grid(right_ascension: float, declination: float, scale: float, shape: tuple[int, int]) -> Any:
    """A WCS with north up and east left on a tangent plane.

    Parameters
    ----------
    right_ascension, declination : float
        Of the middle, ICRS, degrees.
    scale : float
        Arcseconds a pixel.
    shape : (rows, columns)
    """
    from astropy.wcs import WCS

    grid = WCS(naxis=2)
    grid.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    grid.wcs.cunit = ["deg", "deg"]
    grid.wcs.crval = [right_ascension, declination]
    # The default for all but the very pole, where it would be 0 and turn the image by half.
    grid.wcs.lonpole = 180.0
    grid.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    grid.wcs.cdelt = [-scale / 3600, scale / 3600]
    grid.wcs.set()
    return grid
