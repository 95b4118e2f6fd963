"""Which image of a FITS file is meant, and what is said of the others."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tuningfork.images import ImageError, read_image
from tuningfork.images.fits.bands import open_bands
from tuningfork.images.fits.filters import by_wavelength
from tuningfork.images.fits.framing import Framing, parse_mask_bits

fits = pytest.importorskip("astropy.io.fits")

SIDE = 64
RNG = np.random.default_rng(0)
Y, X = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
SCIENCE = (np.exp(-(X**2 + Y**2) / 80) * 3 + RNG.normal(0, 0.05, (SIDE, SIDE))).astype(np.float32)
WEIGHT = (1 + RNG.normal(0, 0.01, (SIDE, SIDE))).astype(np.float32)
MASK = (RNG.random((SIDE, SIDE)) < 0.02).astype(np.int16)
EMPTY = fits.PrimaryHDU()


def named(data: np.ndarray, name: str = "", **cards: object) -> object:
    return fits.ImageHDU(data, fits.Header(cards), name=name or None)


def file_of(*hdus: object) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    return stream.getvalue()


def chosen(*hdus: object, framing: Framing = Framing()) -> tuple[np.ndarray, str]:
    with open_bands(file_of(*hdus), framing) as image:
        return image.bands[0].read(), "; ".join(image.warnings)


@pytest.mark.parametrize(
    "shape", [(1, 1, SIDE, SIDE), (1, SIDE, SIDE), (SIDE, SIDE), (SIDE, SIDE, 1), (1, SIDE, 1, SIDE)]
)
def test_axes_of_length_one_are_dropped(shape: tuple[int, ...]) -> None:
    pixels, warning = chosen(fits.PrimaryHDU(SCIENCE.reshape(shape)))
    assert np.array_equal(pixels, SCIENCE)
    assert warning == ""


def test_bands_beside_axes_of_length_one() -> None:
    planes = np.stack([SCIENCE, SCIENCE * 2, SCIENCE * 3])
    for shape in ((3, 1, SIDE, SIDE), (1, 3, SIDE, SIDE)):
        with open_bands(file_of(fits.PrimaryHDU(planes.reshape(shape)))) as image:
            assert [np.array_equal(band.read(), plane) for band, plane in zip(image.bands, planes, strict=True)] == [
                True
            ] * 3


@pytest.mark.parametrize(
    "name", ["WEIGHT", "WHT", "SCI_WHT", "VARIANCE", "VAR1", "ERR", "rms", "MASK", "DQ", "INVVAR", "exp-map"]
)
def test_science_comes_before_maps_whatever_their_order(name: str) -> None:
    for science in (named(SCIENCE), named(SCIENCE, "SCI"), named(SCIENCE[None, None], "IMAGE")):
        pixels, warning = chosen(EMPTY, named(WEIGHT, name), science)
        assert np.array_equal(pixels, SCIENCE)
        assert "left out" in warning
        assert name.upper() in warning
    pixels, warning = chosen(fits.PrimaryHDU(SCIENCE[None, None]), named(WEIGHT, name))
    assert np.array_equal(pixels, SCIENCE)


def test_other_cards_than_extname_name_a_map() -> None:
    for card, value in (("HDUNAME", "WEIGHT"), ("EXTTYPE", "MASK"), ("IMTYPE", "invvar"), ("HDUCLAS2", "ERROR")):
        assert np.array_equal(chosen(EMPTY, named(WEIGHT, **{card: value}), named(SCIENCE))[0], SCIENCE)


@pytest.mark.parametrize("first", [MASK, np.ones_like(SCIENCE), WEIGHT, (MASK * 7).astype(np.uint8)])
def test_without_names_the_values_tell(first: np.ndarray) -> None:
    pixels, warning = chosen(fits.PrimaryHDU(first), named(SCIENCE))
    assert np.array_equal(pixels, SCIENCE)
    assert "2 bands found" in warning


def test_a_map_alone_is_read_and_one_of_a_strange_image_is_not() -> None:
    assert np.array_equal(chosen(EMPTY, named(SCIENCE, "MODEL"))[0], SCIENCE)
    with pytest.raises(ImageError, match="name another with --hdu"):
        chosen(fits.PrimaryHDU(np.ones((2, 3, SIDE, SIDE))), named(WEIGHT, "WEIGHT"))


def test_bands_that_are_taken_as_one_are_reported() -> None:
    bands = [named(SCIENCE * n, name) for n, name in ((1, "I"), (2, "G"), (3, "R"))]
    pixels, warning = chosen(EMPTY, *bands, named(MASK, "MASK"))
    assert np.array_equal(pixels, SCIENCE)
    assert "3 bands found, of which only I is used: for colours use --bands G,R,I" in warning
    assert "left out: MASK" in warning
    _, warning = chosen(EMPTY, *bands, framing=Framing(bands=("G", "R", "I")))
    assert warning == ""
    _, warning = chosen(EMPTY, *bands[:2])
    assert "2 bands found" in warning


def test_bands_are_found_by_their_filters() -> None:
    bands = [named(SCIENCE * n, FILTER=name) for n, name in ((1, "r"), (2, "g"), (3, "i"))]
    with open_bands(file_of(EMPTY, *bands), Framing(bands=("g", "r", "i"))) as image:
        assert [band.filter for band in image.bands] == ["g", "r", "i"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("form", ["units", "cube"])
def test_named_bands_are_blue_green_red_whatever_the_type(dtype: type, form: str) -> None:
    levels = [np.clip(SCIENCE * 20 + 40, 0, 255) * share for share in (0.3, 0.6, 1.0)]
    planes = [level.astype(dtype) for level in levels]
    if form == "units":
        data, names = file_of(EMPTY, *(named(p, n) for p, n in zip(planes, "BGR", strict=True))), ("B", "G", "R")
    else:
        data, names = file_of(fits.PrimaryHDU(np.stack(planes))), (0, 1, 2)
    middle = read_image(data, Framing(bands=names)).rgb[SIDE // 2, SIDE // 2].astype(int)
    turned = read_image(data, Framing(bands=names[::-1])).rgb[SIDE // 2, SIDE // 2].astype(int)
    assert middle[0] > middle[1] > middle[2]
    assert turned[0] < turned[1] < turned[2]


def wcs_cards(kind: str) -> dict[str, object]:
    cards: dict[str, object] = {"CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}", "CRVAL1": 150.0, "CRVAL2": 2.0}
    cards |= {"CRPIX1": 32.5, "CRPIX2": 32.5, "CD1_1": -0.396 / 3600, "CD2_2": 0.396 / 3600, "CD1_2": 0.0, "CD2_1": 0.0}
    if kind == "TAN-SIP":
        cards |= {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-7, "B_0_2": 1e-7}
    if kind == "TPV":
        cards |= {"PV1_0": 0.0, "PV1_1": 1.0, "PV2_0": 0.0, "PV2_1": 1.0}
    return cards


@pytest.mark.parametrize("kind", ["TAN", "TAN-SIP", "TPV"])
@pytest.mark.parametrize("third", [{}, {"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CDELT3": 1e6, "CRPIX3": 1.0}])
def test_the_wcs_of_a_cube_is_that_of_its_plane(kind: str, third: dict[str, object]) -> None:
    cards = wcs_cards(kind)
    plane = read_image(file_of(fits.PrimaryHDU(SCIENCE, fits.Header(cards))), Framing(size=12))
    # A plane that was taken out of a cube may have kept its cards.
    for shape in ((3, SIDE, SIDE), (1, 1, SIDE, SIDE), (SIDE, SIDE)):
        cube = np.broadcast_to(SCIENCE, shape)
        image = read_image(file_of(fits.PrimaryHDU(cube.copy(), fits.Header({**cards, **third}))), Framing(size=12))
        assert image.rgb.shape == plane.rgb.shape == (30, 30, 3)
        assert np.abs(image.rgb.astype(int) - plane.rgb).max() <= 1
        assert "WCS" not in image.warning


def test_a_pole_is_a_place_as_others() -> None:
    images = []
    for cards in ({}, {"CRVAL2": 90.0, "LONPOLE": 180.0}, {"CRVAL2": 89.9999}):
        data = file_of(fits.PrimaryHDU(SCIENCE, fits.Header({**wcs_cards("TAN"), **cards})))
        images.append(read_image(data, Framing(size=12)).rgb.astype(int))
        assert "WCS" not in read_image(data).warning
    assert max(np.abs(image - images[0]).max() for image in images) <= 1


def test_a_size_says_why_the_wcs_cannot_be_used() -> None:
    cards = wcs_cards("TAN") | {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"}
    with pytest.raises(
        ImageError, match=r"has no WCS that can be used .broken WCS .its coordinates are not those of the c"
    ):
        read_image(file_of(fits.PrimaryHDU(SCIENCE, fits.Header(cards))), Framing(size=12))


def test_a_size_without_a_scale_is_an_error() -> None:
    for source in (file_of(fits.PrimaryHDU(SCIENCE)), np.full((40, 40), 0.5)):
        with pytest.raises(ImageError, match="--size"):
            read_image(source, Framing(size=12))
        assert "all of the image is shown" in read_image(source, radius=3.0).warning


def test_bits_of_a_mask_have_numbers_and_names() -> None:
    mask = np.zeros((SIDE, SIDE), np.int32)
    mask[16:48, 16:48] = 32  # detected: a galaxy
    mask[:4] = 1
    file = [EMPTY, named(SCIENCE, "IMAGE"), named(mask, "MASK", MP_BAD=0, MP_SAT=1, MP_OBJ=5)]
    with pytest.raises(ImageError, match=r"mask MASK with the bits BAD, SAT, OBJ is not 0; --mask-bits"):
        read_image(file_of(*file), Framing(mask="MASK"))
    for text in ("BAD,SAT", "bad", "MP_BAD", "3", "0x1", "1,2"):
        pixels, _ = chosen(*file, framing=Framing(mask="MASK", mask_bits=parse_mask_bits(text)))
        assert np.isnan(pixels).sum() == 4 * SIDE
    with pytest.raises(ImageError, match="no bit 'CR' in the mask MASK: BAD, SAT, OBJ"):
        chosen(*file, framing=Framing(mask="MASK", mask_bits=("CR",)))
    for wrong in ("", "BAD,,SAT", "0"):
        with pytest.raises(ValueError, match="expected, separated by commas"):
            parse_mask_bits(wrong)


def test_the_highest_bit_of_a_signed_mask_is_its_sign_and_bits_beyond_are_refused() -> None:
    mask = np.zeros((SIDE, SIDE), np.int16)
    mask[:4] = -(2**15)
    mask[4:8] = 1
    pixels, _ = chosen(
        EMPTY, named(SCIENCE, "IMAGE"), named(mask, "MASK"), framing=Framing(mask="MASK", mask_bits=2**15)
    )
    assert np.isnan(pixels[:4]).all()
    assert np.isnan(pixels).sum() == 4 * SIDE
    for values, reason in (
        (mask, "a mask of 16 bits has none of the value 65536"),
        (mask * 1.0, "float64 has no bits"),
    ):
        with pytest.raises(ImageError, match=reason):
            chosen(EMPTY, named(SCIENCE, "IMAGE"), named(values, "MASK"), framing=Framing(mask="MASK", mask_bits=2**16))


def test_names_by_wavelength() -> None:
    assert by_wavelength(["i", "g", "r"]) == ["g", "r", "i"]
    assert by_wavelength(["F814W", "F435W", "F606W"]) == ["F435W", "F606W", "F814W"]
    assert by_wavelength(["DES-z", "DES-g"]) == ["DES-g", "DES-z"]
    assert by_wavelength(["SCI", "alpha"]) == ["SCI", "alpha"]
    for names in (
        "F606W F814W F125W F160W", "F275W F435W F850LP", "F090W F277W F444W F770W F1500W", "F606W F115W F410M",
        "HSC-G HSC-R2 HSC-I2", "VIS NIR_Y NIR_H", "W1 W2 W3", "OCAM_g_SDSS OCAM_r_SDSS", "gSDSS rSDSS iSDSS",
        "J0378 g r", "g_6 r_57 i_39", "u.MP9301 r.MP9601", "FUV NUV B H-alpha I", "IRAC1 IRAC4", "Blue Green Red",
    ):  # fmt: skip
        assert by_wavelength(names.split()[::-1]) == names.split()
    decam = ["z DECam SDSS c0004 9260.0 1520.0", "g DECam SDSS c0001 4720.0 1520.0"]
    assert by_wavelength(decam) == decam[::-1]


def test_the_axis_of_a_cube_says_how_its_planes_lie() -> None:
    planes = np.stack([SCIENCE, SCIENCE * 2, SCIENCE * 3])

    def order(**cards: object) -> list[int]:
        with open_bands(file_of(fits.PrimaryHDU(planes, fits.Header(cards)))) as image:
            assert image.warnings == ()
            return [round(float(band.read().max() / SCIENCE.max())) for band in image.bands]

    assert order() == order(CTYPE3="WAVE", CDELT3=1e-7) == order(CTYPE3="FREQ", CDELT3=-1e9) == [1, 2, 3]
    for cards in (
        {"CTYPE3": "RGB"},
        {"COLORSPC": "RGB"},
        {"CTYPE3": "WAVE", "CD3_3": -1e-7},
        {"CTYPE3": "FREQ", "CDELT3": 1e9},
    ):
        assert order(**cards) == [3, 2, 1]
    with pytest.raises(ImageError, match=r"cube of STOKES .CTYPE3., not bands; name one: --bands 0"):
        order(CTYPE3="STOKES")


def test_maps_alone_are_warned_of() -> None:
    for cards in ({"IMTYPE": "invvar"}, {"PRODTYPE": "wtmap"}, {"EXTNAME": "WHT"}):
        assert "no science image but a map of weights" in chosen(fits.PrimaryHDU(WEIGHT, fits.Header(cards)))[1]
    assert chosen(EMPTY, named(SCIENCE, "SCI"), named(WEIGHT, "AREA"))[1] == "image SCI is used, left out: AREA"


def test_cards_without_quotes_are_read() -> None:
    data = file_of(fits.PrimaryHDU(SCIENCE, fits.Header({"OBJECT": "x"})))
    at = data.index(b"OBJECT  =")
    for card in (b"BUNIT   = nJy / of a pixel", b"HDUNAME = image", b"IMTYPE  = image"):
        assert read_image(data[:at] + card.ljust(80) + data[at + 80 :]).warnings == read_image(data).warnings
    with pytest.raises(ImageError, match="a logarithm"):
        read_image(data[:at] + b"BUNIT   = mag".ljust(80) + data[at + 80 :])


def test_a_checksum_that_is_out_of_date_is_a_warning_and_damage_an_error() -> None:
    whole = fits.PrimaryHDU(np.tile(SCIENCE, (2, 2)))
    whole.add_checksum()
    cut = fits.PrimaryHDU(SCIENCE, whole.header)
    assert "the file is damaged, or was changed" in chosen(cut)[1]
    data = file_of(whole)
    assert read_image(data).warnings == read_image(file_of(fits.PrimaryHDU(whole.data))).warnings
    with pytest.raises(ImageError, match="damaged FITS file: the checksum of image 0"):
        read_image(data[:6000] + bytes(40) + data[6040:])
