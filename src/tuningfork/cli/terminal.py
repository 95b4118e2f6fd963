"""Predictions on the terminal: one galaxy as a tree with bars, many as a table with counts."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from .._utils.progress import duration
from .._utils.text import counted, escape_controls
from .console import has_colours

if TYPE_CHECKING:
    from ..display.cards import Bar
    from ..model.predictions import Prediction, Predictions

__all__ = ["Counts", "GalaxyTable", "Style", "galaxy_tree", "terminal_width"]

#: Columns where stdout is no terminal, and none are named by ``COLUMNS``.
WIDE = 100
#: Answers below this fraction are not shown, unless the path takes them.
LEAST = 0.05
#: Characters of a bar at most, and of a galaxy's name in the table.
BAR, NAME = 24, 20


def terminal_width() -> int:
    """Columns to print in."""
    fallback = 80 if sys.stdout.isatty() else WIDE
    return max(40, shutil.get_terminal_size((fallback, 24)).columns) if _has_width() else fallback


def _has_width() -> bool:
    return sys.stdout.isatty() or "COLUMNS" in os.environ


@dataclass(frozen=True)
class Style:
    """How text is set off: colours where a terminal shows them, signs that its encoding has."""

    colours: bool = False
    plain: bool = False

    @classmethod
    def of(cls, stream: IO[str]) -> Style:
        """The style of a stream."""
        try:
            "█▌├└│…–→".encode(getattr(stream, "encoding", None) or "ascii")
            plain = False
        except (UnicodeEncodeError, LookupError):
            plain = True
        return cls(has_colours(stream), plain)

    def set(self, text: str, code: str) -> str:
        """Text in a colour or weight, by its ANSI code."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours and text else text

    def bold(self, text: str) -> str:
        """Text that matters."""
        return self.set(text, "1")

    def dim(self, text: str) -> str:
        """Text beside what matters."""
        return self.set(text, "2")

    def bar(self, fraction: float, width: int, taken: bool) -> str:
        """A bar of at most `width` characters, filled up with blanks."""
        if self.plain:
            text = "#" * round(fraction * width)
        else:
            eighths = round(fraction * width * 8)
            text = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
        return self.set(text, "36" if taken else "2") + " " * (width - len(text))


# ------------------------------------------------------------------ one galaxy


def galaxy_tree(prediction: Prediction, width: int, style: Style) -> list[str]:
    """The lines of one galaxy: its headline, the questions of the majority's path with bars, the classes."""
    card = prediction.card()
    title = _clean(card.title)
    about = [_clean(text) for text in (prediction.description, prediction.class_summary) if text]
    lines = [style.bold(cut(title, width, style)), *(line for text in about for line in _wrapped(text, width))]
    lines += [style.set(line, "33") for warning in card.warnings for line in _wrapped(_clean(warning), width)]
    sections = [(_clean(name).replace("_", " "), bars) for name, _, bars in card.questions]
    if card.classes:
        sections.append(("class", card.classes))
    labels = [_clean(bar.text) for _, bars in sections for bar in bars if _is_shown(bar)]
    name_width = min(max(map(len, labels), default=0), max(12, width - 40))
    room = max(6, min(BAR, width - name_width - 24))
    for number, (name, bars) in enumerate(sections):
        last = number == len(sections) - 1
        fork, stem = ("`- ", "   ") if style.plain else ("└─ ", "   ")
        if not last:
            fork, stem = ("|- ", "|  ") if style.plain else ("├─ ", "│  ")
        lines.append(f"{style.dim(fork)}{style.bold(name)}")
        for bar in bars:
            if _is_shown(bar):
                lines.append(f"{style.dim(stem)}{_bar_line(bar, name_width, room, style)}".rstrip())
    return lines


def _is_shown(bar: Bar) -> bool:
    return bar.is_chosen or bar.fraction >= LEAST


def _bar_line(bar: Bar, name_width: int, room: int, style: Style) -> str:
    name = pad(cut(_clean(bar.text), name_width, style), name_width)
    name = style.bold(name) if bar.is_chosen else name
    interval = "" if bar.low != bar.low else f" {100 * bar.low:3.0f}…{100 * bar.high:.0f} %"
    if style.plain:
        interval = interval.replace("…", "-")
    return f"{name} {style.bar(bar.fraction, room, bar.is_chosen)} {100 * bar.fraction:3.0f} %{style.dim(interval)}"


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width) or [""]


# ------------------------------------------------------------------ many galaxies


