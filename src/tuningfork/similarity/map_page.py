"""A map of galaxies whose points show their pictures, as HTML that needs no script.

Points are the radio buttons of one group: the arrow keys go from one to the next, a tap or click keeps one open, the
pointer shows those that it passes. All thumbnails are one sheet, inside the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.sampling import Shortlist
from ..display.html import Markup, data_url, integer, paragraph, text
from ..images.encode import jpeg, thumbnail
from ..model.embeddings import COLUMN
from ..tables.arrow import vectors
from .neighbours_page import find_picture
from .projection import plane

__all__ = ["MAX_POINTS", "Sample", "galaxy_map", "sampled"]

#: Galaxies that a map shows at most: their thumbnails are two to three megabytes.
MAX_POINTS = 2000
#: Pixels of a thumbnail in the sheet, and as it is shown.
_SIDE, _SHOWN = 64, 128
#: Okabe & Ito's, told apart by nearly all eyes, and by brightness on light and dark; more kinds begin anew.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#8b8b8b")
#: Bands from top to bottom in which points follow one another, to and fro, so that the arrow keys go to a near one.
_BANDS = 24

_STYLE = """
.map { --far: 1 } .map .box { overflow: auto; height: min(80vh, 48rem); border: 1px solid var(--line);
  border-radius: 6px; margin: .6rem 0; overscroll-behavior: contain }
.map .plane { position: relative; width: calc(100% * var(--far)); height: calc(100% * var(--far)) }
.map:has(.x2:checked) { --far: 2 } .map:has(.x4:checked) { --far: 4 }
.map fieldset { border: 0; padding: 0; margin: .3rem 0; display: flex; flex-wrap: wrap; gap: .2rem .9rem }
.map legend { float: left; padding: 0; margin-right: .9rem; font-weight: 600; line-height: 1.8rem }
.map fieldset label { display: inline-flex; align-items: center; gap: .35rem; min-height: 1.8rem }
.map fieldset i { width: .8rem; height: .8rem; border-radius: 50%; background: var(--k) }
.map .p { position: absolute; width: 0; height: 0 }
.map .p input { appearance: none; position: absolute; left: -5px; top: -5px; width: 10px; height: 10px; margin: 0;
  border-radius: 50%; background: var(--k); opacity: .8; cursor: pointer; border: 1px solid var(--paper) }
.map .p:hover input, .map .p input:checked, .map .p input:focus-visible { opacity: 1; transform: scale(1.7);
  outline: 2px solid CanvasText; outline-offset: 1px }
