"""The range of brightness follows from the values, for all formats and types alike."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tuningfork.images import ImageError, read_image
from tuningfork.images.values import to_display_bytes

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 50)).astype(np.uint8)
GREY[0, 0] = 255
RGB = np.stack([GREY, GREY // 2, GREY // 3], -1)


def encoded(array: np.ndarray, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    if kind == "NPY":
        np.save(stream, array)
    else:
        Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def png16(rgb: np.ndarray) -> bytes:
    """Colours (H, W, 3 or 4) of 16 bits as PNG, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = rgb.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_the_depth_is_that_of_the_values(bits: int) -> None:
    values = GREY.astype(np.uint16) << (bits - 8) | (1 << (bits - 8)) - 1
    colours = np.stack([values, values // 2, values // 3], -1)
    expected = np.repeat(GREY[:, :, None], 3, 2)
    for source in (
        values,
        values.astype(np.int32),
        values.astype(np.int64),
        encoded(values, "PNG"),
        encoded(values, "TIFF"),
        encoded(values.astype(np.int32), "TIFF"),
        encoded(values, "NPY"),
    ):
        image = read_image(source)
        assert np.array_equal(image.rgb, expected)
        assert (f"taken as {bits}-bit" in image.warning) == (bits < 16)
    for source in (colours, png16(colours), png16(np.dstack([colours, np.full_like(values, 65535)]))):
        image = read_image(source)
        assert np.array_equal(image.rgb, colours >> (bits - 8))
        assert (f"taken as {bits}-bit" in image.warning) == (bits < 16)


def test_floats_are_in_zero_to_one_in_every_format() -> None:
    floats = (GREY / 255).astype(np.float32)
    images = [read_image(source).rgb for source in (floats, encoded(floats, "TIFF"), encoded(floats, "NPY"), GREY)]
    assert all(np.array_equal(image, images[0]) for image in images)
    whole = read_image(encoded(GREY.astype(np.float32), "TIFF"))
    assert np.array_equal(whole.rgb, images[0])
    assert "taken as 8-bit" in whole.warning


def test_fluxes_are_refused_in_every_format_with_the_remedy() -> None:
    fluxes = RNG.normal(0, 3, (40, 50)).astype(np.float32)
    for array in (fluxes, fluxes - 100, abs(fluxes) * 1e4):
        for source in (array, encoded(array, "TIFF"), encoded(array, "NPY")):
            with pytest.raises(ImageError, match=r"outside \[0, 1\]; scale it .* or save fluxes as FITS"):
                read_image(source)


def test_integers_beyond_sixteen_bits_are_refused() -> None:
    for values in (np.array([-1, 5]), np.array([0, 65536]), np.array([0, 2**40])):
        with pytest.raises(ImageError, match="save it with 8 or 16 bits"):
            to_display_bytes(values)


def test_floats_that_miss_the_range_by_rounding_are_cut() -> None:
    values = np.linspace(-1e-6, 1 + 1e-6, 256, dtype=np.float32).reshape(16, 16)
    assert np.array_equal(read_image(values).rgb[..., 0].ravel(), np.arange(256))
