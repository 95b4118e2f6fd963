"""Colours of bands: the asinh stretch of Lupton et al. 2004 with presets for surveys, and one for any image."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..image import ImageError
from ..noise import SIGMA_PER_MAD

__all__ = ["AUTO", "Preset", "lupton", "preset", "preset_names", "stretch_any", "apply_stretch"]

#: For images of unknown unit: levels are taken from the image itself, see `stretch_any`.
AUTO = "auto"
#: Beyond so many times the noise all is white; larger numbers would overflow.
BRIGHTEST = np.float32(1e12)


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def stretch_any(planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Fluxes (bands, H, W) → 0…255: asinh of the mean band above the sky, colours preserved (Lupton et al. 2004)."""
    # Nobody's flux is beyond; sums of such numbers would overflow.
    finite = np.abs(planes) < 1e30
    if not finite.any():
        raise ImageError("no usable pixel: all are NaN, infinite or beyond 1e30")
    sky = np.array([np.median(p[f]) if f.any() else 0.0 for p, f in zip(planes, finite, strict=True)], np.float32)
    light = np.where(finite, planes - sky[:, None, None], 0).astype(np.float32)
    mean = light.mean(0)
    noise = SIGMA_PER_MAD * np.median(np.abs(mean - np.median(mean)))
    peak = float(np.quantile(mean, 0.999))
    soft = float(noise) * 2 or peak / 20 or 1.0
    top = np.arcsinh(max(peak, soft) / soft)
    scaled = np.arcsinh(np.clip(mean, 0, None) / soft) / top
    gain = np.where(mean > 1e-37, scaled / mean, 0)
    return np.clip(light * gain * 255, 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Preset:
    """The numbers of one survey's stretch; ``stretches.toml`` says what each means."""

    title: str
    bands: tuple[str, ...]
    scales: tuple[float, ...]
    unit: str
    slope: float
    softening: float
    lift: float
    saturation: float
    dim: bool
    positive: bool = False
    pixel_scale: float | None = None
    jpeg: int | None = None


@cache
def _presets() -> dict[str, Preset]:
    presets = tomllib.loads(Path(__file__).with_name("stretches.toml").read_text("utf-8"))
    return {name: _preset(each) for name, each in presets.items()}


def _preset(table: Mapping[str, Any]) -> Preset:
    values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in table.items()}
    return Preset(**values)


def preset_names() -> tuple[str, ...]:
    """Names of the presets of ``stretches.toml``, in its order."""
    return tuple(_presets())


def preset(name: str) -> Preset:
    """Look up a preset; KeyError if there is none of this name."""
    return _presets()[name]


def lupton(
    planes: NDArray[np.float32],
    *,
    slope: float = 1.0,
    softening: float = 8.0,
    saturation: float = 1.0,
    dim: bool = True,
    positive: bool = False,
) -> NDArray[np.float32]:
    """The asinh stretch of Lupton et al. 2004, equations 1 and 2, of bands that are scaled already.

    Parameters
    ----------
    planes : (B, H, W) float32
        Bands in any order; no NaN.
    slope, softening : float
        f(I) = asinh(slope × softening × I) / softening of the mean I of the bands.
    saturation : float
        How much the bands' differences from their mean are exaggerated.
    dim : bool
        Whether a pixel with a band beyond 1 is dimmed in all bands; else that band is cut.
    positive : bool
        Whether a negative band counts as 0 in the mean.

    Returns
    -------
    (B, H, W) float32 in [0, 1]
    """
    mean = planes.mean(0)
    if saturation != 1:
        planes = mean + np.float32(saturation) * (planes - mean)
    if positive:
        mean = np.maximum(planes, 0).mean(0)
    mean = np.maximum(mean, np.float32(1e-6))
    gain = np.arcsinh(np.float32(slope * softening) * mean) / (np.float32(softening) * mean)
    bright = np.maximum(planes, 0) * gain
    if dim:
        bright = bright / np.maximum(bright.max(0), 1)
    return np.clip(bright, 0, 1)


def apply_stretch(planes: NDArray[np.generic], name: str, pixel_scale: float | None = None) -> NDArray[np.uint8]:
    """Bands (B, H, W) by increasing wavelength → (H, W, 3) uint8, rows as they are.

    NaN, infinite and absurd fluxes are black. Bytes under ``auto`` are display brightness already.

    Parameters
    ----------
    pixel_scale : float, optional
        Arcseconds a pixel, for presets in nanomaggies; None: the preset's own.

    Raises
    ------
    ImageError
        If no pixel is usable, or the preset is for another number of bands.
    """
    if name == AUTO:
        bytes_ = planes if planes.dtype == np.uint8 else stretch_any(planes.astype(np.float32))
        return np.ascontiguousarray(np.moveaxis(np.broadcast_to(bytes_[::-1], (3, *planes.shape[1:])), 0, 2))
    chosen = preset(name)
    if len(planes) != len(chosen.bands):
        raise ImageError(
            f"stretch {name} is for {', '.join(chosen.bands)}, and the image has {len(planes)} "
            f"band{'s' * (len(planes) > 1)}; "
            + ("one band is shown by --stretch euclid" if len(planes) == 1 else "choose another, or name the --bands")
        )
    values = planes.astype(np.float32)
    good = np.abs(values) < 1e30
    if not good.any():
        raise ImageError("no usable pixel: all are NaN, infinite or beyond 1e30")
    values = np.where(good, values, 0)
    if chosen.unit == "noise":
        values = np.stack([_in_noise(plane, usable) for plane, usable in zip(values, good, strict=True)])
    elif chosen.pixel_scale and pixel_scale:
        values = values * np.float32((chosen.pixel_scale / pixel_scale) ** 2)
    values = values * np.array(chosen.scales, np.float32)[:, None, None] + np.float32(chosen.lift)
    values[~good] = 0
    light = lupton(
        values,
        slope=chosen.slope,
        softening=chosen.softening,
        saturation=chosen.saturation,
        dim=chosen.dim,
        positive=chosen.positive,
    )
    bytes_ = (light * 255 + 0.5).astype(np.uint8)[::-1]
    rgb = np.ascontiguousarray(np.moveaxis(np.broadcast_to(bytes_, (3, *bytes_.shape[1:])), 0, 2))
    return rgb if chosen.jpeg is None else _through_jpeg(rgb, chosen.jpeg)


def _through_jpeg(rgb: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The image as it looks after it was a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def _in_noise(plane: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Flux above the median, in units of the sky's noise; a galaxy that fills the frame lifts both."""
    if not usable.any():
        return np.zeros_like(plane)
    sky = np.median(plane[usable])
    below = sky - plane[usable & (plane <= sky)]
    # Only below the median: there is no light of galaxies there.
    noise = SIGMA_PER_MAD * float(np.median(below)) or float(np.abs(plane[usable] - sky).max()) / 100 or 1.0
    with np.errstate(over="ignore"):
        return np.clip((plane - sky) / np.float32(noise), -BRIGHTEST, BRIGHTEST)
