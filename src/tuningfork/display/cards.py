"""Notebook display of predictions: one galaxy as a card with bars, several as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .._utils.text import percent
from .html import render

__all__ = ["MAX_ROWS", "THUMBNAIL_SIDE", "Bar", "Card", "card_html", "table_html"]

#: Pixels of the longer side of a thumbnail, at most.
THUMBNAIL_SIDE = 160
#: Galaxies that a table shows; the others are counted.
MAX_ROWS = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """One answer of a question, or one class.

    Parameters
    ----------
    text : str
    fraction : float in [0, 1]
        The predicted vote fraction, or the probability of the class.
    low, high : float in [0, 1]
        Its interval; NaN if there is none.
    is_chosen : bool
        Whether the path down the tree takes this answer, or this is the most probable class.
    """

    text: str
    fraction: float
    low: float = math.nan
    high: float = math.nan
    is_chosen: bool = False

    @property
    def interval(self) -> str:
        """The interval in percent, such as ``62–85 %``; "" if there is none."""
        return "" if math.isnan(self.low) else f"{100 * self.low:.0f}–{percent(self.high)}"

    @property
    def width(self) -> float:
        """Width of the interval, of which a little is always visible."""
        return max(self.high - self.low, 0.004)


@dataclass(frozen=True, slots=True)
class Card:
    """What a notebook shows of one galaxy.

    Parameters
    ----------
    title : str
        The galaxy's identifier.
    image : bytes
        A JPEG; empty if there is none.
    headline : str
        A description, and the class with its probability, or "".
    warnings : tuple of str
        What speaks against relying on the prediction.
    error : str
        Why there is no prediction, or "".
    questions : tuple of (short name, text, bars of all answers)
        The questions on the path down the tree, in its order.
    classes : tuple of Bar
    """

    title: str
    image: bytes = b""
    headline: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""
    questions: tuple[tuple[str, str, tuple[Bar, ...]], ...] = ()
    classes: tuple[Bar, ...] = ()

    @property
    def messages(self) -> list[str]:
        """Warnings and the error."""
        return [line for line in (*self.warnings, self.error) if line]

    @property
    def sections(self) -> list[tuple[str, tuple[Bar, ...]]]:
        """Headings and bars: the questions, then the classes."""
        return [(text, bars) for _, text, bars in self.questions] + [("Class", self.classes)] * bool(self.classes)

    @property
    def path(self) -> list[str]:
        """The answers on the path, such as ``bar: no 87 %``."""
        return [
            f"{name}: {bar.text} {percent(bar.fraction)}"
            for name, _, bars in self.questions
            for bar in bars
            if bar.is_chosen
        ]


def card_html(card: Card) -> str:
    """Render one galaxy: image, class, warnings, and the bars of the path down the tree."""
    return str(render("card.html", card=card))


def table_html(cards: Sequence[Card], total: int) -> str:
    """Render several galaxies, a row each; `total` counts those that are not shown too."""
    return str(render("cards.html", cards=cards, total=total))
