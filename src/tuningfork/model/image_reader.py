"""Picture files, bytes and arrays → what networks get: the first half of a prediction, without a network."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.text import text
from ..images.fits.framing import Framing
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from ..images.read import read_image
from ..images.statistics import appearance
from ..tables.identifiers import file_id
from .out_of_domain import NoveltyDetector

__all__ = ["Read", "Reading", "Source"]

Source = str | os.PathLike[str] | bytes | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Read:
    """A picture ready for the networks, or the reason why there is none.

    Parameters
    ----------
    inputs : tuple of (size, size, 3) uint8, or None
        One for each of the model's preprocessings; None if the picture cannot be read.
    domain_score : float
        How unlike the pictures that the model knows; NaN if it cannot tell.
    warning : str
        What to know of the picture, such as a part without data; "" if nothing.
    """

    id: str
    path: str
    inputs: tuple[NDArray[np.uint8], ...] | None
    error: str
    domain_score: float = math.nan
    warning: str = ""


@dataclass(frozen=True)
class Reading:
    """How a model's pictures are read: small, picklable, and all that a reader far from the network needs."""

    preprocesses: tuple[Preprocess, ...]
    domain: NoveltyDetector | None = None
    framing: Framing = field(default_factory=Framing)

    def inputs(self, picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
        """One picture (H, W, 3), cropped and resized once for each of `preprocesses`."""
        return tuple(preprocess.resized(picture) for preprocess in self.preprocesses)

    def read(
        self, source: Source, number: int = 0, *, name: tuple[str, str] | None = None, radius: float = math.nan
    ) -> Read:
        """Read and resize one picture; a failure becomes the row's error. Safe to call from many threads.

        Parameters
        ----------
        number : int
            The ID of a picture that is no file.
        name : (id, path), optional
            What the row is called; None: by the file's name, or the number.
        radius : float
            petroR90, arcsec, by which FITS images are framed; NaN: not known.
        """
        if name is None:
            is_file = isinstance(source, str | os.PathLike)
            name = (file_id(str(source)), text(str(source))) if is_file else (str(number), "")
        try:
            picture, warning = self._picture(source, radius)
            inputs = self.inputs(picture)
        except ImageError as error:
            return Read(*name, None, str(error))
        # The first network's input stands for all: ensembles differ in their networks, hardly in their crops.
        score = float(self.domain.scores(appearance(inputs[0])[None])[0]) if self.domain else math.nan
        return Read(*name, inputs, "", score, warning)

    def _picture(self, source: Source, radius: float) -> tuple[NDArray[np.uint8], str]:
        """The picture (H, W, 3), and what to tell of it."""
        image = read_image(source, self.framing, radius=radius)
        return image.rgb, image.warning
