"""A few simulated galaxies, predicted, on one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._utils.files import write_text
from ..display.cards import Bar
from ..display.html import render
from ..images.encode import jpeg
from ..model.model import Model, load
from ..model.predictions import Prediction
from . import draw
from . import render as render_galaxy

__all__ = ["DemoGalaxy", "demo_page", "write_demo"]


@dataclass(frozen=True, eq=False)
class DemoGalaxy:
    """A simulated galaxy and its prediction.

    Parameters
    ----------
    prediction : Prediction
    rgb : (H, W, 3) uint8
        Its image.
    kind : str
        What was meant to be drawn.
    """

    prediction: Prediction
    rgb: NDArray[np.uint8]
    kind: str

    @property
    def image(self) -> bytes:
        """Its image as a JPEG."""
        return jpeg(self.rgb, 90)

    @property
    def steps(self) -> list[tuple[str, str, float]]:
        """Question, answer and fraction along the path down the tree."""
        tree = self.prediction.tree
        return [(tree.question(key).text, answer, fraction) for key, answer, fraction in self.prediction.steps()]

    @property
    def votes(self) -> list[tuple[str, list[Bar]]]:
        """All questions with the fractions of their answers, among those who reach the question."""
        tree = self.prediction.tree
        fractions = self.prediction.conditional
        return [
            (
                question.text,
                [
                    Bar(answer.text, float(value))
                    for answer, value in zip(question.answers, fractions[part], strict=True)
                ],
            )
            for question, part in zip(tree.questions, tree.slices, strict=True)
        ]


def write_demo(output: Path, *, n: int = 8, seed: int = 23, model: str = "default") -> list[str]:
    """Simulate `n` galaxies, predict them, write the page to `output`; returns a line of text for each galaxy."""
    opened = load(model)
    galaxies = []
    for index in range(n):
        galaxy = draw(seed, index)
        rgb = render_galaxy(galaxy)
        prediction = opened.predict_loaded([opened.image_reader.read(rgb, name=(f"galaxy {index + 1}", ""))])[0]
        galaxies.append(DemoGalaxy(prediction, rgb, galaxy.kind.replace("_", " ")))
    write_text(output, demo_page(opened, galaxies))
    return [f"{galaxy.prediction} [drawn as: {galaxy.kind}]" for galaxy in galaxies]


def demo_page(model: Model, galaxies: Sequence[DemoGalaxy]) -> str:
    """Render the page, images inside."""
    title = f"tuningfork: {len(galaxies)} galaxies"
    return str(render("demo.html", title=title, sections=[], bundle=model.bundle, galaxies=galaxies))