@dataclass
class GalaxyTable:
    """A table of galaxies, a line each, whose widths are set by the first of them.

    Parameters
    ----------
    width : int
        Columns of the terminal.
    style : Style
    """

    width: int
    style: Style
    _widths: dict[str, int] = field(default_factory=dict)

    def lines(self, predictions: Predictions) -> Iterator[str]:
        """The lines of some galaxies, before the first of them the header."""
        if not self._widths:
            self._widths = self._choose_widths(predictions)
            yield self.style.bold(self._line("id", "description", "class", "p", "flag"))
        for row in range(len(predictions)):
            galaxy = predictions[row]
            if galaxy.error:
                where = self._widths
                text = f"{pad(cut(_clean(galaxy.id), where['id'], self.style), where['id'])}  failed: {galaxy.error}"
                yield self.style.set(cut(_clean(text), self.width, self.style), "31")
                continue
            name, p = _class(galaxy)
            flag = _flag(galaxy)
            cells = (galaxy.id, galaxy.description, name or "–", "" if p != p else f"{p:.2f}")
            yield self._line(*map(_clean, cells), self.style.set(flag, "33"))

    def _choose_widths(self, predictions: Predictions) -> dict[str, int]:
        names = [len(_clean(name)) for name in predictions.ids]
        least = max(4, min(NAME, max(names, default=0), self.width // 4))
        classes = [len(rule.name) for rule in predictions.tree.classes]
        widest = min(max([*classes, 14]), 20 if self.width >= 72 else 14) if classes else 0
        rest = self.width - least - widest - (4 if classes else 0) - 7 - 8
        return {"id": least, "description": max(10, rest), "class": widest, "p": 4 if classes else 0, "flag": 7}

    def _line(self, *cells: str) -> str:
        sized = zip(cells, self._widths.items(), strict=True)
        parts = [pad(cut(cell, width, self.style), width) for cell, (_, width) in sized if width]
        return "  ".join(parts).rstrip()


def _class(galaxy: Prediction) -> tuple[str, float]:
    """The most probable class, or that there is none, with its probability."""
    return galaxy.class_name, galaxy.classes.get(galaxy.class_name, float("nan"))


def _flag(galaxy: Prediction) -> str:
    return "domain" if galaxy.out_of_domain else "warning" if galaxy.warning else ""


@dataclass
class Counts:
    """Counts of the galaxies that were printed, for the line below them."""

    galaxies: int = 0
    failed: int = 0
    out_of_domain: int = 0
    warnings: int = 0
    classes: Counter[str] = field(default_factory=Counter)

    def add(self, predictions: Predictions) -> None:
        """Count some galaxies."""
        self.galaxies += len(predictions)
        self.failed += sum(map(bool, predictions.errors))
        self.out_of_domain += int(predictions.out_of_domain.sum())
        self.warnings += sum(map(bool, predictions.warnings))
        self.classes.update(predictions.class_counts())

    def text(self, seconds: float) -> str:
        """The summary: galaxies, time, classes, flags."""
        rate = f"{self.galaxies / seconds:,.0f}/s" if seconds and self.galaxies >= 10 else ""
        time = f"{duration(seconds)}{f' ({rate})' if rate else ''}"
        galaxies = counted(self.galaxies, "galaxy", "galaxies")
        return summary_text(galaxies, time, self.classes, self.failed, self.out_of_domain, self.warnings)


def summary_text(
    galaxies: str, time: str, classes: Mapping[str, int], failed: int, out_of_domain: int | None, warnings: int
) -> str:
    """What a prediction gave: ``12 galaxies in 1.3 s: 5 smooth, 2 barred spiral; 1 failed``."""
    ordered = sorted(classes.items(), key=lambda each: -each[1])
    by_class = ", ".join(f"{count:,} {name}" for name, count in ordered)
    rest = [f"{failed:,} failed"] if failed else []
    rest += [f"{out_of_domain:,} out of domain"] if out_of_domain else []
    rest += [f"{warnings:,} with a warning"] if warnings else []
    parts = [part for part in (by_class, ", ".join(rest)) if part]
    return f"{galaxies} in {time}" + (f": {'; '.join(parts)}" if parts else "")


# ------------------------------------------------------------------ text in columns


def text_width(text: str) -> int:
    """Columns that a text takes on a terminal; those of colours are none."""
    width, skip = 0, False
    for sign in text:
        if sign == "\x1b":
            skip = True
        elif skip:
            skip = sign != "m"
        elif not unicodedata.combining(sign):
            width += 2 if unicodedata.east_asian_width(sign) in "WF" else 1
    return width


def pad(text: str, width: int) -> str:
    """Text filled up with blanks."""
    return text + " " * (width - text_width(text))


def cut(text: str, width: int, style: Style) -> str:
    """Text cut to a width, with an ellipsis; text in colour must fit."""
    if text_width(text) <= width:
        return text
    end = "." if style.plain else "…"
    while text and text_width(text) > width - 1:
        text = text[:-1]
    return text + end


def _clean(text: str) -> str:
    return escape_controls(text)
