"""Similar galaxies to look at: a page, or a single picture of rows of thumbnails."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .._utils.files import whole_file, write_text
from ..display.html import Markup, figure, grid, paragraph, section, text, whole_page
from ..images.encode import jpeg, thumbnail
from ..model.embeddings import Embedder
from . import Found

__all__ = ["MAX_SHOWN", "find_picture", "write_montage", "write_page"]

#: Pictures that a page or montage shows with their neighbours.
MAX_SHOWN = 200
#: Pixels of a thumbnail's side, of the line of text below it, and between two.
_SIDE, _LINE, _GAP = 112, 14, 6
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".fits")


def write_page(found: Sequence[Found], embedder: Embedder, output: str | Path, images: Path | None = None) -> None:
    """One page that needs nothing else: each picture that was asked for, and below it those like it."""
    shown = []
    for number, each in enumerate(found[:MAX_SHOWN]):
        told = [paragraph(f"Class: {each.class_name}")] if each.class_name else []
        if each.error:
            told = [paragraph(f"No prediction: {each.error}", "missing")]
        cards = [_card(each.id, each.path, "this picture", images)] if not each.error else []
        cards += [_card(near.id, near.path, f"distance {near.distance:.3f}", images) for near in each.neighbours]
        shown.append(section(f"picture-{number}", each.id, *told, grid(cards, "mosaic")))
    head = [
        paragraph(
            "The galaxies of an index that are most like each picture, by what the networks see in them: distance is "
            f"1 − cosine between centred embeddings of the model {embedder.model} (SHA-256 {embedder.sha256[:12]}…), "
            f"means of {embedder.n_views} views; 0 is the same, 1 has nothing in common."
        )
    ]
    if len(found) > MAX_SHOWN:
        head.append(paragraph(f"{MAX_SHOWN} of {len(found):,} pictures are shown."))
    write_text(output, whole_page("Similar galaxies", head, shown))


def write_montage(found: Sequence[Found], output: str | Path, images: Path | None = None) -> None:
    """A PNG with one row a picture: itself, then those like it, each with its name and distance below."""
    rows = [
        [(each.id, each.path, ""), *((near.id, near.path, f"{near.distance:.3f}") for near in each.neighbours)]
        for each in found[:MAX_SHOWN]
        if not each.error
    ]
    across = max(map(len, rows), default=1)
    step, down = _SIDE + _GAP, _SIDE + 2 * _LINE + _GAP
    sheet = Image.new("RGB", (across * step + _GAP, max(1, len(rows)) * down + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, cells in enumerate(rows):
        for column, (name, path, below) in enumerate(cells):
            x, y = _GAP + column * step, _GAP + row * down
            sheet.paste(Image.fromarray(_thumbnail(name, path, images)), (x, y))
            if not column:
                draw.rectangle((x - 2, y - 2, x + _SIDE + 1, y + _SIDE + 1), outline="#0072b2", width=2)
            for line, words in enumerate((name, below)):
                draw.text((x, y + _SIDE + 1 + line * _LINE), _fitting(words, draw), fill="black")
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    with whole_file(output) as beside:
        beside.write_bytes(stream.getvalue())


def find_picture(name: str, path: str, images: Path | None) -> str:
    """Where a galaxy's picture is: in the folder `images`, named by its ID or as `path` ends, if it is there."""
    if images is not None:
        for candidate in (images / Path(path).name, *(images / f"{name}{suffix}" for suffix in _SUFFIXES)):
            # The name comes from a table: it must not lead out of the folder.
            if candidate.parent == images and candidate.is_file():
                return str(candidate)
    return path


def _card(name: str, path: str, below: str, images: Path | None) -> Markup:
    caption = Markup(f"{text(name)}<br><small>{text(below)}</small>")
    return figure(jpeg(_thumbnail(name, path, images)), f"Galaxy {name}, {below}", caption)


def _thumbnail(name: str, path: str, images: Path | None) -> NDArray[np.uint8]:
    found = thumbnail(find_picture(name, path, images), side=_SIDE)
    # Grey: the picture is not where it was, or within an archive.
    return np.full((_SIDE, _SIDE, 3), 96, np.uint8) if found is None else found


def _fitting(words: str, draw: ImageDraw.ImageDraw) -> str:
    # The built-in font has no other letters, and a long name would run into the next one.
    words = words.encode("ascii", "replace").decode()
    while words and draw.textlength(words) > _SIDE:
        words = words[1:]
    return words
