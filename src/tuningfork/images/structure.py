"""Structure of a galaxy without a model of its morphology: concentration, asymmetry, smoothness, Gini, M20; and Sérsic.

The quantities are those of statmorph (Rodriguez-Gomez et al. 2019, MNRAS 483, 4140), which computes them as Conselice
2003, ApJS 147, 1 and Lotz et al. 2004, AJ 128, 163 define them. What is measured here is what it needs: the sky, its
noise, and which pixels belong to the galaxy in the middle.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from .._utils.extras import install_hint
from .._utils.text import one_line
from .flux import FluxImage
from .image import ImageError

__all__ = [
    "QUANTITIES",
    "Quantity",
    "StructureError",
    "check_statmorph",
    "measure_structure",
    "structure_row",
    "version_of_statmorph",
]

Floats = NDArray[np.float64]
#: Larger images are averaged over blocks of pixels first: the time of a measurement grows with their number.
MOST_PIXELS = 160
#: A pixel belongs to a source if the image, smoothed by so many pixels, stands so many times its noise above the sky;
#: a source has a pixel that stands `PEAK` times above it.
SMOOTHED, ABOVE, PEAK = 1.5, 1.6, 6.0
#: The galaxy is a source within this part of the image's side from the middle, of at least so many pixels.
NEAR, LEAST = 0.1, 20
#: Rows and columns at the edge of the image that measure the sky, as a part of its side.
EDGE = 0.1
#: Filters of warnings are those of the whole process, and statmorph is Python: threads would gain nothing.
_ONE_AT_A_TIME = Lock()


class StructureError(TuningforkError, ModuleNotFoundError):
    """statmorph is not installed; says how to."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured quantity.

    Parameters
    ----------
    name : str
        Of its column; statmorph's own.
    description : str
    unit : str
        "" for a number without dimension, "pixel", "rad".
    ucd : str
    """

    name: str
    description: str
    unit: str = ""
    ucd: str = "src.morph.param"


QUANTITIES = (
    Quantity("concentration", "Concentration C = 5 log10(r80 / r20) (Conselice 2003)"),
    Quantity("asymmetry", "Asymmetry A, the sky's own taken off (Conselice 2003)"),
    Quantity("smoothness", "Smoothness (clumpiness) S (Conselice 2003; Lotz et al. 2004)"),
    Quantity("gini", "Gini coefficient G of the pixels (Lotz et al. 2004)"),
    Quantity("m20", "M20, second moment of the brightest 20 % of the light (Lotz et al. 2004)"),
    Quantity("gini_m20_bulge", "Bulge statistic F(G, M20) (Snyder et al. 2015)"),
    Quantity("gini_m20_merger", "Merger statistic S(G, M20) (Snyder et al. 2015)"),
    Quantity("multimode", "Multimode M (Freeman et al. 2013)"),
    Quantity("intensity", "Intensity I (Freeman et al. 2013)"),
    Quantity("deviation", "Deviation D (Freeman et al. 2013)"),
    Quantity("outer_asymmetry", "Asymmetry of the outer parts (Wen et al. 2014)"),
    Quantity("shape_asymmetry", "Asymmetry of the outline (Pawlik et al. 2016)"),
    Quantity("ellipticity_asymmetry", "Ellipticity 1 − b/a about the centre of least asymmetry", "", "src.ellipticity"),
    Quantity(
        "orientation_asymmetry",
        "Angle of the major axis, from the columns' direction (to the right) to the rows' (upwards)",
        "rad",
        "pos.posAng",
    ),
    Quantity("rpetro_ellip", "Petrosian semi-major axis", "pixel", "phys.angSize.smajAxis;src.morph"),
    Quantity("rhalf_ellip", "Semi-major axis that holds half of the light", "pixel", "phys.angSize.smajAxis;src.morph"),
    Quantity("r20", "Radius that holds 20 % of the light", "pixel", "phys.angSize;src.morph"),
    Quantity("r80", "Radius that holds 80 % of the light", "pixel", "phys.angSize;src.morph"),
    Quantity("sersic_n", "Sérsic index of a fit", "", "src.morph.scLength;src.morph.param"),
    Quantity("sersic_rhalf", "Half-light semi-major axis of that fit", "pixel", "phys.angSize.smajAxis;src.morph"),
    Quantity("sersic_ellip", "Ellipticity 1 − b/a of that fit", "", "src.ellipticity"),
    Quantity("sn_per_pixel", "Mean signal over noise of the galaxy's pixels", "", "stat.snr"),
)
_LENGTHS = {quantity.name for quantity in QUANTITIES if quantity.unit == "pixel"}


@lru_cache(maxsize=1)
def version_of_statmorph() -> str:
    """The installed version; "" without one."""
    from importlib import metadata, util

    return metadata.version("statmorph") if util.find_spec("statmorph") else ""


def check_statmorph() -> None:
    """Raise StructureError if statmorph is not installed."""
    if not version_of_statmorph():
        raise StructureError(f"statmorph is missing; {install_hint('structure')}")


def structure_row(read: Callable[[], FluxImage]) -> dict[str, Any]:
    """Measure the galaxy in the middle of the image that `read` reads, as a row of a table.

    Returns
    -------
    dict
        The `QUANTITIES`, ``flag``, ``flag_sersic``, ``pixel_scale`` and ``is_display``, as far as they are known;
        ``warning``, and ``error``, which is "" if the galaxy was measured.

    Raises
    ------
    StructureError
        If statmorph is not installed.
    """
    row: dict[str, Any] = {"warning": "", "error": ""}
    try:
        image = read()
        row |= {"pixel_scale": image.pixel_scale, "is_display": image.is_display}
        row["warning"] = "; ".join(image.warnings)
        values, row["flag"], row["flag_sersic"] = measure_structure(image)
        row |= values
    except ImageError as error:
        row["error"] = str(error)
    except StructureError:
        raise
    except Exception as error:  # one image of many must not end the run
        row["error"] = f"unexpected {type(error).__name__}: {one_line(error)}"
    return row


def measure_structure(image: FluxImage) -> tuple[dict[str, float], int, int]:
    """Measure the galaxy in the middle of an image.

    Returns
    -------
    values : mapping of `QUANTITIES`' names
        NaN where one could not be measured; lengths in pixels of the image.
    flag, flag_sersic : int
        statmorph's: 0 good, 1 suspect, 2 bad, 3 and 4 failed; of the Sérsic fit by itself.

    Raises
    ------
    ImageError
        If there is no galaxy in the middle that rises above the noise, or the image is too small.
    StructureError
        If statmorph is not installed.
    """
    try:
        from scipy import ndimage
        from statmorph import source_morphology
    except ModuleNotFoundError as error:
        raise StructureError(f"{error.name} is missing; {install_hint('structure')}") from None
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # blocks of blank pixels; statmorph's flags say the same as its warnings
        return _measure(image, ndimage, source_morphology)


def _measure(image: FluxImage, ndimage: Any, source_morphology: Any) -> tuple[dict[str, float], int, int]:
    light, factor = _binned(image.light)
    blank = ~np.isfinite(light)
    sky, noise = _sky(light)
    light = np.where(blank, sky, light) - sky
    if not noise > 0:
        raise ImageError("the sky at the image's edge has no noise, so no source can be told from it")
    smooth = ndimage.gaussian_filter(light, SMOOTHED)
    # The noise of the smoothed image, of pixels that are independent.
    smoothed_noise = noise / (2 * math.sqrt(math.pi) * SMOOTHED)
    labels, _ = ndimage.label(smooth > ABOVE * smoothed_noise)
    middle = _in_the_middle(labels, np.unique(labels[smooth > PEAK * smoothed_noise]))
    with np.errstate(all="ignore"):
        morphology = source_morphology(
            light,
            (labels == middle).astype(np.int32),
            mask=blank | ((labels > 0) & (labels != middle)),
            weightmap=np.full(light.shape, noise),
        )[0]
    values = {}
    for quantity in QUANTITIES:
        value = float(getattr(morphology, quantity.name, math.nan))
        value = value if math.isfinite(value) and value > -99 else math.nan
        values[quantity.name] = value * factor if quantity.name in _LENGTHS else value
    return values, int(morphology.flag), int(morphology.flag_sersic)


def _binned(light: Floats) -> tuple[Floats, int]:
    """Means of square blocks of so many pixels that no more than `MOST_PIXELS` a side are left; and their side."""
    side = max(light.shape)
    factor = math.ceil(side / MOST_PIXELS)
    if min(light.shape) // factor < 2 * LEAST:
        raise ImageError(f"an image of {light.shape[1]} × {light.shape[0]} pixels is too small to measure structure")
    height, width = (n // factor * factor for n in light.shape)
    blocks = light[:height, :width].reshape(height // factor, factor, width // factor, factor)
    return np.nanmean(blocks, axis=(1, 3)), factor


def _sky(light: Floats) -> tuple[float, float]:
    """Median and standard deviation of the pixels at the edge, sources clipped."""
    band = max(2, round(EDGE * min(light.shape)))
    edge = np.ones(light.shape, bool)
    edge[band:-band, band:-band] = False
    values = light[edge & np.isfinite(light)]
    for _ in range(5):
        if not len(values):
            raise ImageError("the image's edge is blank, so its sky is not known")
        centre, spread = float(np.median(values)), float(values.std())
        clipped = values[np.abs(values - centre) <= 3 * spread]
        if len(clipped) == len(values):
            break
        values = clipped
    return centre, spread


def _in_the_middle(labels: NDArray[np.int32], bright: NDArray[np.int32]) -> int:
    """The bright source nearest to the middle."""
    height, width = labels.shape
    rows, columns = np.nonzero(np.isin(labels, bright[bright > 0]))
    if len(rows):
        distance = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
        nearest = distance.argmin()
        label = int(labels[rows[nearest], columns[nearest]])
        if distance[nearest] <= NEAR * min(labels.shape) and (labels == label).sum() >= LEAST:
            return label
    raise ImageError("no galaxy in the middle of the image rises above the noise")
