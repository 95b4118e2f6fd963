"""Similar galaxies as a page, or as a single image of rows of thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .._utils.files import atomic_file, write_text
from ..display.html import render
from ..images.encode import jpeg, png, thumbnail
from ..images.find import find_image
from ..model.embeddings import Embedder
from .index_file import SimilarityError
from .query import Match

__all__ = ["MAX_SHOWN", "write_montage", "write_page"]

#: Queried images that a page or montage shows with their neighbours.
MAX_SHOWN = 200
#: Pixels of a montage: 400 MB in memory.
MAX_PIXELS = 2**27
#: Pixels of a thumbnail's side, of the line of text below it, and between two.
_SIDE, _LINE, _GAP = 112, 14, 6


def write_page(matches: Sequence[Match], embedder: Embedder, output: str | Path, images: Path | None = None) -> None:
    """Write a self-contained page: each queried image, and below it its neighbours.

    Parameters
    ----------
    images : Path, optional
        Folder where the index's images are now; see `find_image`.
    """
    shown = matches[:MAX_SHOWN]
    page = render(
        "similar.html",
        title="Similar galaxies",
        sections=[(f"image-{number}", each.id) for number, each in enumerate(shown)],
        matches=[
            {"id": each.id, "headline": each.headline, "error": each.error, "cards": _cards(each, images)}
            for each in shown
        ],
        embedder=embedder,
        total=len(matches),
    )
    write_text(output, page)


def write_montage(matches: Sequence[Match], output: str | Path, images: Path | None = None) -> None:
    """Write a PNG with one row for each queried image: itself, then its neighbours, with names and distances.

    Parameters
    ----------
    images : Path, optional
        Folder where the index's images are now; see `find_image`.

    Raises
    ------
    SimilarityError
        If the image would have more than `MAX_PIXELS` pixels.
    """
    rows = [
        [(each.id, each.path, ""), *((near.id, near.path, f"{near.distance:.3f}") for near in each.neighbours)]
        for each in matches[:MAX_SHOWN]
        if not each.error
    ]
    across = max(map(len, rows), default=1)
    step, down = _SIDE + _GAP, _SIDE + 2 * _LINE + _GAP
    width, height = across * step + _GAP, max(1, len(rows)) * down + _GAP
    if width * height > MAX_PIXELS:
        raise SimilarityError(
            f"{output}: an image of {width}×{height} px; choose fewer images or neighbours (-k), or write .html"
        )
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for row, cells in enumerate(rows):
        for column, (name, path, note) in enumerate(cells):
            x, y = _GAP + column * step, _GAP + row * down
            sheet.paste(Image.fromarray(_thumbnail(name, path, images)), (x, y))
            if not column:
                draw.rectangle((x - 2, y - 2, x + _SIDE + 1, y + _SIDE + 1), outline="#0072b2", width=2)
            for line, text in enumerate((name, note)):
                draw.text((x, y + _SIDE + 1 + line * _LINE), _fitting(text, draw), fill="black")
    with atomic_file(output) as partial:
        partial.write_bytes(png(np.asarray(sheet)))


def _cards(match: Match, images: Path | None) -> list[tuple[str, str, bytes]]:
    """Name, note and JPEG of the queried image, if it could be read, and of its neighbours."""
    shown = [] if match.error else [(match.id, match.path, "this image")]
    shown += [(near.id, near.path, f"distance {near.distance:.3f}") for near in match.neighbours]
    return [(name, note, jpeg(_thumbnail(name, path, images))) for name, path, note in shown]


def _thumbnail(name: str, path: str, images: Path | None) -> NDArray[np.uint8]:
    small = thumbnail(find_image(name, path, images), side=_SIDE)
    # Grey: the image is not where it was, or within an archive.
    return np.full((_SIDE, _SIDE, 3), 96, np.uint8) if small is None else small


def _fitting(text: str, draw: ImageDraw.ImageDraw) -> str:
    # The built-in font has no other letters, and a long name would run into the next one.
    text = text.encode("ascii", "replace").decode()
    while text and draw.textlength(text) > _SIDE:
        text = text[1:]
    return text
