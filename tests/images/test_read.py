"""Every file becomes a picture or a clear reason why not."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tuningfork.images import image as images
from tuningfork.images.array import image_from_array
from tuningfork.images.find import EXTENSIONS, find_image, find_images
from tuningfork.images.image import ImageError, NoDataError
from tuningfork.images.raster import decode_raster
from tuningfork.images.read import read_image
from tuningfork.images.source import path_or_bytes

fits = pytest.importorskip("astropy.io.fits")

QUICK = settings(max_examples=100, derandomize=True)
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (24, 31, 3), np.uint8)
Y, X = np.mgrid[0:40, 0:57]
SMOOTH = np.stack([X * 4, Y * 6, (X + Y) * 2], -1).astype(np.uint8)
FLUX = np.exp(-(((X[:30, :36] - 20) / 6) ** 2) - ((Y[:30, :36] - 12) / 4) ** 2) + RNG.normal(0, 0.01, (30, 36))


def encoded(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def converted(mode: str) -> Image.Image:
    return Image.fromarray(SMOOTH).convert(mode)


def fits_file(*hdus: object) -> bytes:
    file = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(file)
    return file.getvalue()


def fits_header(**cards: object) -> bytes:
    lines = [f"{key:8}= {value!s:>20}".ljust(80) for key, value in {"SIMPLE": "T", **cards}.items()]
    return "".join([*lines, "END".ljust(80)]).encode().ljust(2880)


def npy_file(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy_header(descr: object, shape: object) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(width: int, height: int, packed: bytes, *, bits: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")
    )


def deflated_zeros(block: int, blocks: int) -> bytes:
    """A zlib stream of block × blocks zeros, without ever holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    one = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = (block * blocks % 65521) << 16 | 1
    return b"\x78\xda" + one * blocks + b"\x03\x00" + struct.pack(">I", adler)


def tiff_file(width: int, height: int, data: bytes) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, height), (279, 4, len(data))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    where = 8 + len(data)
    return b"II*\0" + struct.pack("<I", where) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def grey16(kind: str = "<u2") -> np.ndarray:
    return (X * 1000 + Y * 7).astype(kind)


VALID = {
    "jpeg": encoded(SMOOTH, "JPEG"),
    "jpeg progressive": encoded(SMOOTH, "JPEG", progressive=True),
    "jpeg grey": encoded(converted("L"), "JPEG"),
    "jpeg cmyk": encoded(converted("CMYK"), "JPEG"),
    "png": encoded(SMOOTH, "PNG"),
    "png rgba": encoded(converted("RGBA"), "PNG"),
    "png grey": encoded(converted("L"), "PNG"),
    "png grey alpha": encoded(converted("LA"), "PNG"),
    "png palette": encoded(converted("P"), "PNG"),
    "png palette transparent": encoded(converted("P"), "PNG", transparency=3),
    "png bilevel": encoded(converted("1"), "PNG"),
    "png 16 bits": encoded(grey16(), "PNG"),
    "webp": encoded(SMOOTH, "WEBP", lossless=True),
    "webp lossy": encoded(SMOOTH, "WEBP"),
    "webp rgba": encoded(converted("RGBA"), "WEBP", lossless=True),
    "webp animated": encoded(SMOOTH, "WEBP", save_all=True, append_images=[Image.fromarray(SMOOTH[::-1].copy())]),
    "tiff": encoded(SMOOTH, "TIFF"),
    "tiff deflated": encoded(SMOOTH, "TIFF", compression="tiff_adobe_deflate"),
    "tiff cmyk": encoded(converted("CMYK"), "TIFF"),
    "tiff lab": encoded(converted("LAB"), "TIFF"),
    "tiff 16 bits": encoded(grey16(), "TIFF"),
    "tiff 32 bits": encoded(grey16("<i4"), "TIFF"),
    "tiff float": encoded(FLUX.clip(0, 1).astype(np.float32), "TIFF"),
    "mpo": encoded(SMOOTH, "MPO", save_all=True, append_images=[Image.fromarray(SMOOTH)]),
    "fits": fits_file(fits.PrimaryHDU(FLUX.astype(np.float32))),
    "fits bands": fits_file(fits.PrimaryHDU(np.stack([FLUX, FLUX * 2, FLUX * 3]))),
    "fits one plane": fits_file(fits.PrimaryHDU(FLUX[None])),
    "fits bytes": fits_file(fits.PrimaryHDU(np.moveaxis(SMOOTH, 2, 0).copy())),
    "fits packed": fits_file(fits.PrimaryHDU(), fits.CompImageHDU(FLUX.astype(np.float32))),
    "fits packed hcompress": fits_file(
        fits.PrimaryHDU(), fits.CompImageHDU((FLUX * 1000).astype(np.int16), compression_type="HCOMPRESS_1")
    ),
    "npy bytes": npy_file(SMOOTH),
    "npy floats": npy_file(SMOOTH.astype(np.float32) / 255),
    "npy 16 bits": npy_file(grey16()),
    "npy fortran": npy_file(np.asfortranarray(SMOOTH)),
}


