"""Structural parameters of model galaxies whose shape is known."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("statmorph", reason="the extra `structure` is not installed")

from astropy.io import fits
from astropy.modeling.models import Sersic2D

from tuningfork.images import structure
from tuningfork.images.flux import FluxImage, read_flux
from tuningfork.images.image import ImageError
from tuningfork.images.structure import QUANTITIES, measure_structure


def sersic(side=81, n=1.0, radius=6.0, ellipticity=0.3, theta=0.6, noise=0.5, at=(0.0, 0.0), seed=0):
    """A Sérsic galaxy (side, side) near the middle, the axis `theta` from the columns upwards, on a sky of 20."""
    y, x = np.mgrid[:side, :side]
    middle = (side - 1) / 2
    model = Sersic2D(100, radius, n, middle + at[0], middle + at[1], ellipticity, theta)
    return model(x, y) + 20 + np.random.default_rng(seed).normal(0, noise, (side, side))


def measured(light):
    return measure_structure(FluxImage(light, math.nan, False))


@pytest.mark.parametrize(("n", "ellipticity"), [(1.0, 0.3), (1.6, 0.5)])
def test_a_sersic_galaxy_has_its_own_parameters(n, ellipticity):
    values, flag, flag_sersic = measured(sersic(n=n, ellipticity=ellipticity))
    assert flag_sersic == 0
    assert flag == 0 or n > 1  # whose wings reach the edge
    assert values["sersic_n"] == pytest.approx(n, rel=0.1)
    assert values["sersic_rhalf"] == pytest.approx(6, rel=0.1)
    assert values["sersic_ellip"] == pytest.approx(ellipticity, abs=0.03)
    assert values["ellipticity_asymmetry"] == pytest.approx(ellipticity, abs=0.1)
    assert values["orientation_asymmetry"] == pytest.approx(0.6, abs=0.1)
    assert abs(values["asymmetry"]) < 0.05
    assert set(values) == {quantity.name for quantity in QUANTITIES}


def test_what_is_concentrated_disturbed_or_clumpy_has_larger_numbers():
    disk, bulge = measured(sersic(n=1.0))[0], measured(sersic(n=3.0))[0]
    assert bulge["concentration"] > disk["concentration"] + 0.3
    assert bulge["gini"] > disk["gini"]
    light = sersic(n=1.0)
    y, x = np.mgrid[:81, :81]
    light += 150 * np.exp(-((x - 46) ** 2 + (y - 36) ** 2) / 6)
    clump = measured(light)[0]
    assert clump["asymmetry"] > disk["asymmetry"] + 0.1
    assert clump["m20"] > disk["m20"]


def test_large_images_are_averaged_and_lengths_stay_those_of_the_image(monkeypatch):
    light = sersic(side=162, radius=12, noise=1.0)
    monkeypatch.setattr(structure, "MOST_PIXELS", 81)
    small = measured(light)[0]
    assert small["sersic_rhalf"] == pytest.approx(12, rel=0.1)
    assert small["sersic_n"] == pytest.approx(1, rel=0.15)


def test_a_neighbour_and_blank_pixels_are_left_out():
    plain, light = measured(sersic())[0], sersic()
    y, x = np.mgrid[:81, :81]
    light += 500 * np.exp(-((x - 70) ** 2 + (y - 70) ** 2) / 8)
    light[:3] = np.nan
    beside = measured(light)[0]
    assert beside["concentration"] == pytest.approx(plain["concentration"], abs=0.1)
    assert beside["asymmetry"] == pytest.approx(plain["asymmetry"], abs=0.1)


@pytest.mark.parametrize(("light", "reason"), [
    (np.random.default_rng(0).normal(20, 1, (80, 80)), "no galaxy in the middle"),
    (sersic(at=(28, 28), radius=2.0, noise=8.0), "no galaxy in the middle"),
    (np.full((80, 80), 7.0), "no noise"),
    (np.full((80, 80), np.nan), "edge is blank"),
    (sersic()[40:60, 40:60], "too small to measure"),
])  # fmt: skip
def test_an_image_without_a_galaxy_to_measure_says_so(light, reason):
    with pytest.raises(ImageError, match=reason):
        measured(light)


def test_light_is_flux_of_fits_files_and_brightness_of_others():
    light = sersic().astype(np.float32)
    file = io.BytesIO()
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 2.0, "CRPIX1": 41,
                          "CRPIX2": 41, "CDELT1": -0.396 / 3600, "CDELT2": 0.396 / 3600})  # fmt: skip
    fits.PrimaryHDU(light, header).writeto(file)
    flux = read_flux(file.getvalue())
    np.testing.assert_array_equal(flux.light, light)
    assert (flux.pixel_scale, flux.is_display) == (pytest.approx(0.396, rel=1e-6), False)
    picture = io.BytesIO()
    grey = np.clip(light, 0, 255).astype(np.uint8)
    Image.fromarray(grey[::-1]).save(picture, "PNG")  # the upper row first
    display = read_flux(picture.getvalue())
    np.testing.assert_array_equal(display.light, grey)
    assert display.is_display
    assert math.isnan(display.pixel_scale)
    one, other = (measure_structure(image)[0]["orientation_asymmetry"] for image in (flux, display))
    assert one == pytest.approx(other, abs=0.05)


def test_missing_fluxes_have_a_warning_or_are_refused():
    light = sersic().astype(np.float32)
    light[:12] = np.nan
    assert "of the frame has no data" in " ".join(read_flux(fits_file(light)).warnings)
    light[34:47, 34:47] = 0
    with pytest.raises(ImageError, match="the middle of the frame has no data: it is exactly 0"):
        read_flux(fits_file(light))


def fits_file(light):
    file = io.BytesIO()
    fits.PrimaryHDU(light).writeto(file)
    return file.getvalue()
