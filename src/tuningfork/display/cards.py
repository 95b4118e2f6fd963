"""How predictions look in a notebook: a picture with bars, a table of galaxies; HTML that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MAX_ROWS", "THUMBNAIL_SIDE", "Bar", "Card", "card_html", "table_html", "thumbnail"]

#: Pixels of a thumbnail's longer side, at most.
THUMBNAIL_SIDE = 160
#: Galaxies that a table shows; of the others it says how many they are.
MAX_ROWS = 20
#: Letters of a name or a message that are shown.
MAX_TEXT = 200

# Colours of the page around it, whatever they are, so that light and dark notebooks both are served.
_STYLE = """<style>
.tuningfork { font: 14px/1.4 system-ui, sans-serif; color: inherit; text-align: left; max-width: 60rem }
.tuningfork .tf-card { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start }
.tuningfork figure { margin: 0; max-width: 11rem } .tuningfork figcaption { font-size: 12px; opacity: .7 }
.tuningfork img { display: block; border-radius: 6px; background: #000; margin: 0; width: 10rem; max-width: none }
.tuningfork td img { width: 4rem }
.tuningfork .tf-head { font-size: 16px; font-weight: 600; overflow-wrap: anywhere } .tuningfork .tf-head small {
 font-weight: 400; opacity: .75 }
.tuningfork .tf-warn { border-left: 4px solid #d55e00; padding-left: .5rem; margin: .3rem 0; overflow-wrap: anywhere }
.tuningfork table { border-collapse: collapse; margin: 0; border: 0; font-size: 13px; color: inherit }
.tuningfork .tf-card table { width: 26rem; max-width: 100% }
.tuningfork tr, .tuningfork tr:nth-child(even), .tuningfork tr:nth-child(odd) { background: none }
.tuningfork th, .tuningfork td { border: 0; padding: .1rem .6rem .1rem 0; text-align: left; vertical-align: middle;
 background: none; color: inherit; max-width: 24rem; overflow-wrap: anywhere; white-space: normal }
.tuningfork .tf-card th { padding-top: .5rem; font-weight: 600 }
.tuningfork td.tf-number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.tuningfork tr.tf-taken td { font-weight: 600 } .tuningfork tr.tf-other td { opacity: .8 }
.tuningfork .tf-bar { position: relative; width: 9rem; height: 12px; border-radius: 3px; overflow: hidden }
.tuningfork .tf-bar::before { content: ""; position: absolute; inset: 0; background: currentColor; opacity: .12 }
.tuningfork .tf-bar i { position: absolute; inset: 0 auto 0 0; background: #3b8bc9 }
.tuningfork .tf-bar b { position: absolute; top: 4px; height: 4px; background: currentColor; opacity: .75 }
.tuningfork .tf-table tbody tr { border-top: 1px solid #8884 } .tuningfork .tf-table td { padding: .3rem .8rem .3rem 0 }
.tuningfork .tf-table th { white-space: nowrap }
</style>"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One answer, or one class: its share in [0, 1], and its interval (NaN if there is none)."""

    text: str
    share: float
    low: float = math.nan
    high: float = math.nan
    taken: bool = False

    @property
    def interval(self) -> str:
        """Such as ``62–85 %``; "" if there is none."""
        return "" if math.isnan(self.low) else f"{100 * self.low:.0f}–{100 * self.high:.0f} %"


@dataclass(frozen=True, slots=True)
class Card:
    """A galaxy as it is shown.

    Parameters
    ----------
    picture : bytes
        A JPEG; empty if there is none to show.
    headline : str
        The class with its probability, or "".
    warnings : texts
        What speaks against relying on it.
    error : str
        Why there is no prediction, or "".
    questions : (short name, text, bars of all its answers) of the way that was taken, in its order
    classes : the bars of the classes
    """

    title: str
    picture: bytes = b""
    headline: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""
    questions: tuple[tuple[str, str, tuple[Bar, ...]], ...] = ()
    classes: tuple[Bar, ...] = ()


def thumbnail(picture: NDArray[np.uint8], side: int = THUMBNAIL_SIDE) -> bytes:
    """A picture (H, W, 3) as a JPEG of at most `side` pixels a side."""
    longer = max(picture.shape[:2])
    if longer > side:
        height, width = (max(1, round(length * side / longer)) for length in picture.shape[:2])
        picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=85)


def card_html(card: Card) -> str:
    """One galaxy: picture, class, warnings, and the bars along the way down the tree."""
    head = f'<div class="tf-head">{_text(card.title)} <small>{_text(card.headline)}</small></div>'
    told = "".join(f'<div class="tf-warn">{_text(line)}</div>' for line in (*card.warnings, card.error) if line)
    sections = [(text, bars) for _, text, bars in card.questions] + [("Class", card.classes)] * bool(card.classes)
    rows = "".join(
        f'<tr><th colspan="4" scope="rowgroup">{_text(text)}</th></tr>{"".join(map(_bar, bars))}'
        for text, bars in sections
    )
    table = f"<table>{rows}</table>" if rows else ""
    caption = "<figcaption>as the model sees it</figcaption>"
    figure = f"<figure>{_image(card)}{caption}</figure>" if card.picture else ""
    return f'{_STYLE}<div class="tuningfork">{head}{told}<div class="tf-card">{figure}{table}</div></div>'


def table_html(cards: Sequence[Card], total: int) -> str:
    """Several galaxies, a line each; `total` counts those that are not shown too."""
    rows = "".join(
        f"<tr><td>{_image(card)}</td><td>{_text(card.title)}</td><td>{_text(card.headline)}</td>"
        f"<td>{'; '.join(map(_text, _way(card)))}</td>"
        f"<td>{'; '.join(_text(line) for line in (*card.warnings, card.error) if line)}</td></tr>"
        for card in cards
    )
    names = "".join(f'<th scope="col">{name}</th>' for name in ("", "galaxy", "class", "votes", "warnings and errors"))
    more = f"<p>… and {total - len(cards)} more</p>" if total > len(cards) else ""
    many = "1 galaxy" if total == 1 else f"{total} galaxies"
    return (
        f'{_STYLE}<div class="tuningfork"><div class="tf-head">{many}</div><table class="tf-table">'
        f"<thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>{more}</div>"
    )


def _way(card: Card) -> list[str]:
    taken = [(name, next(bar for bar in bars if bar.taken)) for name, _, bars in card.questions]
    return [f"{name}: {bar.text} {bar.share:.0%}" for name, bar in taken]


def _bar(bar: Bar) -> str:
    whisker = ""
    if bar.interval:
        width = max(bar.high - bar.low, 0.004)
        whisker = f'<b style="left:{100 * bar.low:.1f}%;width:{100 * width:.1f}%"></b>'
    return (
        f'<tr class="{"tf-taken" if bar.taken else "tf-other"}"><td>{_text(bar.text)}</td>'
        f'<td><div class="tf-bar" aria-hidden="true"><i style="width:{100 * bar.share:.1f}%"></i>{whisker}</div></td>'
        f'<td class="tf-number">{bar.share:.0%}</td><td class="tf-number">{bar.interval}</td></tr>'
    )


def _image(card: Card) -> str:
    if not card.picture:
        return ""
    data = base64.b64encode(card.picture).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{_text(card.title)}">'


def _text(text: str) -> str:
    shown = text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
    # A lone surrogate of a strange file's name could not be sent to a browser.
    return escape(shown.encode("utf-8", "backslashreplace").decode())