def picture_or_reason(data: bytes) -> np.ndarray | str:
    try:
        picture = read_image(data).rgb
    except ImageError as error:
        reason = str(error)
        assert 5 < len(reason) < 500
        assert "\n" not in reason
        return reason
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    return picture


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize("kind", VALID)
def test_every_kind_is_a_image(kind: str) -> None:
    picture = read_image(VALID[kind]).rgb
    assert picture.dtype == np.uint8
    assert picture.shape in {(40, 57, 3), (30, 36, 3)}
    assert picture.max() > picture.min()


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "tiff deflated", "npy bytes", "npy floats", "npy fortran"])
def test_lossless_kinds_keep_every_value(kind: str) -> None:
    assert np.array_equal(read_image(VALID[kind]).rgb, SMOOTH)


@pytest.mark.parametrize("options", [
    {},
    {"quality": 30, "subsampling": 2},
    {"subsampling": 0},
    {"subsampling": 1},
    {"quality": 100},
    {"progressive": True},
    {"optimize": True, "quality": 95},
    {"keep_rgb": True},
])  # fmt: skip
@pytest.mark.parametrize("shape", [(24, 31), (8, 8), (17, 23)])
def test_jpeg_has_pillows_very_values(options: dict, shape: tuple[int, int]) -> None:
    data = encoded(NOISE[: shape[0], : shape[1]].copy(), "JPEG", **options)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(read_image(data).rgb, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["jpeg grey", "jpeg cmyk", "mpo"])
def test_other_jpegs_have_pillows_values(kind: str) -> None:
    with Image.open(io.BytesIO(VALID[kind])) as image:
        assert np.array_equal(read_image(VALID[kind]).rgb, np.asarray(image.convert("RGB")))


def test_real_galaxies_have_pillows_very_values(shared: Path) -> None:
    for path in sorted((shared / "data/gz2_kaggle/images_training_rev1").glob("*.jpg"))[:10]:
        with Image.open(path) as image:
            assert np.array_equal(read_image(path).rgb, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["jpeg grey", "png grey", "png bilevel", "png 16 bits", "tiff float", "npy 16 bits"])
def test_grey_is_repeated(kind: str) -> None:
    picture = read_image(VALID[kind]).rgb
    assert np.array_equal(picture[:, :, 0], picture[:, :, 1])
    assert np.array_equal(picture[:, :, 0], picture[:, :, 2])


def test_transparency_lies_on_black() -> None:
    rgba = np.full((9, 9, 4), 200, np.uint8)
    rgba[:, :3, 3], rgba[:, 3:6, 3], rgba[:, 6:, 3] = 0, 51, 255
    for data in (encoded(rgba, "PNG"), encoded(rgba, "WEBP", lossless=True, exact=True), npy_file(rgba)):
        assert np.array_equal(read_image(data).rgb[0, ::3], [[0] * 3, [40] * 3, [200] * 3])


@given(st.integers(0, 255), st.integers(0, 255))
@QUICK
def test_transparency_is_the_same_in_arrays_and_in_files(value: int, alpha: int) -> None:
    rgba = np.full((8, 8, 4), value, np.uint8)
    rgba[:, :, 3] = alpha
    assert np.array_equal(image_from_array(rgba).rgb, decode_raster(encoded(rgba, "PNG")).rgb)


def test_transparent_palette_entry_becomes_black() -> None:
    image = Image.fromarray(np.repeat(np.arange(8, dtype=np.uint8), 8).reshape(8, 8)).convert("P")
    picture = read_image(encoded(image, "PNG", transparency=5)).rgb
    assert not picture[5].any()
    assert picture[4].all()


@pytest.mark.parametrize("data", [
    encoded(grey16(), "PNG"),
    encoded(grey16(), "TIFF"),
    encoded(grey16("<i4"), "TIFF"),
    npy_file(grey16()),
    npy_file(grey16(">u2")),
])  # fmt: skip
def test_sixteen_bits_keep_their_upper_eight(data: bytes) -> None:
    assert np.array_equal(read_image(data).rgb[:, :, 0], grey16() >> 8)


def test_sixteen_bits_a_colour_keep_their_upper_eight() -> None:
    values = RNG.integers(0, 65536, (9, 10, 3)).astype(">u2")
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    picture = read_image(png_file(10, 9, packed, bits=16, colour=2)).rgb
    assert np.abs(picture.astype(int) - (values >> 8)).max() <= 1


