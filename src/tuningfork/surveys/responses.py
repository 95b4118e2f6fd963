"""What a service's answer holds: a good picture, or the reason why it is none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..images.image import ImageError
from ..images.read import read_image
from .client import Answer, Spoiled

__all__ = ["BLANK", "checked", "picture_in"]

BLANK = "blank: outside of the survey's footprint"
#: Grey levels by which a blank picture's pixels may differ.
NEARLY = 2
_KNOWN = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")


def picture_in(answer: Answer, pixels: int) -> NDArray[np.uint8]:
    """The picture (pixels, pixels, 3) that a service sent as JPEG, PNG or WebP.

    Raises
    ------
    Spoiled
        If it is cut or damaged.
    ImageError
        If it is no picture, of another size, or blank.
    """
    if not answer.data:
        raise Spoiled("an empty answer")
    if not answer.data.startswith(_KNOWN):
        kind = answer.kind or "an unknown kind"
        raise ImageError(f"answered with no picture (JPEG, PNG or WebP) but {kind}")
    try:
        picture = read_image(answer.data).rgb
    except ImageError as error:
        raise Spoiled(f"the picture came damaged: {error}") from None
    if picture.shape[:2] != (pixels, pixels):
        height, width = picture.shape[:2]
        raise ImageError(f"a picture of {width}×{height} px came instead of {pixels}×{pixels}")
    return checked(picture)


def checked(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture; raises ImageError if all of it is one colour."""
    if int(np.ptp(picture, axis=(0, 1)).max()) <= NEARLY:
        raise ImageError(BLANK)
    return picture
