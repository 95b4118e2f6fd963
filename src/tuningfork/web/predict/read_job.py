"""The job of the decoder processes of the service: an uploaded file to the network's input, or to an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...images.encode import data_url, jpeg, shrink
from ...images.fits.framing import Framing
from ...images.image import ImageError, RGBImage
from ...images.read import read_image
from ...model.image_reader import ImageReader, LoadedImage
from ...tables.identifiers import file_id

__all__ = ["PREVIEW_SIDE", "ImageTask", "ReadJob", "RowTask", "failed_row", "row_name"]

#: Side of a preview, that of Galaxy Zoo 2's own images, pixels.
PREVIEW_SIDE = 424


@dataclass(frozen=True)
class RowTask:
    """Read a file for the network; the answer is (LoadedImage, the preview as a data URL or None).

    `framing` says how a FITS image is shown; None: as the model's reader does.
    """

    content: bytes
    name: str
    preview: bool
    framing: Framing | None = None


@dataclass(frozen=True)
class ImageTask:
    """Read a file as an image, shrunk to `side`; the answer is (H, W, 3) uint8, or the reason as text."""

    content: bytes
    side: int
    framing: Framing | None = None


@dataclass(frozen=True)
class ReadJob:
    """Reads images as a model does; runs in a child process."""

    reader: ImageReader
    max_pixels: int

    def open(self) -> Callable[[Any, Callable[[Any], None]], Any]:
        """See `Job`."""
        return lambda task, _: self._row(task) if isinstance(task, RowTask) else self._image(task)

    def _row(self, task: RowTask) -> tuple[LoadedImage, str | None]:
        try:
            image = self._read(task.content, task.framing)
        except ImageError as error:
            return failed_row(task.name, str(error)), None
        row = replace(self.reader.read(image.rgb, name=row_name(task.name)), warning=image.warning)
        return row, data_url(jpeg(shrink(image.rgb, PREVIEW_SIDE), quality=88)) if task.preview else None

    def _image(self, task: ImageTask) -> NDArray[np.uint8] | str:
        try:
            return shrink(self._read(task.content, task.framing).rgb, task.side)
        except ImageError as error:
            return str(error)

    def _read(self, content: bytes, framing: Framing | None) -> RGBImage:
        image = read_image(content, framing or self.reader.framing)
        height, width = image.rgb.shape[:2]
        if height * width > self.max_pixels:
            raise ImageError(f"{width}×{height} px; at most {self.max_pixels} pixels are accepted here")
        return image


def row_name(name: str) -> tuple[str, str]:
    """ID and path of a row."""
    return file_id(name), name


def failed_row(name: str, reason: str) -> LoadedImage:
    """A row without an image."""
    return LoadedImage(*row_name(name), None, reason)
