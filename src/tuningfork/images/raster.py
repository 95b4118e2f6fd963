"""JPEG, PNG, WebP and TIFF files as images."""

from __future__ import annotations

import io
import warnings

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .._utils.text import one_line
from .fits.stretch import stretch_any
from .image import MAX_PIXELS, ImageError, check_size

__all__ = ["decode_raster", "rgb_of_pillow"]

#: Pillow knows many more, some of which start other programs (EPS: Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")


def decode_raster(data: bytes) -> NDArray[np.uint8]:
    """Decode the bytes of a JPEG, PNG, WebP or TIFF file to (H, W, 3) uint8.

    Grey is repeated, transparency laid on black, 16 bits reduced to the upper 8, CMYK converted.

    Raises
    ------
    ImageError
        If the file is of another kind, damaged, too large or too small.
    """
    if data.startswith(b"\xff\xd8\xff"):
        # libjpeg-turbo through simplejpeg gives Pillow's very values in a quarter of its time.
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            check_size(width, height)
            if colours in ("YCbCr", "RGB", "Gray"):
                return simplejpeg.decode_jpeg(data, colorspace="RGB")
        except ImageError:
            raise
        except ValueError:
            pass  # Pillow knows more kinds of JPEG and says better what is wrong.
    return _pillow(data)


def _pillow(data: bytes) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            # Our own limit on pixels is the stricter one.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                check_size(*image.size)
                return rgb_of_pillow(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image of a known kind (JPEG, PNG, WebP, TIFF, FITS, .npy)") from None
    except Image.DecompressionBombError:
        raise ImageError(f"too many pixels; at most {MAX_PIXELS} are read") from None
    except MemoryError:
        raise ImageError("not enough memory to decode it") from None
    except Exception as error:  # decoders raise many kinds on damaged files: OSError, SyntaxError, struct.error …
        raise ImageError(f"damaged or truncated file: {one_line(error)}") from None


def rgb_of_pillow(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a Pillow image of any mode to (H, W, 3) uint8."""
    if image.mode.startswith("I;16"):
        return _repeat(np.asarray(image).astype(np.uint16) >> 8)
    if image.mode == "I":
        values = np.asarray(image)
        # Pillow opens some 16-bit PNG and TIFF files as 32-bit integers.
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("32-bit integers; save it with 8 or 16 bits, or as FITS")
        return _repeat(values >> 8)
    if image.mode == "F":
        return _repeat(stretch_any(np.asarray(image)[None])[0])
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        colour = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _repeat(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, 2)
