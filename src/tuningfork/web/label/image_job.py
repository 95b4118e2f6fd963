"""The job of the decoder processes of the labelling page: an image file to the JPEG that is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...images.encode import jpeg, shrink
from ...images.image import ImageError, TransientImageError
from ...images.read import read_image

__all__ = ["JPEG_QUALITY", "MAX_SIDE", "EncodedImage", "JpegJob"]

#: Larger images are shrunk; a browser's window holds no more.
MAX_SIDE = 1024
JPEG_QUALITY = 95


@dataclass(frozen=True)
class EncodedImage:
    """A JPEG file, or the reason why there is none, and whether that may pass."""

    content: bytes
    error: str = ""
    transient: bool = False


@dataclass(frozen=True)
class JpegJob:
    """Encodes images as models see them; runs in a child process."""

    def open(self) -> Callable[[Any, Callable[[Any], None]], Any]:
        """See `Job`."""
        return lambda path, _: _encode(path)


def _encode(path: Path) -> EncodedImage:
    try:
        return EncodedImage(jpeg(shrink(read_image(path).rgb, MAX_SIDE), quality=JPEG_QUALITY, subsampling="444"))
    except ImageError as error:
        return EncodedImage(b"", str(error), isinstance(error, TransientImageError))