def test_thirty_two_bit_integers_beyond_sixteen_are_refused() -> None:
    with pytest.raises(ImageError, match="32-bit"):
        read_image(encoded(grey16("<i4") * 100, "TIFF"))


def test_first_frame_of_an_animation_is_taken() -> None:
    frames = [NOISE[:16, :16] // 2 + value for value in (50, 100)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=[Image.fromarray(frames[1])], lossless=True)
    assert np.array_equal(read_image(data).rgb, frames[0])


@pytest.mark.parametrize("name", ["galaxy.jpg", "galaxy.fits", "galaxy", "galaxy.txt"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "fits", "npy bytes"])
def test_content_counts_not_the_extension(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(VALID[kind])
    assert np.array_equal(read_image(tmp_path / name).rgb, read_image(VALID[kind]).rgb)
    assert np.array_equal(read_image(str(tmp_path / name)).rgb, read_image(VALID[kind]).rgb)


@pytest.mark.parametrize("data", [
    b"not a picture at all",
    b"%PDF-1.7 ...",
    b"PK\x03\x04" + bytes(60),
    gzip.compress(b"no image either", mtime=0),  # else each process has a parameter of its own
    b"<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'/>",
    encoded(SMOOTH, "GIF"),
    encoded(SMOOTH, "BMP"),
    bytes(3000),
])  # fmt: skip
def test_other_kinds_are_named_as_such(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"not an image of a known kind \(JPEG, PNG, WebP, TIFF, FITS, .npy\)"):
        read_image(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xd8\xff", "JPEG file that is damaged"),
        (b"II*\0" + bytes(200), "TIFF file that is damaged, or of a kind that is not read"),
        (b"XISF0100" + bytes(90), "XISF of PixInsight"),
        (b"#ASDF 1.0.0\n" + bytes(90), "ASDF"),
        (b"\xff\x4f\xff\x51" + bytes(90), "JPEG 2000"),
    ],
)
def test_files_that_are_not_read_are_called_what_they_are(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_image(data)


def test_postscript_never_starts_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: pytest.fail("a program was started"))
    with pytest.raises(ImageError, match="known kind"):
        read_image(encoded(SMOOTH, "EPS"))


def test_many_threads_read_the_same_images() -> None:
    kinds = [kind for kind in VALID if kind != "fits packed hcompress"] * 4
    alone = {kind: read_image(VALID[kind]).rgb for kind in VALID}
    with ThreadPoolExecutor(8) as pool:
        for kind, picture in zip(kinds, pool.map(lambda kind: read_image(VALID[kind]).rgb, kinds), strict=True):
            assert np.array_equal(picture, alone[kind])


# ---------------------------------------------------------------- sizes


def test_empty_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for source in (b"", tmp_path / "a.jpg"):
        with pytest.raises(ImageError, match=r"empty file \(0 bytes\)"):
            read_image(source)


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (7, 300), (300, 7), (1, 300)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "FITS", "npy"])
def test_too_small_a_image_is_reported(shape: tuple[int, int], kind: str) -> None:
    grey = np.zeros(shape, np.uint8)
    if kind == "FITS":
        data = fits_file(fits.PrimaryHDU(grey))
    else:
        data = npy_file(grey) if kind == "npy" else encoded(grey, kind)
    with pytest.raises(ImageError, match=f"{shape[1]}×{shape[0]} px; at least 8 px"):
        read_image(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_eight_pixels_are_enough(kind: str) -> None:
    assert read_image(encoded(NOISE[:8, :8].copy(), kind)).rgb.shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "fits", "npy bytes"])
