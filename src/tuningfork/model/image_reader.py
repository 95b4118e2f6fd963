"""Image reader: files, bytes and arrays → the networks' inputs, without a network."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.text import text
from ..images.fits.file import is_fits
from ..images.fits.framing import Framing
from ..images.flux import FluxImage, display_light, read_flux
from ..images.image import ImageError, RGBImage
from ..images.preprocess import Preprocess
from ..images.read import Source, read_image
from ..images.source import file_bytes, path_or_bytes
from ..images.statistics import appearances
from ..images.structure import structure_row
from ..tables.identifiers import file_id
from .out_of_domain import NoveltyDetector

__all__ = ["LoadedImage", "ImageReader", "Source"]


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image ready for the networks, or the reason why it cannot be read.

    Parameters
    ----------
    id, path : str
        Identifier of the galaxy and its file, "" if it is none.
    inputs : tuple of (size, size, 3) uint8, or None
        One for each of the model's preprocessings; None if the image cannot be read.
    error : str
        Why it cannot be read; "" if it can.
    domain_score : float
        Out-of-domain score, see `NoveltyDetector`; NaN if the model has none.
    warning : str
        What to know of the image, such as a part without data; "" if nothing.
    structure : dict or None
        The galaxy's structural parameters, see `images.structure.structure_row`; None if they were not measured.
    """

    id: str
    path: str
    inputs: tuple[NDArray[np.uint8], ...] | None
    error: str
    domain_score: float = math.nan
    warning: str = ""
    structure: dict[str, Any] | None = None


@dataclass(frozen=True)
class ImageReader:
    """How a model's images are read: small, picklable, and enough for a process without the networks.

    With `structure` the galaxy is measured in the same image, of display brightness in the pixels that were decoded for
    the networks; the fluxes of a FITS file are read from its bytes once more.
    """

    preprocesses: tuple[Preprocess, ...]
    domain: NoveltyDetector | None = None
    framing: Framing = field(default_factory=Framing)
    structure: bool = False

    def inputs(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
        """Return one image (H, W, 3), cropped and resized once for each of `preprocesses`."""
        return tuple(preprocess.resized(rgb) for preprocess in self.preprocesses)

    def read(
        self,
        source: Source,
        number: int = 0,
        *,
        name: tuple[str, str] | None = None,
        radius: float = math.nan,
        scored: bool = True,
    ) -> LoadedImage:
        """Read and resize one image; a failure becomes the row's error. Safe to call from many threads.

        Parameters
        ----------
        source : path, bytes or array
        number : int
            The identifier of an image that is no file.
        name : (id, path), optional
            Identifier and path of the row; None: by the file's name, or the number.
        radius : float
            petroR90, arcsec, by which FITS images are framed; NaN: not known.
        scored : bool
            Whether to compute the out-of-domain score; `add_scores` does so for several in less time.
        """
        if name is None:
            if isinstance(source, str | os.PathLike):
                name = file_id(Path(source).name), text(str(source))
            else:
                name = str(number), ""
        try:
            if self.structure:
                source = _in_memory(source)
            image = read_image(source, self.framing, radius=radius)
            inputs = self.inputs(image.rgb)
        except ImageError as error:
            return LoadedImage(*name, None, str(error))
        structure = structure_row(lambda: _light(source, image, self.framing)) if self.structure else None
        loaded = LoadedImage(*name, inputs, "", warning=image.warning, structure=structure)
        return self.add_scores([loaded])[0] if scored else loaded

    def add_scores(self, images: Sequence[LoadedImage]) -> list[LoadedImage]:
        """Return images that were read, with their out-of-domain scores: to the last bit as `read` computes them."""
        if self.domain is None or not any(image.inputs for image in images):
            return list(images)
        # The first network's input stands for all: ensembles differ in their networks, hardly in their crops.
        measured = iter(appearances(np.stack([image.inputs[0] for image in images if image.inputs])))
        # A row at a time: for several, the last bits of a product of matrices depend on how many there are.
        return [
            replace(image, domain_score=float(self.domain.scores(next(measured)[None])[0])) if image.inputs else image
            for image in images
        ]


def _in_memory(source: Source) -> Source:
    """The bytes of a file, so that it is read once; arrays and images as they are."""
    if isinstance(source, str | os.PathLike) or hasattr(source, "read"):
        data = path_or_bytes(source)
        return data if isinstance(data, bytes) else file_bytes(data)
    return source


def _light(source: Source, image: RGBImage, framing: Framing) -> FluxImage:
    """The fluxes of a FITS file, or the display brightness of what `image` is."""
    if isinstance(source, list | tuple):
        raise ImageError("structure is measured in one file, not in one of each band")
    return read_flux(source, framing) if isinstance(source, bytes) and is_fits(source) else display_light(image)
