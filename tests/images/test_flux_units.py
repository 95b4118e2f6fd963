"""Units of fluxes: what a stretch in nanomaggies is given, and what is warned of."""

from __future__ import annotations

import numpy as np
import pytest

from tests.images.test_units import SCIENCE, file_of
from tuningfork.images import read_image
from tuningfork.images.fits.flux_units import nanomaggies
from tuningfork.images.fits.framing import Framing

fits = pytest.importorskip("astropy.io.fits")
units = pytest.importorskip("astropy.units")

CUBE = np.stack([SCIENCE * 0.5, SCIENCE, SCIENCE * 1.5]) / 30
SDSS = Framing(stretch="sdss")
PLACE = {
    **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 32.5, "CRPIX2": 32.5},
    **{"CD1_1": -0.4 / 3600, "CD2_2": 0.4 / 3600},
}


def cube(planes: np.ndarray = CUBE, **cards: object) -> bytes:
    return file_of(fits.PrimaryHDU(planes.astype(np.float32), fits.Header({**PLACE, **cards})))


@pytest.mark.parametrize("name", ["nJy", "uJy / pix", "mJy", "MJy/sr", "uJy/arcsec2", "Jy sr-1"])
def test_units_are_those_of_astropy(name: str) -> None:
    pixel = 0.4 * units.arcsec
    value = 1 * units.Unit(name.replace(" / pix", ""))
    if "sr" in name or "arcsec" in name:
        value *= pixel**2
    assert nanomaggies(name, 0.4) == pytest.approx((value / (3631e-9 * units.Jy)).decompose(units.si.bases).value)


def test_fluxes_in_janskys_look_like_nanomaggies() -> None:
    expected = read_image(cube(BUNIT="nanomaggies"), SDSS)
    for name in ("nJy", "MJy/sr", "1e-8 Jy"):
        image = read_image(cube(CUBE / nanomaggies(name, 0.4), BUNIT=name), SDSS)
        assert np.abs(image.rgb.astype(int) - expected.rgb).max() <= 1
        assert image.warnings == expected.warnings


@pytest.mark.parametrize(
    ("cards", "warning"),
    [
        ({"BUNIT": "adu"}, "image 0 is in adu (BUNIT), and stretch sdss is for nanomaggies"),
        ({"MAGZERO": 30.0}, "zero point 30 (MAGZERO), and stretch sdss is for nanomaggies, whose zero point is 22.5: "
         "multiply it by 0.001"),
        ({"FLUXMAG0": 63095734448.0194}, "zero point 27 (FLUXMAG0)"),
        ({"BUNIT": "nanomaggy", "MAGZERO": 30.0}, ""),
        ({"MAGZERO": 22.5}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_other_units_and_zero_points_are_warned_of(cards: dict[str, object], warning: str) -> None:
    given = "; ".join(text for text in read_image(cube(**cards), SDSS).warnings if "nanomaggies" in text)
    assert warning in given
    assert bool(warning) == bool(given)
    assert "nanomaggies" not in read_image(cube(**cards), Framing(stretch="hst")).warning


def test_bands_of_different_units_are_warned_of() -> None:
    bands = [
        fits.ImageHDU(SCIENCE, fits.Header({"BUNIT": unit}), name)
        for name, unit in zip("GRI", ("nJy", "adu", "nJy"), strict=True)
    ]
    data = file_of(fits.PrimaryHDU(), *bands)
    assert "bands of different units (BUNIT): nJy, adu" in read_image(data, Framing(bands=("G", "R", "I"))).warnings


def test_bytes_are_shown_as_they_are_whatever_the_stretch() -> None:
    planes = np.clip(CUBE / CUBE.max() * 255, 0, 255).astype(np.uint8)
    data = file_of(fits.PrimaryHDU(planes))
    plain, stretched = read_image(data), read_image(data, SDSS)
    assert np.array_equal(plain.rgb, stretched.rgb)
    assert "not by stretch sdss" in stretched.warning
    assert "stretch" not in plain.warning


def test_a_band_of_larger_pixels_keeps_its_colour() -> None:
    def band(name: str, scale: float, side: int) -> object:
        y, x = (np.mgrid[:side, :side] - (side - 1) / 2) * scale
        header = fits.Header({**PLACE, "CRPIX1": (side + 1) / 2, "CRPIX2": (side + 1) / 2})
        header.update({"CD1_1": -scale / 3600, "CD2_2": scale / 3600})
        light = np.exp(-(x**2 + y**2) / 30) * scale**2 / 0.16
        return fits.ImageHDU(
            (light + np.random.default_rng(1).normal(0, 1e-3, x.shape)).astype(np.float32), header, name
        )

    framing = Framing(stretch="sdss", bands=("G", "R", "I"))
    same, mixed = (
        read_image(file_of(fits.PrimaryHDU(), band("G", 0.4, 64), band("R", 0.4, 64), last), framing).rgb.astype(int)
        for last in (band("I", 0.4, 64), band("I", 0.8, 32))
    )
    assert np.abs(same - mixed).max() < 20
