"""JPEG, PNG, WebP and TIFF files, and Pillow's images, as RGB images."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .._utils.text import one_line
from .array import image_from_array
from .complaints import decoder_complaints
from .image import MAX_PIXELS, ImageError, RGBImage, check_size
from .kinds import kind_of
from .markers import (
    check_jpeg_scans,
    check_jpeg_zeros,
    check_png_checksums,
    check_tiff_checksums,
    has_jpeg_metadata,
)
from .orientation import upright

__all__ = ["decode_raster", "image_from_pillow"]

#: Pillow knows many more, some of which start other programs (EPS: Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
#: First bytes of files that Pillow knows but may not read, such as TIFF of three colours as floats.
_KNOWN = ((JPEG, "JPEG"), (PNG, "PNG"), (b"RIFF", "WebP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"))
#: Unpackers of 16-bit colours keep one byte of each pair; the one of the other byte order keeps the other byte.
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if np.little_endian else "16L"}


def decode_raster(data: bytes) -> RGBImage:
    """Decode the bytes of a JPEG, PNG, WebP or TIFF file.

    Grey is repeated, transparency laid on black, CMYK converted; 16 bits as `values.to_display_bytes` says. The image
    is turned and mirrored as its EXIF orientation says.

    Raises
    ------
    ImageError
        If the file is of another kind, damaged, too large or too small.
    """
    if not data.startswith(JPEG):
        return _with_pillow(data)
    # libjpeg-turbo through simplejpeg gives Pillow's very values in a quarter of its time, and complains of damage.
    complaint = ""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        check_size(width, height)
        check_jpeg_scans(data, width * height)
        check_jpeg_zeros(data)
        if colours in ("YCbCr", "RGB", "Gray"):
            image = RGBImage(simplejpeg.decode_jpeg(data, colorspace="RGB"))
            return upright(image, data) if has_jpeg_metadata(data) else image
        simplejpeg.decode_jpeg(data, colorspace="CMYK")
    except ImageError:
        raise
    except ValueError as error:
        complaint = one_line(error)
    # Pillow knows more kinds of JPEG, but keeps complaints to itself.
    image = _with_pillow(data)
    lowered = complaint.lower()
    if ("corrupt" in lowered or "premature" in lowered) and "extraneous bytes" not in lowered:
        raise ImageError(f"damaged or truncated file: {complaint}")
    return RGBImage(image.rgb, (*image.warnings, f"JPEG decoder: {complaint}")) if complaint else image


def _with_pillow(data: bytes) -> RGBImage:
    try:
        if data.startswith(PNG):
            check_png_checksums(data)
        with decoder_complaints() as complaints, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_size(*image.size)
            if image.format == "JPEG":
                check_jpeg_scans(data, image.width * image.height)
                check_jpeg_zeros(data)
            elif image.format == "TIFF":
                check_tiff_checksums(data, dict(image.tag_v2))  # type: ignore[attr-defined]
                _check_photometry(image)
            sixteen = _sixteen_bit_colours(data, image)
            frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
            result = image_from_pillow(image) if sixteen is None else upright(image_from_array(sixteen), image)
        more = [f"{frames} images found, of which only the first is used"] if frames > 1 else []
        return RGBImage(result.rgb, (*result.warnings, *more, *complaints))
    except ImageError:
        raise
    except UnidentifiedImageError:
        if known := next((name for magic, name in _KNOWN if data.startswith(magic)), ""):
            raise ImageError(
                f"{known} file that is damaged, or of a kind that is not read; save it as PNG or TIFF of 8 or 16 bits "
                "a colour, or fluxes as FITS"
            ) from None
        seems = kind_of(data)
        raise ImageError(
            f"not an image of a known kind (JPEG, PNG, WebP, TIFF, FITS, .npy){seems and f': it seems to be {seems}'}"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(f"too many pixels; at most {MAX_PIXELS} are read") from None
    except MemoryError:
        raise ImageError("not enough memory to decode it") from None
    except Exception as error:  # decoders raise many kinds on damaged files: OSError, SyntaxError, struct.error …
        raise ImageError(f"damaged or truncated file: {one_line(error)}") from None


def _check_photometry(image: Image.Image) -> None:
    # Pillow turns such pixels round only if they have 8 bits.
    if image.tag_v2.get(262) == 0 and (image.mode.startswith("I") or image.mode == "F"):  # type: ignore[attr-defined]
        raise ImageError("TIFF file of more than 8 bits in which 0 is white; save it with 0 as black (MinIsBlack)")


def _sixteen_bit_colours(data: bytes, image: Image.Image) -> NDArray[np.uint16] | None:
    """All 16 bits of colours (H, W, 3 or 4), of which Pillow keeps the upper 8; None if the file has no such."""
    raw_modes = {str(args[0] if isinstance(args, tuple) else args) for *_, args in image.tile}  # type: ignore[attr-defined]
    if len(raw_modes) != 1 or image.mode not in ("RGB", "RGBA"):
        return None
    kind, _, order = raw_modes.pop().partition(";")
    if kind != image.mode or order not in _OTHER_BYTE:
        return None
    with Image.open(io.BytesIO(data), formats=FORMATS) as other:
        raw = f"{kind};{_OTHER_BYTE[order]}"
        other.tile = [  # type: ignore[attr-defined]
            tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
            for tile in other.tile  # type: ignore[attr-defined]
        ]
        low = np.asarray(other).astype(np.uint16)
    return np.left_shift(np.asarray(image).astype(np.uint16), 8) | low


def image_from_pillow(image: Image.Image) -> RGBImage:
    """Convert a Pillow image of any mode, turned and mirrored as its EXIF orientation says.

    Raises
    ------
    ImageError
        If it is too large or too small, or its file, which Pillow reads late, is damaged or closed.
    """
    check_size(*image.size)
    try:
        return upright(_as_rgb(image), image)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise many kinds on damaged files
        raise ImageError(f"damaged, truncated or closed image: {one_line(error)}") from None


def _as_rgb(image: Image.Image) -> RGBImage:
    if image.mode.startswith("I;16"):
        return image_from_array(np.asarray(image).astype(np.uint16))
    # Pillow opens some 16-bit PNG and TIFF files as 32-bit integers.
    if image.mode in ("I", "F"):
        return image_from_array(np.asarray(image))
    if image.mode == "La":  # which Pillow converts to nothing else
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        colour = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour)
    return RGBImage(np.asarray(image.convert("RGB")))