def test_the_limit_on_pixels_is_exact(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    height, width, _ = read_image(VALID[kind]).rgb.shape
    monkeypatch.setattr(images, "MAX_PIXELS", height * width)
    read_image(VALID[kind])
    monkeypatch.setattr(images, "MAX_PIXELS", height * width - 1)
    with pytest.raises(ImageError, match=f"{width}×{height} px; at most"):
        read_image(VALID[kind])


def jpeg_claiming(width: int, height: int) -> bytes:
    data = VALID["jpeg"]
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


BOMBS = {
    "png header only": png_file(50_000, 50_000, b""),
    "png of zeros": png_file(50_000, 50_000, deflated_zeros(2_500_050, 1000)),
    "png beyond 2^31": png_file(2**31 - 1, 2**31 - 1, b""),
    "jpeg": jpeg_claiming(50_000, 50_000),
    "jpeg largest": jpeg_claiming(65_500, 65_500),
    "tiff": tiff_file(50_000, 50_000, b"x" * 100),
    "tiff wide": tiff_file(2**31, 20, b"x" * 100),
    "fits": fits_header(BITPIX=8, NAXIS=2, NAXIS1=50_000, NAXIS2=50_000) + bytes(2880),
    "fits doubles": fits_header(BITPIX=-64, NAXIS=3, NAXIS1=50_000, NAXIS2=50_000, NAXIS3=3) + bytes(2880),
    "fits wide": fits_header(BITPIX=8, NAXIS=2, NAXIS1=2**62, NAXIS2=2**62) + bytes(2880),
    "npy": npy_header("|u1", (50_000, 50_000)),
    "npy 3-D": npy_header("<f8", (3, 50_000, 50_000)),
    "npy beyond floats": npy_header("|u1", (10**300, 10**300)),
    "npy thin": npy_header("|u1", (10**9, 0)),
    "npy wide numbers": npy_header("|V2000000000", (100, 100)),
    "npy just allowed": npy_header("<c32", (4096, 4096, 4)),
}


def resident_peak() -> int:
    resource = pytest.importorskip("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_costs_neither_memory_nor_time(kind: str) -> None:
    peak, start = resident_peak(), time.process_time()
    with pytest.raises(ImageError, match=rf"at most {images.MAX_PIXELS}|cannot hold|damaged|at least 8 px"):
        read_image(BOMBS[kind])
    assert time.process_time() - start < 2
    assert resident_peak() - peak < 100_000


@pytest.mark.parametrize("kind", ["png header only", "png of zeros", "jpeg", "tiff", "fits", "npy"])
def test_a_bombs_reason_is_its_size(kind: str) -> None:
    size = rf"(50000×50000 px|too many pixels|too many numbers); at most {images.MAX_PIXELS}"
    with pytest.raises(ImageError, match=size):
        read_image(BOMBS[kind])


def test_more_zeros_than_the_image_needs_are_not_unpacked() -> None:
    start = time.process_time()
    picture_or_reason(png_file(64, 64, deflated_zeros(2_500_050, 1000)))
    assert time.process_time() - start < 2


def test_a_text_that_unpacks_to_a_gigabyte_is_refused() -> None:
    extra = png_chunk(b"zTXt", b"note\0\0" + deflated_zeros(2**20, 1000))
    start = time.process_time()
    picture_or_reason(png_file(9, 9, zlib.compress(bytes(90)), extra=extra))
    assert time.process_time() - start < 2


def test_too_long_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.fits"
    with open(path, "wb") as file:
        file.truncate(images.MAX_FILE_BYTES + 1)
    with pytest.raises(ImageError, match="file of 268435457 bytes; at most 268435456"):
        read_image(path)


def test_too_many_bytes_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100)
    with pytest.raises(ImageError, match="at most 100"):
        read_image(VALID["png"])


# ---------------------------------------------------------------- damage


def test_a_truncated_jpeg_is_refused_wherever_it_ends() -> None:
    data = encoded(RNG.integers(0, 256, (64, 64, 3), np.uint8), "JPEG", quality=90)
    for end in np.linspace(1, len(data) * 0.97, 50).astype(int):
        reason = picture_or_reason(data[:end])
        assert isinstance(reason, str)
        assert "truncated" in reason or "known kind" in reason


@pytest.mark.parametrize("kind", VALID)
def test_a_truncated_file_is_a_image_or_a_reason(kind: str) -> None:
    data = VALID[kind]
    for end in RNG.integers(0, len(data), 25):
        picture_or_reason(data[:end])


@pytest.mark.parametrize("kind", ["png", "tiff", "webp", "npy bytes", "fits"])
def test_half_a_file_is_refused(kind: str) -> None:
    data = VALID[kind]
    assert isinstance(picture_or_reason(data[: len(data) // 3]), str)


@given(kind=st.sampled_from(sorted(VALID)), where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(QUICK, max_examples=600)
def test_one_wrong_byte_is_a_image_or_a_reason(kind: str, where: float, flip: int) -> None:
    data = bytearray(VALID[kind])
    data[int(where * len(data))] ^= flip
    picture_or_reason(bytes(data))


@pytest.mark.parametrize("kind", VALID)
def test_a_wrong_byte_in_the_header_is_a_image_or_a_reason(kind: str) -> None:
    for at in range(min(60, len(VALID[kind]))):
        data = bytearray(VALID[kind])
        data[at] ^= int(RNG.integers(1, 256))
        picture_or_reason(bytes(data))


MAGIC = [b"", b"\xff\xd8\xff", b"SIMPLE  =", b"\x93NUMPY\x01\x00", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"RIFF"]


@given(magic=st.sampled_from(MAGIC), rest=st.binary(max_size=400))
@settings(QUICK, max_examples=300)
def test_random_bytes_are_a_image_or_a_reason(magic: bytes, rest: bytes) -> None:
    picture_or_reason(magic + rest)


@given(
    kind=st.sampled_from(["fits", "fits bands", "fits packed"]),
    card=st.integers(0, 35),
    value=st.text("0123456789-.'TFE ", max_size=20),
)
@QUICK
def test_a_wrong_fits_card_is_a_image_or_a_reason(kind: str, card: int, value: str) -> None:
    data = bytearray(VALID[kind])
    data[card * 80 + 10 : card * 80 + 10 + len(value)] = value.encode()
    picture_or_reason(bytes(data))


@given(st.sampled_from(["|u1", "<f4", "|O", ">u2", "|S4", "<c8", "<M8[s]", "|b1", "x", [("a", "u1")], None, 5]),
       st.lists(st.integers(-3, 20), max_size=4), st.integers(0, 2000))  # fmt: skip
@QUICK
def test_any_npy_header_is_a_image_or_a_reason(descr: object, shape: list[int], length: int) -> None:
    picture_or_reason(npy_header(descr, tuple(shape)) + bytes(length))


# ---------------------------------------------------------------- never unpickled


class Trap:
    sprung = False

    def __reduce__(self) -> tuple:
        return setattr, (Trap, "sprung", True)


def test_an_array_of_objects_is_never_unpickled() -> None:
    data = npy_file(np.array([[Trap()] * 9] * 9, dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match="Python objects, which are never loaded"):
        read_image(data)
    assert not Trap.sprung


def test_a_bare_pickle_is_never_unpickled() -> None:
    with pytest.raises(ImageError, match="known kind"):
        read_image(pickle.dumps(Trap()))
    assert not Trap.sprung


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 1), (9, 12, 3), (9, 12, 4), (3, 9, 12)])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "f2", "<f4", ">f4", "f8"])
def test_every_shape_and_type_of_array(shape: tuple[int, ...], dtype: str) -> None:
    full = {"u1": 255, "<u2": 65535, ">u2": 65535}.get(dtype, 1)
    array = np.full(shape, full, dtype)
    picture = image_from_array(array).rgb
    assert picture.shape == (9, 12, 3)
    assert picture.dtype == np.uint8
    assert (picture == 255).all()


def test_an_array_of_bytes_is_taken_as_it_is() -> None:
    assert np.array_equal(image_from_array(NOISE).rgb, NOISE)
    assert np.array_equal(image_from_array(np.moveaxis(NOISE, 2, 0)).rgb, NOISE)
    assert np.array_equal(image_from_array(NOISE[:, :, 0]).rgb, np.repeat(NOISE[:, :, :1], 3, 2))


def test_floats_are_display_brightness() -> None:
    assert np.array_equal(image_from_array(NOISE / 255).rgb, NOISE)


@pytest.mark.parametrize("array", [
    np.zeros((9, 9, 2), np.uint8),
    np.zeros((9, 9, 5), np.uint8),
    np.zeros((4, 9, 9), np.uint8),
    np.zeros((2, 9, 9, 3), np.uint8),
    np.zeros(99, np.uint8),
    np.zeros((), np.uint8),
    np.zeros((0, 0), np.uint8),
    np.zeros((9, 0, 3), np.uint8),
])  # fmt: skip
def test_other_shapes_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"of shape|at least 8 px"):
        image_from_array(array)


