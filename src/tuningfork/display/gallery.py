"""A gallery: a page on which a whole table of predictions is browsed, with a thumbnail of each galaxy.

Rows are packed in columns of bytes, thumbnails in sheets of `_ACROSS`² images; the page draws what is in view. It is
one file, or a folder with the sheets beside the page, and is opened from a disk without a network.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.environment import available_cores
from .._utils.files import atomic_file, part_of
from ..images.encode import jpeg
from ..votes.clean_samples import NO_CLASS
from ..votes.tree import DecisionTree
from .gallery_rows import GalleryError, GalleryRows
from .html import render
from .scripts import joined

__all__ = ["MAX_GALAXIES", "GalleryError", "GalleryOptions", "GalleryReport", "write_gallery"]

Bytes = NDArray[np.uint8]
#: Returns the thumbnail (side, side, 3) uint8 of a galaxy by ID and path, or None if there is none.
Thumbnails = Callable[[str, str], "Bytes | None"]

#: Galaxies of a page, at most; of more, so many are drawn at random.
MAX_GALAXIES = 100_000
#: Thumbnails along a side of a sheet: a sorted view shows parts of many sheets, so they are small.
_ACROSS = 8
_QUALITY = 78
_SHEETS = "sheets"


@dataclass(frozen=True, slots=True)
class GalleryOptions:
    """What a gallery shows, and how.

    Parameters
    ----------
    title : str
    side : int
        Pixels of a thumbnail's side.
    columns : tuple of str
        Further columns of numbers, to sort and filter by.
    most : int
        Galaxies of the page, at most; of more, so many are drawn at random, by `seed`.
    threads : int
        That read images; 0: one for each processor.
    source : str
        The table's name, which the page says where it cannot show anything else.
    """

    title: str = "Galaxies"
    side: int = 96
    columns: tuple[str, ...] = ()
    most: int = MAX_GALAXIES
    seed: int = 0
    threads: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        if not 16 <= self.side <= 256:
            raise ValueError(f"thumbnails of {self.side} px; 16 to 256 are possible")
        if not 1 <= self.most <= MAX_GALAXIES:
            raise ValueError(f"{self.most} galaxies; a page shows 1 to {MAX_GALAXIES}")


@dataclass(frozen=True, slots=True)
class GalleryReport:
    """What was written.

    Parameters
    ----------
    galaxies, total : int
        On the page, and in the table.
    without_image, without_prediction : int
        Of those on the page.
    bytes : int
        Of all files.
    """

    galaxies: int
    total: int
    without_image: int
    without_prediction: int
    bytes: int


def write_gallery(
    tables: Iterable[pa.Table],
    tree: DecisionTree,
    output: str | os.PathLike[str],
    thumbnails: Thumbnails,
    options: GalleryOptions = GalleryOptions(),
    progress: Callable[[int, int], None] | None = None,
) -> GalleryReport:
    """Write a gallery of predictions.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        Blocks of the columns of `tuningfork predict`; one at a time is in memory.
    tree : DecisionTree
        Of the predictions.
    output : path
        A file ``….html``, which holds all; any other name is a folder, with ``index.html`` and the sheets in it.
    thumbnails : callable of (id, path)
        May be called by several threads.
    options : GalleryOptions
    progress : callable of (galaxies done, galaxies), optional

    Returns
    -------
    GalleryReport

    Raises
    ------
    GalleryError
        If there is no galaxy.
    ColumnError
        If a table has no predictions of the tree, or no such column of numbers.
    """
    rows = GalleryRows.read(tables, tree, options.columns, options.most, options.seed)
    if not rows.ids:
        raise GalleryError("the table has no rows; nothing to show")
    target = Path(output)
    is_file = target.suffix.lower() in (".html", ".htm")
    page = target if is_file else target / "index.html"
    # Until it is whole, the page that may be there keeps its own sheets.
    sheets = part_of(target / _SHEETS)
    if not is_file:
        shutil.rmtree(sheets, ignore_errors=True)
        sheets.mkdir(parents=True)
    has_image = np.zeros(len(rows.ids), np.uint8)
    head, tail = _frame(rows, options)
    size = 0
    try:
        with atomic_file(page) as part, open(part, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(head)
            for number, sheet in enumerate(_sheets(rows, has_image, thumbnails, options, progress)):
                if is_file:
                    text = base64.b64encode(sheet).decode()
                    file.write(f'<script type="text/plain" id="sheet-{number}">{text}</script>\n')
                else:
                    (sheets / f"{number:05d}.jpg").write_bytes(sheet)
                    size += len(sheet)
            data = _data(rows, has_image, options.side, "" if is_file else _SHEETS)
            file.write(f'<script type="application/json" id="data">{data}</script>\n{tail}')
            if not is_file:
                shutil.rmtree(target / _SHEETS, ignore_errors=True)
                sheets.replace(target / _SHEETS)
    finally:
        shutil.rmtree(sheets, ignore_errors=True)
    return GalleryReport(
        len(rows.ids),
        rows.total,
        int((has_image == 0).sum()),
        int((~rows.predicted).sum()),
        size + page.stat().st_size,
    )


def _sheets(
    rows: GalleryRows,
    has_image: Bytes,
    thumbnails: Thumbnails,
    options: GalleryOptions,
    progress: Callable[[int, int], None] | None,
) -> Iterator[bytes]:
    """Sheets of thumbnails as JPEG files, in the order of the rows; marks in `has_image` which could be read."""
    side, per_sheet = options.side, _ACROSS**2
    with ThreadPoolExecutor(options.threads or available_cores(), "thumbnails") as pool:
        # No more are read ahead than two sheets hold.
        names, pending = iter(zip(rows.ids, rows.paths, strict=True)), []
        for name in islice(names, 2 * per_sheet):
            pending.append(pool.submit(thumbnails, *name))
        done = 0
        while pending:
            sheet = np.full((_ACROSS * side, _ACROSS * side, 3), 24, np.uint8)
            count = min(per_sheet, len(pending))
            for at in range(count):
                small = pending[at].result()
                if small is not None:
                    y, x = (each * side for each in divmod(at, _ACROSS))
                    sheet[y : y + side, x : x + side] = small
                    has_image[done + at] = 1
            del pending[:count]
            done += count
            for name in islice(names, count):
                pending.append(pool.submit(thumbnails, *name))
            if progress:
                progress(done, len(rows.ids))
            yield jpeg(sheet, _QUALITY)


def _frame(rows: GalleryRows, options: GalleryOptions) -> tuple[str, str]:
    """What comes before the sheets and the data of a page, and what after."""
    from markupsafe import Markup

    drawn = f", drawn at random from {rows.total:,}" if len(rows.ids) < rows.total else ""
    page = render(
        "gallery.html",
        title=options.title,
        about=f"{len(rows.ids):,} galaxies{drawn}, and the votes that a model predicts from their images "
        f"({rows.tree.title}).",
        galaxies=len(rows.ids),
        table_name=f" ({options.source})" if options.source else "",
        parts=Markup("\0"),
        script=joined("dom.js", "tree.js", "save.js", "browse.js", "gallery.js"),
    )
    head, tail = str(page).split("\0")
    return head, tail


def _data(rows: GalleryRows, has_image: Bytes, side: int, folder: str) -> str:
    """The rows as JSON that may stand in a script element."""
    tree = rows.tree
    known, codes = np.unique(np.array(rows.descriptions, object), return_inverse=True)
    names = iter(tree.fraction_names)
    data = {
        "ids": rows.ids,
        "descriptions": known.tolist(),
        "classes": [*(rule.name for rule in tree.classes), NO_CLASS] if tree.classes else [],
        "questions": [
            {
                "key": question.key,
                "short": question.key.replace("_", " "),
                "text": question.text,
                "parent": question.parent,
                "answers": [
                    {"text": answer.text, "name": next(names), "column": answer.column, "next": answer.next}
                    for answer in question.answers
                ],
            }
            for question in tree.questions
        ],
        "messages": {row: text for row, text in enumerate(rows.messages) if text},
        "interval_level": rows.level,
        "sheets": {"side": side, "across": _ACROSS, "perSheet": _ACROSS**2, "folder": folder},
        "columns": {
            **{name: _base64(values) for name, values in rows.codes.items()},
            "image": _base64(has_image),
            "description": _base64(codes.astype("<u4")),
        },
        "extra": {name: _base64(values.astype("<f4")) for name, values in rows.extra.items()},
    }
    # "<" would end the script element; in a text of JSON it may be written as a code.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
