"""Damaged and hostile files are an error or have a warning, at once and in little memory."""

from __future__ import annotations

import io
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from tuningfork.images import ImageError, read_image
from tuningfork.images.complaints import decoder_complaints
from tuningfork.images.fits.bands import open_bands
from tuningfork.images.markers import MOST_SCANS, check_jpeg_scans

fits = pytest.importorskip("astropy.io.fits")

RNG = np.random.default_rng(0)
Y, X = np.mgrid[:96, :96]
RGB = np.clip(np.stack([X, Y, X + Y], -1) + RNG.integers(0, 40, (96, 96, 3)), 0, 255).astype(np.uint8)


def encoded(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, kind, **options)
    return stream.getvalue()


JPEGS = {"baseline": {}, "progressive": {"progressive": True}, "grey": {}, "restart": {"restart_marker_rows": 1}}


@pytest.mark.parametrize("kind", JPEGS)
def test_damage_inside_of_a_jpeg_is_never_silent(kind: str) -> None:
    data = encoded("JPEG", quality=92, **JPEGS[kind])
    start, end = data.index(b"\xff\xda") + 20, len(data) - 2
    silent = []
    for share in (0.2, 0.5, 0.8):
        at = start + int(share * (end - start))
        for name, bad in {
            "zeros": data[:at] + bytes(400) + data[at + 400 :],
            "cut and ended": data[:at] + b"\xff\xd9",
            "cut": data[:at],
        }.items():
            try:
                if not read_image(bad).warnings:
                    silent.append((share, name))
            except ImageError:
                pass
    assert silent == []


def test_a_whole_jpeg_has_no_warning() -> None:
    for options in JPEGS.values():
        assert read_image(encoded("JPEG", **options)).warnings == ()
    assert read_image(encoded("JPEG") + b"trailing bytes").warnings == ()
    stream = io.BytesIO()
    Image.fromarray(RGB).convert("CMYK").save(stream, "JPEG")
    assert read_image(stream.getvalue()).warnings == ()
    with pytest.raises(ImageError, match="damaged"):
        read_image(stream.getvalue()[:2000] + bytes(300) + stream.getvalue()[2300:])


def test_a_wrong_checksum_of_a_png_is_an_error() -> None:
    data = encoded("PNG")
    at = data.index(b"IDAT") - 4
    (length,) = struct.unpack(">I", data[at : at + 4])
    pixels = bytearray(zlib.decompress(data[at + 8 : at + 8 + length]))
    pixels[3000] ^= 0x55
    packed = zlib.compress(bytes(pixels))
    # The stream is right, its chunk's checksum is that of the other one.
    bad = data[:at] + struct.pack(">I", len(packed)) + b"IDAT" + packed + data[at + 8 + length :]
    with pytest.raises(ImageError, match="checksum of its chunk IDAT is wrong"):
        read_image(bad)


def test_a_truncated_fits_file_is_not_silent() -> None:
    stream = io.BytesIO()
    fits.PrimaryHDU(RGB[:, :, 0].astype(np.float32)).writeto(stream)
    data = stream.getvalue()
    for size in (2880 * 3, 2880 * 8, len(data) - 2880):
        with suppress(ImageError):
            assert read_image(data[:size]).warnings


def test_complaints_stay_in_their_thread() -> None:
    import warnings

    def complain(number: int) -> list[str]:
        with decoder_complaints() as complaints:
            for _ in range(20):
                warnings.warn(f"file {number} is truncated", stacklevel=1)
                warnings.warn("harmless", stacklevel=1)
                time.sleep(0.001)
            return list(complaints)

    before = warnings.filters[:]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(complain, range(32)))
    assert found == [[f"file {number} is truncated"] for number in range(32)]
    assert warnings.filters == before


# ---------------------------------------------------------------- hostile files