@pytest.mark.parametrize("dtype", ["?", "c8", "S3", "U3", "O", "M8[s]", "V4"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(ImageError, match="uint8, uint16 or floats"):
        image_from_array(np.zeros((9, 9, 3), dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.01, 1.01])
def test_floats_outside_brightness_are_refused(value: float) -> None:
    array = np.zeros((9, 9, 3))
    array[4, 4, 1] = value
    with pytest.raises(ImageError, match="outside \\[0, 1\\]; scale it"):
        image_from_array(array)


# ---------------------------------------------------------------- FITS


def test_fits_rows_count_from_the_bottom() -> None:
    planes = np.moveaxis(SMOOTH, 2, 0).copy()
    assert np.array_equal(read_image(fits_file(fits.PrimaryHDU(planes))).rgb, SMOOTH[::-1])


def test_fits_bands_are_ordered_by_wavelength() -> None:
    bands = np.zeros((3, 30, 36))
    bands[0, :9], bands[1, 9:18], bands[2, 18:] = 1, 2, 3
    picture = read_image(fits_file(fits.PrimaryHDU(bands + FLUX * 1e-3))).rgb[::-1]
    assert picture[2:7].mean((0, 1)).argmax() == 2
    assert picture[11:16].mean((0, 1)).argmax() == 1
    assert picture[20:].mean((0, 1)).argmax() == 0


def test_fluxes_show_the_galaxy_brighter_than_the_sky() -> None:
    picture = read_image(VALID["fits"]).rgb[::-1]
    assert picture[12, 20].min() > 200
    assert picture[25:, 30:].mean() < 60


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f4", "<f8", "i2", "i4", "i8", "u2", "u4"])
def test_fits_numbers_of_every_type_look_the_same(dtype: str) -> None:
    values = (FLUX * 10_000 + 500).clip(0)
    picture = read_image(fits_file(fits.PrimaryHDU(values.astype(dtype)))).rgb
    assert np.abs(picture.astype(int) - read_image(fits_file(fits.PrimaryHDU(values))).rgb).max() <= 1


@given(st.floats(1e-6, 1e6), st.floats(-100, 100))
@settings(QUICK, max_examples=20)
def test_units_and_zero_point_of_the_flux_do_not_matter(gain: float, zero: float) -> None:
    picture = read_image(fits_file(fits.PrimaryHDU(FLUX))).rgb
    other = read_image(fits_file(fits.PrimaryHDU((FLUX + zero) * gain))).rgb
    assert np.abs(picture.astype(int) - other).max() <= 2


@pytest.mark.parametrize(
    ("dtype", "bscale", "bzero"), [("i2", 0.5, 32768), ("i4", 2.0, -7), ("u1", 3.0, 0), ("u1", 1, -128)]
)
def test_scaled_integers_are_fluxes(dtype: str, bscale: float, bzero: float) -> None:
    stored = (FLUX * 100 + 10).clip(0, 255).astype(dtype)
    axes = {"BITPIX": stored.itemsize * 8, "NAXIS": 2, "NAXIS1": stored.shape[1], "NAXIS2": stored.shape[0]}
    data = fits_header(**axes, BSCALE=bscale, BZERO=bzero) + stored.astype(f">{dtype}").tobytes()
    data += bytes(-len(data) % 2880)
    expected = read_image(fits_file(fits.PrimaryHDU(stored * float(bscale) + bzero))).rgb
    assert np.abs(read_image(data).rgb.astype(int) - expected).max() <= 1


def test_signed_bytes_do_not_wrap_around() -> None:
    signed = (FLUX * 200 - 100).clip(-128, 127).astype(np.int8)
    picture = read_image(fits_file(fits.PrimaryHDU(signed))).rgb
    expected = read_image(fits_file(fits.PrimaryHDU(signed.astype(np.float32)))).rgb
    assert np.array_equal(picture, expected)


def test_missing_pixels_are_black_and_change_nothing_else() -> None:
    bordered = np.pad(FLUX, 3, constant_values=np.nan)
    bordered[0, 0] = np.inf
    picture = read_image(fits_file(fits.PrimaryHDU(bordered))).rgb
    assert not picture[:3].any()
    assert not picture[:, :3].any()
    assert picture[3:-3, 3:-3].max() > 150


def test_blank_integers_are_missing_pixels() -> None:
    values = (FLUX * 1000).astype(np.int16)
    values[:4] = -32768
    hdu = fits.PrimaryHDU(values)
    hdu.header["BLANK"] = -32768
    picture = read_image(fits_file(hdu)).rgb[::-1]
    assert not picture[:4].any()
    assert picture.max() > 200


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_no_usable_pixel_is_reported(value: float) -> None:
    for shape in ((9, 9), (3, 9, 9)):
        with pytest.raises(ImageError, match="no usable pixel"):
            read_image(fits_file(fits.PrimaryHDU(np.full(shape, value))))


def test_a_constant_image_is_refused_or_has_a_warning() -> None:
    with pytest.raises(NoDataError, match="no data: all pixels have the same value"):
        read_image(fits_file(fits.PrimaryHDU(np.full((9, 9), 7.5))))
    for source in (encoded(0 * SMOOTH, "JPEG"), 0 * SMOOTH + 9, fits_file(fits.PrimaryHDU(0 * SMOOTH[:, :, 0]))):
        assert "no data: all pixels have the same value" in read_image(source).warning


def test_signalling_nans_are_missing_pixels() -> None:
    for dtype, bits in ((">f4", b"\x7f\xa0\0\0"), (">f8", b"\x7f\xf4\0\0\0\0\0\0")):
        values = FLUX.astype(dtype).tobytes()
        header = fits_header(BITPIX=-8 * len(bits), NAXIS=2, NAXIS1=FLUX.shape[1], NAXIS2=FLUX.shape[0])
        data = header + bits + values[len(bits) :]
        assert not read_image(data + bytes(-len(data) % 2880)).rgb[-1, 0].any()


@given(st.lists(st.floats(width=64), min_size=1, max_size=8), st.sampled_from([(8, 8), (3, 8, 8)]))
@settings(QUICK, max_examples=60)
def test_any_floats_are_a_image_or_a_reason(values: list[float], shape: tuple[int, ...]) -> None:
    for kind in ("f8", "f4"):
        with np.errstate(over="ignore"):
            array = np.resize(np.array(values), shape).astype(kind)
        picture_or_reason(fits_file(fits.PrimaryHDU(array)))


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
def test_packed_integers_are_as_unpacked(kind: str) -> None:
    values = (FLUX * 1000).clip(0).astype(np.int16)
    packed = fits_file(fits.PrimaryHDU(), fits.CompImageHDU(values, compression_type=kind))
    assert np.array_equal(read_image(packed).rgb, read_image(fits_file(fits.PrimaryHDU(values))).rgb)


def test_a_packed_bomb_is_not_unpacked() -> None:
    data = fits_file(fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((32, 32), np.int16)))
    for axis in (b"ZNAXIS1", b"ZNAXIS2"):
        data = data.replace(axis + b" =                   32", axis + b" =                50000")
    with pytest.raises(ImageError, match="50000×50000"):
        read_image(data)


def test_the_first_image_of_several_is_taken() -> None:
    table = fits.BinTableHDU.from_columns([fits.Column(name="a", format="E", array=[1.0, 2.0])])
    data = fits_file(fits.PrimaryHDU(), table, fits.ImageHDU(FLUX), fits.ImageHDU(FLUX[::-1]))
    assert np.array_equal(read_image(data).rgb, read_image(fits_file(fits.PrimaryHDU(FLUX))).rgb)


@pytest.mark.parametrize("hdu", [
    fits.ImageHDU(),
    fits.ImageHDU(np.zeros(50)),
    fits.ImageHDU(np.zeros((2, 3, 9, 9))),
    fits.BinTableHDU.from_columns([fits.Column(name="a", format="E", array=[1.0, 2.0])]),
])  # fmt: skip
def test_a_fits_file_without_an_image_is_reported(hdu: object) -> None:
    with pytest.raises(ImageError, match="without an image of 2 or 3 axes"):
        read_image(fits_file(fits.PrimaryHDU(), hdu))


@pytest.mark.parametrize("planes", [2, 4, 5])
def test_another_number_of_planes_is_reported(planes: int) -> None:
    with pytest.raises(ImageError, match=f"{planes} planes; 1 or 3"):
        read_image(fits_file(fits.PrimaryHDU(np.zeros((planes, 9, 9)))))


@pytest.mark.parametrize("cards", [
    {"BITPIX": 7, "NAXIS": 2, "NAXIS1": 9, "NAXIS2": 9},
    {"BITPIX": 8, "NAXIS": 2, "NAXIS1": -9, "NAXIS2": 9},
    {"BITPIX": 8, "NAXIS": 999},
    {"BITPIX": 8, "NAXIS": 10**12},
    {"BITPIX": 8, "naxis": 10**12},
    {"BITPIX": 8, " NAXIS": 10**12},
    {"BITPIX": 8, "NAXIS": f"+0{10**12}"},
    {"BITPIX": 8, "NAXIS": "1E12"},
    {"BITPIX": 8, "NAXIS": 2, "NAXIS1": "'x'", "NAXIS2": 9},
    {"BITPIX": -64, "NAXIS": 3, "NAXIS1": 5000, "NAXIS2": 5000, "NAXIS3": 3},
    {},
])  # fmt: skip
def test_an_impossible_fits_header_is_refused(cards: dict) -> None:
    assert isinstance(picture_or_reason(fits_header(**cards) + bytes(2880)), str)


@pytest.mark.parametrize("card", ["TFIELDS", "ZNAXIS", "NAXIS"])
def test_an_extension_that_claims_endless_columns_is_refused(card: str) -> None:
    data = fits_file(fits.PrimaryHDU(), fits.CompImageHDU(FLUX.astype(np.float32)))
    at = data.rindex(f"{card:8}=".encode())
    data = data[: at + 10] + b"1000000000000".rjust(20) + data[at + 30 :]
    with pytest.raises(ImageError, match="more than 999 axes or columns"):
        read_image(data)


def test_without_astropy_the_remedy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(ImageError, match=r"pip install '\.\[sky\]'"):
        read_image(VALID["fits"])


# ---------------------------------------------------------------- files


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "none.jpg")


