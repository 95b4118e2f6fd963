"""Images without data are refused, or have a warning."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tuningfork.images import read_image
from tuningfork.images.encode import jpeg, png
from tuningfork.images.image import NoDataError
from tuningfork.images.no_data import blank_pixels, constant_parts

fits = pytest.importorskip("astropy.io.fits")

SIDE = 96
RNG = np.random.default_rng(0)
Y, X = np.mgrid[:SIDE, :SIDE] - SIDE / 2
FLUX = (np.exp(-(X**2 + Y**2) / 200) * 5 + RNG.normal(0, 0.1, (3, SIDE, SIDE))).astype(np.float32)
RGB = np.clip(FLUX.transpose(1, 2, 0) * 40 + 30, 0, 255).astype(np.uint8)


def fits_file(data: np.ndarray, **cards: object) -> bytes:
    stream = io.BytesIO()
    fits.PrimaryHDU(data, fits.Header(cards)).writeto(stream)
    return stream.getvalue()


def test_an_image_with_data_has_no_warning_of_it() -> None:
    for source in (fits_file(FLUX), RGB, jpeg(RGB), png(RGB)):
        assert "data" not in read_image(source).warning


@pytest.mark.parametrize("value", [0.0, 7.5, -999.0])
def test_constant_fluxes_are_refused(value: float) -> None:
    for shape in ((SIDE, SIDE), (3, SIDE, SIDE), (1, 1, SIDE, SIDE)):
        with pytest.raises(NoDataError, match="all pixels have the same value"):
            read_image(fits_file(np.full(shape, value, np.float32)))


def test_blank_integers_are_missing() -> None:
    counts = (FLUX[0] * 100).astype(np.int16)
    counts[:40] = -32768
    assert "of the frame has no data" in read_image(fits_file(counts, BLANK=-32768)).warning
    counts[:] = -32768
    with pytest.raises(NoDataError, match="no usable pixel"):
        read_image(fits_file(counts, BLANK=-32768))


@pytest.mark.parametrize("value", [0.0, -99.0, np.nan])
@pytest.mark.parametrize("band", [0, 1, 2])
def test_a_band_without_data_is_named(band: int, value: float) -> None:
    planes = FLUX.copy()
    planes[band] = value
    source = fits_file(planes)
    if np.isnan(value):
        with pytest.raises(NoDataError):
            read_image(source)
    else:
        assert f"band {band + 1} of 3 has no data" in read_image(source).warning


@pytest.mark.parametrize("cut", ["half", "corner", "diagonal"])
def test_large_parts_of_zeros_have_a_warning(cut: str) -> None:
    missing = {"half": Y > SIDE / 6, "corner": (X > 8) & (Y > 8), "diagonal": X + Y > SIDE / 3}[cut]
    planes = np.where(missing, 0, FLUX)
    assert "the same value" in read_image(fits_file(planes)).warning
    rgb = np.where(missing[:, :, None], 0, RGB).astype(np.uint8)
    for source in (rgb, png(rgb), jpeg(rgb, 95)):
        assert "the same value" in read_image(source).warning


def test_a_middle_of_zeros_is_refused() -> None:
    with pytest.raises(NoDataError, match="the middle of the frame has no data"):
        read_image(fits_file(np.where(abs(X) < 30, 0, FLUX)))


def test_a_turned_image_with_zeros_has_a_warning() -> None:
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 9.0, "CRVAL2": 9.0, "CRPIX1": 48.0, "CRPIX2": 48.0}
    turn = np.radians(33)
    matrix = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / 9000
    cards |= {f"CD{i + 1}_{j + 1}": float(value) for (i, j), value in np.ndenumerate(matrix)}
    assert "the same value" in read_image(fits_file(np.where(Y > 12, 0, FLUX), **cards)).warning


def test_a_nearly_black_image_has_a_warning() -> None:
    assert "nearly black" in read_image(RGB // 30).warning


def test_shares_count_in_the_circle() -> None:
    planes = np.ones((1, 40, 40), np.float32)
    planes[0, :3, :3] = np.nan
    assert blank_pixels(planes) == ()
    assert constant_parts(RNG.normal(size=(1, 40, 40)).astype(np.float32), is_flux=True) == ()
