"""A camera frame of a simulated galaxy: sky coordinates, point spread function, and profiles that are drawn on it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .galaxy import FRAME, PETRO_R90, Galaxy, sersic_b

__all__ = ["CAMERA_PIXEL", "WEIGHTS", "Canvas", "band_ratios", "sersic", "texture"]

Floats = NDArray[np.float32]
AnyFloats = NDArray[np.floating]

#: Size of a camera pixel (SDSS), arcsec.
CAMERA_PIXEL = 0.396
#: Sides of the simulated camera frame, pixels. Few galaxies are so large that the limit coarsens them.
SMALLEST, LARGEST = 48, 400
#: Weights of i, r, g in the colour composite.
WEIGHTS = np.array([0.87, 0.98, 1.35], np.float32)
#: The point spread function: Gaussians as (share, width over that of the core).
PSF = ((0.87, 1.0), (0.11, 2.4), (0.02, 7.0))


class Canvas:
    """A camera frame (3, S, S) of one galaxy, with the sky coordinates of its pixels in frame pixels."""

    def __init__(self, galaxy: Galaxy) -> None:
        side = FRAME / PETRO_R90 * galaxy.petro_r90 / CAMERA_PIXEL
        # Multiples of 8 have quick Fourier transforms.
        self.side = int(np.clip(8 * round(side / 8), SMALLEST, LARGEST))
        self.scale = FRAME / self.side
        self.image = np.zeros((3, self.side, self.side), np.float32)
        axis = ((np.arange(self.side) + 0.5) * self.scale - FRAME / 2).astype(np.float32)
        self.x, self.y = axis[None, :], -axis[:, None]
        self.sigma = galaxy.seeing / 2.3548 * PETRO_R90 / galaxy.petro_r90  # of the core, frame pixels

    def rotated(self, position_angle: float, x: float = 0, y: float = 0) -> tuple[Floats, Floats]:
        """Coordinates along and across an axis at a position angle through (x, y), each (S, S)."""
        sin, cos = (np.float32(f(math.radians(position_angle))) for f in (math.sin, math.cos))
        return (self.y - y) * cos - (self.x - x) * sin, (self.y - y) * sin + (self.x - x) * cos

    def add(self, profile: Floats, flux: float, colour: float) -> None:
        """Light of that r flux (nanomaggies) and g − r, spread like `profile` (S, S)."""
        self.image += profile * (flux / max(float(profile.sum()), 1e-9) * band_ratios(colour))[:, None, None]

    def blur(self, rng: np.random.Generator) -> None:
        """Convolve with the point spread function; the bands are a fraction of a pixel out of register."""
        width = 2 * math.pi * self.sigma / self.scale
        v, u = np.fft.fftfreq(self.side)[:, None], np.fft.rfftfreq(self.side)[None, :]
        transfer = sum(share * np.exp(-0.5 * (width * k) ** 2 * (u**2 + v**2)) for share, k in PSF)
        offset = rng.normal(0, 0.09, (2, 3, 1, 1))
        transfer = transfer * np.exp(2j * math.pi * (u * offset[0] + v * offset[1]))
        blurred = np.fft.rfft2(self.image) * transfer.astype(np.complex64)
        self.image = np.maximum(np.fft.irfft2(blurred, s=self.image.shape[1:]), 0)

    def points(self, x: AnyFloats, y: AnyFloats, flux: AnyFloats, size: float = 0) -> None:
        """Blurred points at x, y (K,) of flux (3, K) nanomaggies; `size` widens them, frame pixels."""
        for share, k in PSF:
            width = math.hypot(max(self.sigma, 0.45 * self.scale) * k, size)
            across = np.exp(-0.5 * ((self.x - x[:, None]) / width) ** 2)
            down = np.exp(-0.5 * ((self.y.T - y[:, None]) / width) ** 2)
            amplitude = share * flux * self.scale**2 / (2 * math.pi * width**2)
            self.image += ((amplitude[:, :, None] * down).transpose(0, 2, 1) @ across).astype(np.float32)

    def bright_star(self, x: float, y: float, strength: float, rng: np.random.Generator) -> None:
        """A saturated star: a white core, a halo, and four diffraction spikes."""
        angle = float(rng.uniform(15, 75))
        tint = np.exp(rng.normal((0.4, 0, 0), 0.4)).astype(np.float32)[:, None, None]
        distance = np.hypot(self.x - x, self.y - y) / PETRO_R90
        shine = 120 * np.exp(-0.5 * (distance / (0.07 + 0.06 * strength)) ** 2)
        halo = 0.12 / (0.15 + distance) ** 2 + rng.exponential(0.04)
        for turn in (0, 90):
            along, across = self.rotated(angle + turn, x, y)
            thin = np.exp(-0.5 * (across / max(1.2 * self.sigma, 0.7 * self.scale)) ** 2)
            halo = halo + 1.2 * thin * np.exp(-np.abs(along) / (45 * strength))
        self.image += strength * (shine / WEIGHTS[:, None, None] + halo * tint)

    def trail(self, rng: np.random.Generator) -> None:
        """The track of a satellite or an aeroplane, which one band alone has seen."""
        _, across = self.rotated(rng.uniform(0, 180), *rng.uniform(-25, 25, 2))
        track = np.exp(-0.5 * (across / rng.uniform(0.5, 5)) ** 2)
        self.image[int(rng.integers(3))] += track * np.float32(rng.uniform(0.3, 2))


def band_ratios(colour: float | AnyFloats) -> Floats:
    """Fluxes in i, r, g over that in r, for stars and galaxies of that g − r; (3, ...)."""
    values = np.asarray(colour, np.float32)
    return np.power(10, 0.4 * np.stack([0.02 + 0.45 * values, 0 * values, -values]))


def sersic(radius: Floats, index: float, effective: float) -> Floats:
    """Surface brightness of a Sérsic (1963) profile, 1 at the centre."""
    return np.exp(-np.float32(sersic_b(index)) * (radius / np.float32(effective)) ** np.float32(1 / index))


def texture(u: Floats, v: Floats, waves: int, frequency: float, rng: np.random.Generator) -> Floats:
    """A smooth random pattern of zero mean and unit variance over coordinates u, v in radians."""
    k = rng.normal(0, frequency, (2, waves)).round().astype(np.float32)
    phase = rng.uniform(0, 2 * math.pi, waves).astype(np.float32)
    total = sum(np.cos(k[0, j] * u + k[1, j] * v + phase[j]) for j in range(waves))
    return total * np.float32(math.sqrt(2 / waves))