@pytest.mark.parametrize("name", ["a\0b.jpg", "x" * 5000])
def test_an_impossible_name_is_reported(name: str) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(name)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.jpg")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="the system has no /dev/zero")
def test_an_endless_device_is_not_read() -> None:
    with pytest.raises(ImageError, match="not a regular file"):
        read_image("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(VALID["png"])
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(ImageError, match="Permission denied"):
        read_image(tmp_path / "a.png")


# ---------------------------------------------------------------- folders


def touched(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder: Path, *paths: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(paths or [folder])]


def test_folders_are_walked_in_sorted_order(tmp_path: Path) -> None:
    touched(tmp_path, "b.jpg", "a/z.png", "a/b/c.fits", "c/1.npy", "10.webp", "9.tif", "a.jpg")
    assert found(tmp_path) == ["10.webp", "9.tif", "a/b/c.fits", "a/z.png", "a.jpg", "b.jpg", "c/1.npy"]


def test_every_extension_is_found_in_either_case(tmp_path: Path) -> None:
    names = sorted({name for e in EXTENSIONS for name in (f"l{e}", f"u{e.upper()}")})
    touched(tmp_path, *names, "notes.txt", "labels.csv", "jpg", "a.jpg.gz", "a.jpg~")
    packed = ["p.fits.gz", "q.FIT.BZ2"]
    touched(tmp_path, *packed)
    assert found(tmp_path) == sorted([*names, *packed])


def test_hidden_entries_are_left_out(tmp_path: Path) -> None:
    touched(tmp_path, ".a.jpg", ".thumbnails/b.jpg", "c.jpg")
    assert found(tmp_path) == ["c.jpg"]


def test_a_folder_named_like_a_image_is_walked(tmp_path: Path) -> None:
    touched(tmp_path, "m31.fits/a.jpg")
    assert found(tmp_path) == ["m31.fits/a.jpg"]


def test_a_named_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    touched(tmp_path, "galaxy.dat", ".hidden", "x.jpg")
    named = [tmp_path / "galaxy.dat", tmp_path / ".hidden"]
    assert found(tmp_path, *named, tmp_path) == ["galaxy.dat", ".hidden", "x.jpg"]


def test_paths_keep_their_order_and_their_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched(tmp_path, "b/1.jpg", "a/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert list(find_images(["b", Path("a")])) == [Path("b/1.jpg"), Path("a/1.jpg")]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none: no such file or folder"):
        list(find_images([tmp_path / "none"]))


def test_an_empty_folder_has_no_images(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def test_links_to_folders_do_not_lead_in_a_circle(tmp_path: Path) -> None:
    touched(tmp_path, "a/b.jpg")
    (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    assert found(tmp_path) == ["a/b.jpg"]


def test_a_link_to_a_file_is_taken_and_a_named_link_to_a_folder_walked(tmp_path: Path) -> None:
    touched(tmp_path, "real/a.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real" / "a.jpg")
    (tmp_path / "way").symlink_to(tmp_path / "real", target_is_directory=True)
    assert found(tmp_path) == ["link.jpg", "real/a.jpg"]
    assert found(tmp_path, tmp_path / "way") == ["way/a.jpg"]


def test_a_dangling_or_circular_link_is_a_row_error(tmp_path: Path) -> None:
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "none.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for path in find_images([tmp_path]):
        with pytest.raises(ImageError, match="cannot be read"):
            read_image(path)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode there")
def test_names_that_are_not_utf8_are_read(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/galaxie_\xe9.png", "wb") as file:
        file.write(VALID["png"])
    (path,) = find_images([tmp_path])
    assert np.array_equal(read_image(path).rgb, SMOOTH)


# ---------------------------------------------------------------- sources in memory


def test_file_objects_and_pillow_images_are_images() -> None:
    for kind, mode in (("PNG", "RGB"), ("PNG", "L"), ("TIFF", "CMYK"), ("WEBP", "RGBA")):
        data = encoded(converted(mode), kind, **({"lossless": True} if kind == "WEBP" else {}))
        expected = read_image(data).rgb
        assert np.array_equal(read_image(io.BytesIO(data)).rgb, expected)
        assert np.array_equal(read_image(bytearray(data)).rgb, expected)
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(read_image(image).rgb, expected)


@pytest.mark.parametrize("source", [3.5, None, {"a": 1}, io.StringIO("text"), object()])
def test_other_types_say_what_is_taken(source: object) -> None:
    with pytest.raises(TypeError, match="a path, bytes, a binary file object, an array or a Pillow image, not"):
        read_image(source)


def test_a_name_that_the_locale_cannot_spell_stands_for_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def ascii_only(name: str) -> bytes:
        return name.encode("ascii", "surrogateescape")

    monkeypatch.setattr(os, "fsencode", ascii_only)
    monkeypatch.setattr(os, "fsdecode", lambda name: name.decode("ascii", "surrogateescape"))
    assert path_or_bytes("ü.jpg") == Path("\udcc3\udcbc.jpg")
    assert find_image("ü", "img/ü.jpg", None) == "img/\udcc3\udcbc.jpg"
