"""EXIF orientation: images are read as other viewers show them."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from tuningfork.images.image import ImageError
from tuningfork.images.markers import has_jpeg_metadata
from tuningfork.images.orientation import upright
from tuningfork.images.read import read_image

Y, X = np.mgrid[0:24, 0:40]
#: No two of its eight orientations are alike.
COLOURS = np.stack([X * 6, Y * 10, (X + 2 * Y) * 2], -1).astype(np.uint8)
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="{}"/></x:xmpmeta>'


def exif(orientation: object) -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


def encoded(kind: str, image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png16(orientation: int) -> bytes:
    """A PNG of 16 bits a colour, which Pillow cannot write: eXIf behind its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (COLOURS.astype(">u2") * 257).reshape(len(COLOURS), -1)
    pixels = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 24, 16, 2, 0, 0, 0)) + chunk(b"IDAT", pixels)
    tags = exif(orientation).tobytes().removeprefix(b"Exif\0\0")
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"eXIf", tags) + chunk(b"IEND", b"")


def every_kind(orientation: int) -> dict[str, bytes]:
    colours, tags = Image.fromarray(COLOURS), exif(orientation)
    return {
        "jpeg": encoded("JPEG", colours, exif=tags),
        "jpeg grey": encoded("JPEG", colours.convert("L"), exif=tags),
        "jpeg cmyk": encoded("JPEG", colours.convert("CMYK"), exif=tags),
        "jpeg progressive": encoded("JPEG", colours, exif=tags, progressive=True, comment=b"\xff\xda before it"),
        "jpeg xmp": encoded("JPEG", colours, xmp=XMP.format(orientation).encode()),
        "mpo": encoded("MPO", colours, exif=tags, save_all=True, append_images=[colours]),
        "png": encoded("PNG", colours, exif=tags),
        "png alpha": encoded("PNG", colours.convert("RGBA"), exif=tags),
        "png 16 bits": png16(orientation),
        "webp": encoded("WEBP", colours, exif=tags, lossless=True),
        "tiff": encoded("TIFF", colours, exif=tags),
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_kind_is_read_as_pillow_turns_it(orientation: int) -> None:
    different = []
    for kind, data in every_kind(orientation).items():
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        result = read_image(data)
        if not np.array_equal(result.rgb, expected) or not result.rgb.flags.c_contiguous or result.warnings:
            different.append(kind)
    assert different == []


def test_the_eight_orientations_differ_and_an_image_in_memory_is_read_as_its_file() -> None:
    images = []
    for orientation in range(1, 9):
        data = every_kind(orientation)["png"]
        images.append(read_image(data).rgb)
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(read_image(image).rgb, images[-1])
            assert np.array_equal(read_image(ImageOps.exif_transpose(image)).rgb, images[-1])
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(images, 2))


@pytest.mark.parametrize("orientation", [0, 9])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_an_unknown_orientation_is_a_warning(kind: str, orientation: int) -> None:
    result, plain = read_image(every_kind(orientation)[kind]), read_image(every_kind(1)[kind])
    assert np.array_equal(result.rgb, plain.rgb)
    assert result.warning == (
        f"its EXIF orientation cannot be read, and the image is taken as stored: {orientation} is none of 1 to 8"
    )


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_damaged_metadata_leave_the_pixels_with_a_warning(kind: str) -> None:
    image = Image.fromarray(COLOURS)
    result = read_image(encoded(kind, image, exif=b"Exif\0\0 no TIFF at all"))
    assert np.array_equal(result.rgb, read_image(encoded(kind, image)).rgb)
    assert result.warning.startswith("its EXIF orientation cannot be read, and the image is taken as stored: ")


def test_a_jpeg_without_metadata_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> Image.Image:
        raise AssertionError("Pillow was asked")

    monkeypatch.setattr(Image, "open", opened)
    data = encoded("JPEG", Image.fromarray(COLOURS), comment=b"\xff\xe1 in a comment")
    assert read_image(data).warnings == ()


def test_metadata_of_jpegs() -> None:
    image = Image.fromarray(COLOURS)
    plain, tagged = encoded("JPEG", image), encoded("JPEG", image, exif=exif(6))
    assert [has_jpeg_metadata(data) for data in (plain, tagged, tagged[:2] + b"\xff" + tagged[2:])] == [
        False,
        True,
        True,
    ]
    assert not any(has_jpeg_metadata(plain[:end]) for end in range(len(plain)))
    with pytest.raises(ImageError, match="more than 10000 segments"):
        has_jpeg_metadata(plain[:2] + b"\xff\xfe\0\2" * 10_001 + plain[2:])


def test_a_turned_image_keeps_its_warnings() -> None:
    result = read_image(encoded("PNG", Image.new("RGB", (40, 24), "white"), exif=exif(6)))
    assert result.rgb.shape == (40, 24, 3)
    assert result.warning.startswith("no data")
    assert upright(result, Image.fromarray(COLOURS)) is result
