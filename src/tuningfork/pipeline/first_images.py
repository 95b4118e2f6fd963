"""The first images of a run, to choose by how it is predicted."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice

from ..inputs import Columns, ItemReader, find_items
from ..model.image_reader import LoadedImage
from ..model.model import Model
from .chunks import read_item

__all__ = ["first_images"]

#: Items that are tried for each image that is wanted: some files may be damaged.
TRIES_PER_IMAGE = 4


def first_images(
    model: Model, paths: Iterable[str | os.PathLike[str]], columns: Columns = Columns(), *, count: int
) -> list[LoadedImage]:
    """Up to `count` images that can be read, from the beginning of all that `paths` name."""
    images: list[LoadedImage] = []
    with ItemReader() as reader:
        for item in islice(find_items(paths, columns), TRIES_PER_IMAGE * count):
            image = read_item(model.image_reader, item, reader.prepare(item))
            if image.inputs is not None:
                images.append(image)
            if len(images) == count:
                break
    return images
