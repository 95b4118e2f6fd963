"""Files of predictions in memory: tables of any format, and a page to browse."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from .._utils.files import check_output
from ..images.encode import thumbnail
from ..tables import check_format, write_table

__all__ = ["write_gallery_of", "write_file"]

#: Side of a gallery's thumbnails, pixels.
SIDE = 96


def write_file(table: pa.Table, path: str | os.PathLike[str], overwrite: bool) -> Path:
    """Write a table, and nothing over a file that is there unless `overwrite`."""
    file = Path(path)
    check_format(file)
    check_output(file, overwrite=overwrite)
    write_table(file, table)
    return file


def write_gallery_of(predictions: Any, path: Path, title: str, overwrite: bool) -> Path:
    """Write the gallery of `Predictions`; images without a thumbnail are read from their files."""
    from ..display.gallery import GalleryOptions, write_gallery

    check_output(path, overwrite=overwrite, is_folder=path.suffix.lower() not in (".html", ".htm"))
    images = dict(zip(zip(predictions.ids, predictions.paths, strict=True), predictions.thumbnails, strict=False))

    def image(id_: str, file: str) -> NDArray[np.uint8] | None:
        data = images.get((id_, file), b"")
        if not data:
            return thumbnail(file, 1.0, SIDE) if file else None
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as small:
            return np.asarray(small.convert("RGB").resize((SIDE, SIDE)))

    write_gallery([predictions.to_table()], predictions.tree, path, image, GalleryOptions(title, SIDE))
    return path
