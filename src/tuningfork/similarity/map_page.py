"""A map of galaxies by their embeddings, as HTML that needs no script: each point shows its galaxy's image.

Points are the radio buttons of one group: the arrow keys go from one to the next, a tap or click keeps one open, the
pointer shows those that it passes. All thumbnails are one sheet, inside the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.sampling import Shortlist
from ..display.html import render
from ..display.scripts import Script, joined
from ..images.encode import jpeg, thumbnail
from ..images.find import find_image
from ..model.embeddings import COLUMN
from ..tables.arrow import vectors
from ..votes.clean_samples import NO_CLASS
from .build import texts_of
from .projection import project

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["MAX_POINTS", "Sample", "galaxy_map", "map_page", "map_script", "sample_galaxies"]

#: Galaxies that a map shows at most: their thumbnails are two to three megabytes.
MAX_POINTS = 2000
#: Pixels of a thumbnail in the sheet, and as it is shown.
_SIDE, _SHOWN = 64, 128
#: Okabe & Ito's, distinct for nearly all eyes, and by brightness on light and dark; more kinds begin anew.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800")
#: Of galaxies without a class, which are most: they are the background.
_GREY = "#8b8b8b"
#: Bands from top to bottom in which points follow one another, to and fro, so that the arrow keys go to a near one.
_BANDS = 24


@dataclass(frozen=True, eq=False)
class Sample:
    """N galaxies for a map, drawn at random.

    Parameters
    ----------
    ids, paths : (N,) str
    kinds : (N,) str
        What a point's colour stands for, such as the class; "" if the galaxy has none.
    embeddings : (N, D) float32
    total : int
        Galaxies with an embedding, of which these were drawn.
    failed : int
        Galaxies without an embedding.
    descriptions : (N,) str
        What is said of each galaxy beside its kind, instead of it; () if nothing is.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    kinds: tuple[str, ...]
    embeddings: NDArray[np.float32]
    total: int
    failed: int
    descriptions: tuple[str, ...] = ()


def sample_galaxies(batches: Iterable[pa.RecordBatch], size: int = MAX_POINTS, seed: int = 0) -> Sample:
    """Draw at most `size` galaxies of prediction tables with embeddings, all equally likely; their order is kept.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        With the embeddings, and those of the columns ``id``, ``path``, ``class_name`` and ``description`` that there
        are.
    """
    shortlist, failed = Shortlist(size, seed), 0
    for batch in batches:
        values = vectors(batch.column(COLUMN))
        good = np.isfinite(values).all(1)
        failed += int((~good).sum())
        names = ("id", "path", "class_name", "description")
        texts = [np.array(texts_of(batch, name), object)[good] for name in names]
        shortlist.add(np.ones(good.sum()), values[good], *texts)
    _, columns = shortlist.finish()
    if not columns:
        return Sample((), (), (), np.empty((0, 0), np.float32), 0, failed)
    values, *texts = columns
    ids, paths, kinds, words = (tuple(each.tolist()) for each in texts)
    return Sample(ids, paths, kinds, values, shortlist.total, failed, words)


def galaxy_map(sample: Sample, *, images: Path | None = None, seed: int = 0, crop: float = 0.5) -> Markup:
    """Draw the map, as markup for a section of a page.

    Parameters
    ----------
    images : Path, optional
        Folder where the images are now, named as they were or by ID.
    crop : float in (0, 1]
        Fraction of an image's side that thumbnails show.

    Raises
    ------
    MapError
        If there are too few galaxies, or umap-learn is not installed.
    """
    places = project(sample.embeddings, seed)
    order = _to_and_fro(places).tolist()
    totals = Counter(sample.kinds)
    kinds = sorted(totals.keys() - {"", NO_CLASS}) + [name for name in (NO_CLASS, "") if name in totals]
    words = sample.descriptions or sample.kinds
    across = int(np.ceil(np.sqrt(len(order))))
    files = [find_image(sample.ids[row], sample.paths[row], images) for row in order]
    sheet, missing = _sheet(files, across, crop)
    return render(
        "map_section.html",
        sheet=sheet,
        sheet_width=across * _SHOWN,
        kinds=[
            {
                "name": kind,
                "galaxies": totals[kind],
                "colour": _GREY if kind in ("", NO_CLASS) else _COLOURS[number % len(_COLOURS)],
            }
            for number, kind in enumerate(kinds)
        ],
        points=[
            _point(places[row], divmod(number, across), sample.ids[row], words[row] or sample.kinds[row])
            | {"kind": kinds.index(sample.kinds[row])}
            for number, row in enumerate(order)
        ],
        total=sample.total,
        missing=missing,
    )


def map_script() -> Script:
    """The script of pages with a map: zoom by wheel, dragging, a lasso, a selection that is saved."""
    return joined("dom.js", "save.js", "map.js")


def map_page(map_section: Markup, source: str, model: str) -> str:
    """A page of its own for what `galaxy_map` drew.

    Parameters
    ----------
    source, model : str
        What the galaxies are of, and the model whose embeddings were compared, for people.
    """
    about = f"A map of {source}, by the embeddings of the model {model}."
    title = f"Galaxy map: {source}"
    return str(render("map.html", title=title, sections=[], about=about, map=map_section, script=map_script()))


def _point(place: NDArray[np.float32], cell: tuple[int, int], name: str, words: str) -> dict[str, Any]:
    x, y = (2 + 96 * place).tolist()
    # Its image opens to the inside of the plane.
    sides = ("w" if x > 60 else "") + (" n" if y > 60 else "")
    label = f"{name}, {words}" if words else name
    return {
        "x": x, "y": y, "row": cell[0], "column": cell[1], "sides": sides, "id": name, "words": words, "label": label
    }  # fmt: skip


def _to_and_fro(places: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows of (N, 2) places band by band from top to bottom, each band the other way than the one before."""
    band = np.minimum((places[:, 1] * _BANDS).astype(int), _BANDS - 1)
    return np.lexsort((np.where(band % 2, -places[:, 0], places[:, 0]), band))


def _sheet(files: Sequence[str], across: int, crop: float) -> tuple[bytes, int]:
    """All thumbnails as one JPEG, `across` in a row, and how many could not be read."""
    sheet = np.full((-(-len(files) // across) * _SIDE, across * _SIDE, 3), 96, np.uint8)
    missing = 0
    for number, file in enumerate(files):
        small = thumbnail(file, crop, _SIDE)
        if small is None:
            missing += 1
            continue
        y, x = (side * _SIDE for side in divmod(number, across))
        sheet[y : y + _SIDE, x : x + _SIDE] = small
    return jpeg(sheet, 78), missing
