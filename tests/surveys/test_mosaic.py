"""Mosaics and tiles as a source of pictures by position."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuningfork.images.image import ImageError
from tuningfork.surveys.mosaic import MosaicError, MosaicSource
from tuningfork.surveys.registry import SurveyError, SurveyOptions, open_source
from tuningfork.surveys.tiles import read_tiles

fits = pytest.importorskip("astropy.io.fits")
pytest.importorskip("reproject")
from astropy.wcs import WCS

SIDE, STEP, SCALE = 240, 90, 0.5


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def camera(
    angle: float = 0, mirrored: bool = False, ra: float = 150.0, *, scale: float = SCALE, side: int = SIDE
) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, 30]
    wcs.wcs.crpix = [(side + 1) / 2] * 2
    turn = math.radians(angle)
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    wcs.wcs.cd = np.diag([-1, 1]) @ turned @ np.diag([-1 if mirrored else 1, 1]) * scale / 3600
    return wcs


def seen(wcs: WCS, places: np.ndarray, brightness: tuple[float, ...] = (100.0,)) -> np.ndarray:
    """Point sources at places (N, 2), degrees: (B, SIDE, SIDE)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = 1e-3 * np.random.default_rng(0).normal(1, 1e-3, (SIDE, SIDE))
    for column, row in wcs.all_world2pix(places, 0):
        image += np.exp(-((x - column) ** 2 + (y - row) ** 2) / 4.5)
    return (image * np.array(brightness)[:, None, None]).astype(np.float32)