def scans(count: int, side: int = 2000) -> bytes:
    """A progressive JPEG file with many empty scans of all pixels."""

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    table = segment(0xDB, bytes([0, *[1] * 64]))
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0]))
    codes = segment(0xC4, bytes([0, 1, *[0] * 15, 0])) + segment(0xC4, bytes([0x10, 1, *[0] * 15, 0]))
    scan = segment(0xDA, bytes([1, 1, 0, 0, 0, 0x10])) + b"\x00"
    return b"\xff\xd8" + table + frame + codes + scan * count + b"\xff\xd9"


def test_endless_scans_are_refused_before_they_are_decoded() -> None:
    started = time.process_time()
    for data in (scans(50_000), scans(MOST_SCANS + 1, 64)):
        with pytest.raises(ImageError, match="scans, which would take minutes"):
            read_image(data)
    assert time.process_time() - started < 1
    check_jpeg_scans(encoded("JPEG", progressive=True), RGB.size)


def test_scans_of_a_thumbnail_do_not_count() -> None:
    thumbnail = scans(200, 64)
    data = encoded("JPEG", progressive=True)
    inside = data[:2] + struct.pack(">BBH", 0xFF, 0xE5, len(thumbnail) + 2) + thumbnail + data[2:]
    assert read_image(inside).warnings == ()


def packed_file(kind: str, tile: tuple[int, int] = (96, 96)) -> bytes:
    stream = io.BytesIO()
    hdu = fits.CompImageHDU(RGB[:, :, 0].astype(np.int16), compression_type=kind, tile_shape=tile)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    return stream.getvalue()


def bomb(size: int) -> bytes:
    """A packed image whose only tile unpacks to `size` bytes."""
    data = packed_file("GZIP_1")
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(2**20)
    packed = b"".join([*(packer.compress(block) for _ in range(size // len(block))), packer.flush()])
    with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
        header = hdus[1].header.copy()
        width, start = header["NAXIS1"], hdus[1].fileinfo()["datLoc"]
        row = bytearray(data[start : start + width])
        offset = hdus[1].columns.dtype.fields["COMPRESSED_DATA"][1]
    row[offset : offset + 8] = struct.pack(">ii", len(packed), 0)
    header["PCOUNT"], header["THEAP"] = len(packed), width
    body = bytes(row) + packed
    primary = data[:2880]
    return primary + header.tostring().encode() + body + bytes(-len(body) % 2880)


def test_a_tile_that_unpacks_without_bound_is_refused(tmp_path) -> None:
    data = bomb(96 * 2**20)
    assert len(data) < 2**20
    path = tmp_path / "bomb.fits.fz"
    path.write_bytes(data)
    started = time.process_time()
    for source in (data, path):
        with pytest.raises(ImageError, match="a tile unpacks to more than"):
            read_image(source)
        with open_bands(source) as image, pytest.raises(ImageError, match="a tile unpacks to more than"):
            image.bands[0].read(slice(0, 9), slice(0, 9))
    assert time.process_time() - started < 2


def test_tiles_larger_than_an_image_are_refused() -> None:
    data = packed_file("RICE_1")
    for card in (b"ZTILE1  =                   96", b"ZTILE2  =                   96"):
        assert card in data
        data = data.replace(card, card[:10] + b"               90000")
    with pytest.raises(ImageError, match="tiles of 90000×90000 px"):
        read_image(data)


@pytest.mark.parametrize("kind", ["GZIP_1", "GZIP_2", "RICE_1", "HCOMPRESS_1"])
@pytest.mark.parametrize("tile", [(96, 96), (40, 32), (1, 96)])
def test_good_tiles_are_read(kind: str, tile: tuple[int, int]) -> None:
    if kind == "HCOMPRESS_1" and tile[0] == 1:
        return
    with open_bands(packed_file(kind, tile)) as image:
        assert np.array_equal(image.bands[0].read(), RGB[:, :, 0])
        assert np.array_equal(image.bands[0].read(slice(30, 50), slice(60, 96)), RGB[30:50, 60:96, 0])