.map .p:hover, .map .p:focus-within { z-index: 3 } .map .p:has(:checked) { z-index: 2 }
.map .p b { display: none; position: absolute; left: 10px; top: 10px; width: 136px; padding: 4px; font-weight: 400;
  font-size: .75rem; line-height: 1.25; background: var(--paper); border: 1px solid var(--line); border-radius: 6px;
  box-shadow: 0 2px 10px #0006; pointer-events: none; overflow-wrap: anywhere }
.map .p.w b { left: auto; right: 10px } .map .p.n b { top: auto; bottom: 10px }
.map .p:hover b, .map .p input:checked + b, .map .p input:focus-visible + b { display: block }
.map .p b::before { content: ""; display: block; width: 128px; height: 128px; border-radius: 3px; margin-bottom: 3px;
  background-position: calc(-128px * var(--c)) calc(-128px * var(--r)); background-color: #666 }
@media (pointer: coarse) { .map .p input { left: -8px; top: -8px; width: 16px; height: 16px } }
@media print { .map fieldset { display: none } .map .box { height: 14cm } }
"""


@dataclass(frozen=True, eq=False)
class Sample:
    """N galaxies for a map, drawn at random from `seen` that have an embedding; `failed` have none.

    `kinds` are the colours' names, such as classes; "" for a galaxy that has none.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    kinds: tuple[str, ...]
    embeddings: NDArray[np.float32]
    seen: int
    failed: int


def sampled(batches: Iterable[pa.RecordBatch], size: int = MAX_POINTS, seed: int = 0) -> Sample:
    """At most `size` galaxies of prediction tables with embeddings, each as likely as the other; in their order."""
    kept, failed = Shortlist(size, seed), 0
    for batch in batches:
        values = vectors(batch.column(COLUMN))
        good = np.isfinite(values).all(1)
        failed += int((~good).sum())
        texts = [_texts(batch, name)[good] for name in ("id", "path", "class_name")]
        kept.add(np.ones(good.sum()), values[good], *texts)
    _, columns = kept.finish()
    if not columns:
        return Sample((), (), (), np.empty((0, 0), np.float32), 0, failed)
    values, *texts = columns
    return Sample(*(tuple(each.tolist()) for each in texts), values, kept.seen, failed)


def galaxy_map(sample: Sample, *, images: Path | None = None, seed: int = 0, crop: float = 0.5) -> Markup:
    """The map as markup for a section of a page.

    Parameters
    ----------
    images : Path, optional
        Folder where the pictures are now, named as they were or by ID.
    crop : float
        Part of a picture's side that thumbnails show.

    Raises
    ------
    MapError
        If there are too few galaxies, or umap-learn is not installed.
    """
    places = plane(sample.embeddings, seed)
    order = _to_and_fro(places).tolist()
    kinds = sorted({*sample.kinds} - {""}) + ([""] if "" in sample.kinds else [])
    across = int(np.ceil(np.sqrt(len(order))))
    files = [find_picture(sample.ids[row], sample.paths[row], images) for row in order]
    sheet, missing = _sheet(files, across, crop)
    points = [
        _point(number, across, places[row], sample.ids[row], sample.kinds[row], kinds.index(sample.kinds[row]))
        for number, row in enumerate(order)
    ]
    told = [paragraph(_about(sample))]
    if missing:
        told.append(paragraph(f"{integer(missing)} pictures are not where they were, and are grey.", "missing"))
    return Markup(
        f"<style>{_STYLE}{_style_of(sheet, across, len(kinds))}</style>{''.join(told)}"
        f'<div class="map">{_legend(kinds, sample.kinds)}{_CONTROLS}'
        '<div class="box"><div class="plane" role="radiogroup" aria-label="Galaxies; arrow keys go to the next one">'
        f"{''.join(points)}</div></div></div>"
    )


_CONTROLS = (
    "<fieldset><legend>Size</legend>"
    + "".join(
        f'<label><input type="radio" name="far" class="x{far}"{" checked" * (far == 1)}> {far}×</label>'
        for far in (1, 2, 4)
    )
    + '<label><input type="radio" name="galaxy"> close the picture</label></fieldset>'
)


def _about(sample: Sample) -> str:
    shown = f"{integer(len(sample.ids))} galaxies"
    if len(sample.ids) < sample.seen:
        shown += f", drawn at random from {integer(sample.seen)}"
    return (
        f"{shown}: UMAP (McInnes et al. 2018) of what the networks see. Those that lie together look alike to them; "
        "directions, and distances between groups, mean nothing. Point at one, tap it, or go to them with the Tab key "
        "and from one to the next with the arrow keys, to see its picture."
    )


def _legend(kinds: Sequence[str], of: Sequence[str]) -> Markup:
    if kinds in ([], [""]):
        return Markup("")
    boxes = [
        f'<label class="k{number}"><input type="checkbox" class="t{number}" checked><i></i>'
        f"{text(kind or 'no class')} ({integer(of.count(kind))})</label>"
        for number, kind in enumerate(kinds)
    ]
    return Markup(f"<fieldset><legend>Show</legend>{''.join(boxes)}</fieldset>")


def _point(number: int, across: int, place: NDArray[np.float32], name: str, kind: str, colour: int) -> str:
    x, y = (2 + 96 * place).tolist()
    # Its picture opens to the inside of the plane.
    sides = ("w" if x > 60 else "") + (" n" if y > 60 else "")
    words = text(f"{name}, {kind}" if kind else name)
    return (
        f'<label class="p k{colour} {sides}" style="left:{x:.2f}%;top:{y:.2f}%;--c:{number % across};'
        f'--r:{number // across}"><input type="radio" name="galaxy" aria-label="{words}"><b>{words}</b></label>'
    )


def _style_of(sheet: bytes, across: int, kinds: int) -> str:
    rules = [
        f".map .p b::before {{ background-image: url({data_url(sheet)}); background-size: {across * _SHOWN}px auto }}"
    ]
    for number in range(kinds):
        rules.append(f".map .k{number} {{ --k: {_COLOURS[number % len(_COLOURS)]} }}")
        rules.append(f".map:has(.t{number}:not(:checked)) .p.k{number} {{ display: none }}")
    return "\n".join(rules)


def _to_and_fro(places: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows of (N, 2) places band by band from top to bottom, each band the other way than the one before."""
    band = np.minimum((places[:, 1] * _BANDS).astype(int), _BANDS - 1)
    return np.lexsort((np.where(band % 2, -places[:, 0], places[:, 0]), band))


def _sheet(files: Sequence[str], across: int, crop: float) -> tuple[bytes, int]:
    """All thumbnails as one JPEG, `across` in a row, and how many could not be had."""
    sheet = np.full((-(-len(files) // across) * _SIDE, across * _SIDE, 3), 96, np.uint8)
    missing = 0
    for number, file in enumerate(files):
        seen = thumbnail(file, crop, _SIDE)
        if seen is None:
            missing += 1
            continue
        y, x = (side * _SIDE for side in divmod(number, across))
        sheet[y : y + _SIDE, x : x + _SIDE] = seen
    return jpeg(sheet, 78), missing


def _texts(batch: pa.RecordBatch, name: str) -> NDArray[np.object_]:
    values = batch.column(name).to_pylist() if name in batch.schema.names else [None] * len(batch)
    return np.array(["" if value is None else str(value) for value in values], object)