def tiled(folder: Path, image: np.ndarray, wcs: WCS, *, border: int = 5, band: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    for row in range(0, SIDE, STEP):
        for column in range(0, SIDE, STEP):
            rows, columns = (slice(max(0, n - 12), min(SIDE, n + STEP + 12)) for n in (row, column))
            tile = image[..., rows, columns].copy()
            for edge in (np.s_[..., :border, :], np.s_[..., -border:, :], np.s_[..., :border], np.s_[..., -border:]):
                tile[edge] = np.nan
            name = f"t{row}-{column}{band and f'-{band}'}.fits"
            fits.writeto(folder / name, np.squeeze(tile), wcs[rows, columns].to_header())
    return folder


#: Two in the middle of tiles, two at their borders.
PLACES = np.array([[150.0, 30.0], [150.008, 30.0055], [149.993, 29.9935], [150.0035, 29.996]])


@pytest.mark.parametrize(("angle", "mirrored"), [(0, False), (90, True), (33, False), (210, True)])
def test_positions_are_in_the_middle_and_north_is_up(tmp_path: Path, angle: float, mirrored: bool) -> None:
    wcs = camera(angle, mirrored)
    beside = PLACES + np.array([0, 6 / 3600])
    image = seen(wcs, np.concatenate([PLACES, beside]))
    source = MosaicSource(tiled(tmp_path / "tiles", image, wcs))
    for ra, dec in PLACES:
        cutout = source.cutout(ra, dec, 24.0, 97)
        light = cutout.rgb.astype(float).mean(2) ** 3
        scale = 24 / 97
        for north in (0, 6):
            row = round(48 - north / scale)
            part = light[row - 6 : row + 7, 42:55]
            y, x = np.mgrid[row - 6 : row + 7, 42:55]
            assert abs((part * x).sum() / part.sum() - 48) * scale < 0.05
            assert abs((part * y).sum() / part.sum() - (48 - north / scale)) * scale < 0.05
        assert cutout.provenance.source == "mosaic"
        assert cutout.provenance.pixel_scale == pytest.approx(scale)
        assert cutout.provenance.layer.startswith("t")


@pytest.mark.parametrize("ra", [0.0, 359.9999])
def test_right_ascension_goes_round(tmp_path: Path, ra: float) -> None:
    wcs = camera(ra=ra)
    place = np.array([[(ra + 0.004) % 360, 30.0]])
    source = MosaicSource(tiled(tmp_path / "tiles", seen(wcs, place), wcs))
    picture = source.cutout(*place[0], 16.0, 33).rgb
    assert np.unravel_index(picture.mean(2).argmax(), (33, 33)) == (16, 16)


def test_bands_come_from_files_planes_or_units(tmp_path: Path) -> None:
    wcs = camera()
    image = seen(wcs, PLACES, (1.0, 2.0, 3.0))
    for band, plane in zip("gri", image, strict=True):
        tiled(tmp_path / "apart", plane, wcs, band=band)
    tiled(tmp_path / "cubes", image, wcs)
    apart = MosaicSource(tmp_path / "apart" / "t*-{band}.fits", bands="gri", stretch="hst")
    cubes = MosaicSource(tmp_path / "cubes", stretch="hst")
    grey = MosaicSource(tmp_path / "cubes", bands=[1])
    one, other = (source.cutout(150, 30, 20, 40).rgb for source in (apart, cubes))
    assert np.array_equal(one, other)
    assert np.ptp(grey.cutout(150, 30, 20, 40).rgb.astype(int), axis=2).max() == 0
    with pytest.raises(FileNotFoundError, match="no file of band z"):
        MosaicSource(tmp_path / "apart" / "t*-{band}.fits", bands="grz")
    with pytest.raises(FileNotFoundError, match="which bands"):
        MosaicSource(tmp_path / "apart" / "t*-{band}.fits")


def test_outside_blank_and_impossible_places_are_reasons(tmp_path: Path) -> None:
    wcs = camera()
    image = seen(wcs, PLACES)
    image[:, 100:140, 60:80] = np.nan
    image[:, :60, :60] = 0
    fits.writeto(tmp_path / "one.fits", image, wcs.to_header())
    source = MosaicSource(tmp_path / "one.fits")

    def place(column: float, row: float) -> tuple[float, float]:
        return tuple(map(float, wcs.all_pix2world([[column, row]], 0)[0]))

    hole = place(70, 120)
    for where, reason in (
        ((10.0, -30.0), r"outside of all tiles \(1\)"),
        (hole, "middle of the frame has no data"),
        (place(SIDE + 14, 120), "has no data, more than half"),
        (place(28, 28), "no data: the tiles are blank there"),
        ((math.nan, 30.0), "no position"),
        ((400.0, 30.0), "outside of 0–360"),
    ):
        with pytest.raises(ImageError, match=reason):
            source.cutout(*where, 35.0 if where == hole else 20.0, 40)
    for size in (0.0, math.nan, 1.0, 1e9):
        with pytest.raises(ImageError, match=r"arcsec|px"):
            source.cutout(150, 30, size, 40)
    assert "of the frame has no data" in source.cutout(*place(95, 120), 30.0, 60).warning
    assert source.cutout(150, 30, 30.0, 60).warning == ""


def test_files_that_cannot_be_used_are_skipped_by_name(tmp_path: Path) -> None:
    folder = tiled(tmp_path / "tiles", seen(camera(), PLACES), camera())
    (folder / "broken.fits").write_bytes(b"SIMPLE  =  no")
    fits.writeto(folder / "nowhere.fits", np.zeros((20, 20), np.float32))
    source = MosaicSource(folder)
    assert {Path(path).name: reason for path, reason in source.skipped}["nowhere.fits"] == "no WCS"
    assert len(source.skipped) == 2
    assert source.cutout(150, 30, 20, 40).rgb.max() > 200
    with pytest.raises(MosaicError, match=r"nowhere\.fits: no WCS"):
        MosaicSource(folder / "nowhere.fits")
    with pytest.raises(FileNotFoundError, match="no FITS file"):
        MosaicSource(_empty(tmp_path))


def _empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_where_tiles_lie_is_kept_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiled(tmp_path / "tiles", seen(camera(), PLACES), camera())
    looked: list[str] = []

    def counted(path: str, *rest: object) -> object:
        looked.append(path)
        return original(path, *rest)

    original: Callable[..., object] = read_tiles.__globals__["_examine"]
    monkeypatch.setattr("tuningfork.surveys.tiles._examine", counted)
    MosaicSource(folder)
    assert len(looked) == 9
    MosaicSource(folder)
    assert len(looked) == 9
    first = sorted(folder.iterdir())[0]
    first.write_bytes(first.read_bytes() + bytes(2880))
    MosaicSource(folder)
    assert looked[9:] == [str(first)]
    for file in (tmp_path / "cache").rglob("*.json"):
        file.write_text("{")
    MosaicSource(folder)
    assert len(looked) == 19


# ---------------------------------------------------------------- positions


def write_bands(folder: Path, names: list[str], **filters: str) -> Path:
    wcs = camera()
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        header = wcs.to_header()
        if name in filters:
            header["FILTER"] = filters[name]
        fits.writeto(folder / f"{name}.fits", seen(wcs, PLACES, (1.0 + number,))[0], header)
    return folder


def test_tiles_of_several_bands_are_not_one_image(tmp_path: Path) -> None:
    by_card = write_bands(tmp_path / "card", ["one", "two", "three"], one="r", two="g", three="i")
    with pytest.raises(MosaicError, match=r"3 bands found, g, r, i, .* --layer g,r,i"):
        MosaicSource(by_card)
    by_name = write_bands(tmp_path / "name", ["t0-i", "t0-g", "t0-r"])
    with pytest.raises(MosaicError, match=r"3 bands found, g, r, i, .*\{band\}.*--layer g,r,i"):
        MosaicSource(by_name)
    assert MosaicSource(by_name / "t0-{band}.fits", bands="gri").cutout(150, 30, 20, 40).rgb.any()
    mixed = write_bands(tmp_path / "mixed", ["a-g", "b-g"], **{"a-g": "g", "b-g": "z"})
    with pytest.raises(MosaicError, match="files of band g are of several filters: g, z"):
        MosaicSource(mixed / "*-{band}.fits", bands="g")
    # Letters may count tiles, too.
    counted = write_bands(tmp_path / "counted", ["t-f", "t-g", "t-h", "t-i"])
    assert MosaicSource(counted).cutout(150, 30, 20, 40).rgb.any()


def test_weight_maps_beside_tiles_are_left_out(tmp_path: Path) -> None:
    folder = write_bands(tmp_path / "tiles", ["coadd-image", "coadd-invvar", "coadd-maskbits"])
    source = MosaicSource(folder)
    assert sorted(Path(path).stem for path, _ in source.skipped) == ["coadd-invvar", "coadd-maskbits"]
    assert source.cutout(150, 30, 20, 40).provenance.layer == "coadd-image.fits"


def test_a_mask_of_tiles_leaves_out_its_bad_pixels(tmp_path: Path) -> None:
    wcs = camera()
    image = seen(wcs, PLACES)[0]
    mask = np.zeros((SIDE, SIDE), np.int16)
    mask[:, : SIDE // 2 - 10] = 1
    mask[SIDE // 2 :] |= 2  # detected
    header = wcs.to_header()
    header.update({"MP_BAD": 0, "HIERARCH MP_DETECTED": 1})
    units = [fits.PrimaryHDU(), fits.ImageHDU(image, wcs.to_header(), "IMAGE"), fits.ImageHDU(mask, header, "MASK")]
    fits.HDUList(units).writeto(tmp_path / "tile.fits")

    def cut(**options: object) -> str:
        source = open_source(str(tmp_path / "tile.fits"), SurveyOptions(**options))
        return source.cutout(150.0, 30.0, 60.0, 64).warning

    assert "no data" not in cut()
    assert "no data" in cut(mask="MASK", mask_bits=("BAD",))
    with pytest.raises(ImageError, match="--mask-bits chooses"):
        cut(mask="MASK")
    with pytest.raises(SurveyError, match="FITS tiles on disk alone"):
        open_source("legacy", SurveyOptions(mask="MASK"))


def light(scale: float, side: int, amplitude: float = 1.0) -> tuple[np.ndarray, fits.Header]:
    """A galaxy in nanomaggies a pixel, and the header of its image, for pixels of so many arcseconds."""
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) * scale
    flux = amplitude * np.exp(-np.hypot(x, 1.5 * y) / 3) * scale**2 / 0.16
    noise = np.random.default_rng(0).normal(0, 0.005, (side, side))
    return (flux + noise).astype(np.float32), camera(scale=scale, side=side).to_header()


def write_tile(
    folder: Path, name: str, scale: float = 0.4, side: int = 100, gain: float = 1.0, **cards: object
) -> Path:
    folder.mkdir(exist_ok=True)
    data, header = light(scale, side)
    header.update(cards)
    fits.writeto(folder / f"{name}.fits", data * np.float32(gain), header)
    return folder


def galaxy(source: MosaicSource) -> np.ndarray:
    return source.cutout(150.0, 30.0, 30.0, 64).rgb.astype(int)


def test_bands_and_tiles_of_other_pixels_have_the_same_colours(tmp_path: Path) -> None:
    for band, scale in (("g", 0.4), ("r", 0.4), ("i", 0.8)):
        write_tile(tmp_path / "same", band)
        write_tile(tmp_path / "mixed", band, scale, round(40 / scale))
    same, mixed = (
        galaxy(MosaicSource(tmp_path / name / "{band}.fits", bands="gri", stretch="sdss")) for name in ("same", "mixed")
    )
    # Coarse pixels blur the galaxy; before their area counted, its red was three times as bright.
    assert abs(same.mean((0, 1)) - mixed.mean((0, 1))).max() < 0.1 * same.mean()


def test_tiles_of_several_filters_by_any_card_or_name_are_refused(tmp_path: Path) -> None:
    kinds = {
        "names": [("hst_acs_f606w_drz", {}), ("hst_acs_f814w_drz", {})],
        "wheels": [("a", {"FILTER1": "CLEAR1L", "FILTER2": n}) for n in ("F606W", "F814W")],
    }
    kinds["wheels"][1] = ("b", kinds["wheels"][1][1])
    for kind, tiles in kinds.items():
        for name, cards in tiles:
            write_tile(tmp_path / kind, name, **cards)
        with pytest.raises(MosaicError, match=r"2 bands found, [Ff]606[Ww], [Ff]814[Ww]"):
            MosaicSource(tmp_path / kind)


def test_units_of_tiles_are_brought_to_nanomaggies_or_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "units"
    for band in "gri":
        write_tile(folder, band, BUNIT="nanomaggy")
        write_tile(folder, f"{band}-2", gain=3631.0, BUNIT="nJy")
    one, both = (
        MosaicSource(str(folder / pattern), bands="gri", stretch="sdss") for pattern in ("{band}.fits", "{band}*.fits")
    )
    assert abs(galaxy(one) - galaxy(both)).max() <= 2
    with pytest.raises(MosaicError, match=r"several units .BUNIT.: nJy, nanomaggy"):
        MosaicSource(str(folder / "{band}*.fits"), bands="gri")
    for name, zero in (("a", 25.0), ("b", 30.0)):
        write_tile(tmp_path / "zero", name, MAGZERO=zero)
    MosaicSource(tmp_path / "zero")
    assert "several zero points (25.00, 30.00)" in caplog.text


def test_maps_beside_tiles_are_left_out_by_their_names_and_cards(tmp_path: Path) -> None:
    for name, cards in (("x-image-r", {"IMTYPE": "image"}), ("x-chi2-r", {}), ("x-r-2", {"IMTYPE": "blobmodel"})):
        write_tile(tmp_path / "tiles", name, FILTER="r", **cards)
    source = MosaicSource(tmp_path / "tiles")
    assert [Path(path).stem for path, _ in source.skipped] == ["x-chi2-r", "x-r-2"]
    assert source.cutout(150.0, 30.0, 30.0, 64).provenance.layer == "x-image-r.fits"


def test_what_stands_for_no_data_has_a_warning_before_it_is_blurred(tmp_path: Path) -> None:
    data, header = light(0.4, 100)
    data[20:40, 20:40] = -99
    fits.writeto(tmp_path / "a.fits", data, header)
    assert "exactly -99, far from all other values" in MosaicSource(tmp_path / "a.fits").cutout(150, 30, 30, 64).warning
    counts = np.random.default_rng(0).poisson(np.maximum(light(0.4, 100, 3)[0] + 0.3, 0)).astype(np.int16)
    fits.writeto(tmp_path / "b.fits", counts, header)
    assert "no data" not in MosaicSource(tmp_path / "b.fits").cutout(150, 30, 30, 64).warning.replace(
        "if it has no data", ""
    )


def test_a_tile_about_a_pole_is_cut(tmp_path: Path) -> None:
    data, header = light(0.4, 100)
    header.update({"CRVAL1": 0.0, "CRVAL2": 90.0})
    fits.writeto(tmp_path / "pole.fits", data, header)
    polar = MosaicSource(tmp_path / "pole.fits").cutout(0.0, 90.0, 30.0, 64).rgb
    assert abs(polar.astype(int) - galaxy(MosaicSource(write_tile(tmp_path / "tile", "a")))).max() <= 3
