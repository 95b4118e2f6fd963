"""A handful of simulated galaxies, predicted, on one self-contained page."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._utils.files import write_text
from ..model.model import Model, load
from ..model.predictions import Prediction
from ..votes import fractions as votes
from . import draw, render

__all__ = ["demo_page", "write_demo"]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #0072b2; --faint: #8882; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin: .6rem 0 .1rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1.2rem; }
article { border: 1px solid var(--line); border-radius: 10px; padding: .9rem; break-inside: avoid; }
img { width: 100%; aspect-ratio: 1; border-radius: 6px; display: block; background: #000 }
p { margin: .3rem 0 } small { opacity: .75 }
ol { margin: .4rem 0; padding-left: 1.2rem; } li small { display: block }
details { margin-top: .5rem } summary { cursor: pointer }
table { border-collapse: collapse; width: 100%; font-size: .85rem } th { text-align: left; padding-top: .5rem }
td { padding: .05rem .2rem } td:nth-child(2) { width: 45% } td:last-child { text-align: right; width: 3rem }
.bar { background: var(--faint); border-radius: 3px; height: .7rem; overflow: hidden }
.bar i { display: block; height: 100%; background: var(--bar) }
"""


def write_demo(output: Path, *, n: int = 8, seed: int = 23, model: str = "default") -> list[str]:
    """Draw `n` galaxies, predict them, write the page to `output`; a line of text for each galaxy."""
    opened = load(model)
    cards, lines = [], []
    for index in range(n):
        galaxy = draw(seed, index)
        picture = render(galaxy)
        prediction = replace(opened.predict(picture), id=f"galaxy {index + 1}")
        cards.append(_card(prediction, picture, galaxy.kind))
        lines.append(f"{prediction} [drawn as: {galaxy.kind.replace('_', ' ')}]")
    write_text(output, demo_page(opened, cards))
    return lines


def demo_page(model: Model, cards: list[str]) -> str:
    """The whole page, pictures inside."""
    bundle = model.bundle
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>tuningfork: {len(cards)} galaxies</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>What the volunteers would have said</h1><p>{len(cards)} simulated galaxies, and the votes that "
        f"the model <b>{escape(bundle.name)}</b> ({escape(bundle.title)}) predicts from their pictures. "
        "These galaxies are drawn by a program; each card also says what was meant to be drawn.</p></header>"
        f"<main>{''.join(cards)}</main></body></html>\n"
    )


def _card(prediction: Prediction, picture: NDArray[np.uint8], kind: str) -> str:
    steps = "".join(
        f"<li>{escape(answer)} {share:.0%}<small>{escape(prediction.tree.question(key).text)}</small></li>"
        for key, answer, share in prediction.steps()
    )
    top = prediction.class_probability.max() if len(prediction.class_probability) else 0
    kind = kind.replace("_", " ")
    return (
        f'<article><img src="{_data_url(picture)}" alt="Simulated galaxy, drawn as {escape(kind)}">'
        f"<h2>{escape(prediction.class_name)} <small>{top:.0%}</small></h2>"
        f"<p><small>{escape(prediction.id)}, drawn as: {escape(kind)}</small></p><ol>{steps}</ol>"
        f"<details><summary>All votes</summary>{_bars(prediction)}</details></article>"
    )


def _bars(prediction: Prediction) -> str:
    shares = votes.conditional_from_cumulative(prediction.cumulative, prediction.tree)
    rows = []
    for question, part in zip(prediction.tree.questions, prediction.tree.slices, strict=True):
        rows.append(f'<tr><th colspan="3">{escape(question.text)}</th></tr>')
        for answer, share in zip(question.answers, shares[part], strict=True):
            rows.append(
                f'<tr><td>{escape(answer.text)}</td><td><div class="bar"><i style="width:{share:.1%}"></i></div></td>'
                f"<td>{share:.0%}</td></tr>"
            )
    return f"<table>{''.join(rows)}</table>"


def _data_url(picture: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
