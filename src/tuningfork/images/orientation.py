"""EXIF orientation: images that a camera or a program stored turned or mirrored, as other viewers show them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import ExifTags, Image

from .._utils.text import one_line
from .complaints import decoder_complaints
from .image import RGBImage

__all__ = ["upright"]

#: Orientations of EXIF 2.32 (CIPA DC-008, tag 274): whether rows and columns are swapped, and the step by which the
#: rows and the columns of the result are then taken.
_STEPS = {
    1: (False, 1, 1),
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


def upright(result: RGBImage, source: Image.Image | bytes) -> RGBImage:
    """Turn and mirror the pixels of an image by the EXIF orientation of its source.

    The same as `PIL.ImageOps.exif_transpose`, but an orientation that cannot be read is a warning.

    Parameters
    ----------
    result : RGBImage
        The pixels as stored.
    source : PIL.Image.Image or bytes
        What they were read from: an image that is loaded (Pillow turns TIFF files while it loads them, and then
        forgets their orientation), or the bytes of a JPEG file.
    """
    try:
        if isinstance(source, bytes):
            with decoder_complaints(), Image.open(io.BytesIO(source), formats=("JPEG",)) as image:
                orientation = _orientation(image)
        else:
            orientation = _orientation(source)
    except Exception as error:  # Pillow raises many kinds on damaged metadata: SyntaxError, struct.error, OSError …
        warning = f"its EXIF orientation cannot be read, and the image is taken as stored: {one_line(error)}"
        return replace(result, warnings=(*result.warnings, warning))
    if orientation == 1:
        return result
    swapped, rows, columns = _STEPS[orientation]
    rgb = result.rgb.swapaxes(0, 1) if swapped else result.rgb
    return replace(result, rgb=np.ascontiguousarray(rgb[::rows, ::columns]))


def _orientation(image: Image.Image) -> int:
    tags = image.getexif()
    if not tags and "exif" in image.info:
        # While it opened the file, Pillow was silent about metadata that it could not read.
        Image.Exif().load(image.info["exif"])
    orientation = tags.get(ExifTags.Base.Orientation, 1)
    if orientation not in _STEPS:
        raise ValueError(f"{orientation!r} is none of 1 to 8")
    return int(orientation)
