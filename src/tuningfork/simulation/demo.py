"""A few simulated galaxies, predicted, on one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._utils.files import write_text
from .._utils.text import percent
from ..display.cards import Bar
from ..display.html import render
from ..display.scripts import static_text
from ..images.encode import jpeg
from ..model.model import Model, load
from ..model.options import InferenceOptions
from ..model.predictions import Prediction, Predictions
from . import draw
from . import render as render_galaxy

__all__ = ["DemoGalaxy", "demo_page", "write_demo"]


#: Commands to try next, and what they do.
NEXT_STEPS = (
    ("tuningfork predict images/ -o votes.csv", "Predict a folder of your own images: a table with a row for each."),
    ("tuningfork serve", "The same in a browser: drop images on a page, see where the network looked."),
    ("tuningfork gallery votes.csv -o gallery/", "Browse a whole table: search, filter, sort, save a selection."),
    ("tuningfork plot votes.csv -o votes.png", "Plot the fractions and how many galaxies of each class there are."),
    ("tuningfork label images/", "Label galaxies yourself, alone or with others, the most useful ones first."),
    ("tuningfork models", "What the models were trained on, how accurate they are, and what they are not for."),
)


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
    def flags(self) -> tuple[str, ...]:
        """What speaks against relying on the prediction."""
        return self.prediction.card().warnings

    @property
    def path(self) -> list[tuple[str, list[Bar]]]:
        """The questions on the path of the majority, each with the answer that it takes."""
        card = self.prediction.card()
        return [(text, [bar for bar in bars if bar.is_chosen]) for _, text, bars in card.questions]

    @property
    def sections(self) -> list[tuple[str, list[Bar]]]:
        """All questions with all answers, then the classes."""
        prediction, tree = self.prediction, self.prediction.tree
        shares, low, high = prediction.conditional, prediction.low, prediction.high
        taken = {(text, bar.text) for _, text, bars in prediction.card().questions for bar in bars if bar.is_chosen}
        questions = [
            (
                question.text,
                [
                    Bar(
                        answer.text,
                        float(shares[at]),
                        float(low[at]),
                        float(high[at]),
                        (question.text, answer.text) in taken,
                    )
                    for at, answer in enumerate(question.answers, part.start)
                ],
            )
            for question, part in zip(tree.questions, tree.slices, strict=True)
        ]
        classes = [Bar(name, p, is_chosen=name == prediction.class_name) for name, p in prediction.classes.items()]
        return questions + [("Class", classes)] * bool(classes)


def write_demo(output: Path, *, n: int = 8, seed: int = 23, model: str = "default") -> Predictions:
    """Simulate `n` galaxies, predict them, and write the page to `output`; returns the predictions."""
    opened = load(model)
    simulated = [draw(seed, index) for index in range(n)]
    images = [render_galaxy(galaxy) for galaxy in simulated]
    predictions = opened.predict_loaded(
        [opened.image_reader.read(rgb, name=(f"galaxy {number}", "")) for number, rgb in enumerate(images, 1)],
        InferenceOptions(batch_size=opened.batch_size),
    )
    galaxies = [
        DemoGalaxy(predictions[row], rgb, galaxy.kind.replace("_", " "))
        for row, (galaxy, rgb) in enumerate(zip(simulated, images, strict=True))
    ]
    write_text(output, demo_page(opened, galaxies))
    return predictions


def demo_page(model: Model, galaxies: Sequence[DemoGalaxy]) -> str:
    """Render the page, images inside."""
    levels = [float(level) for galaxy in galaxies for level in galaxy.prediction.table.level if math.isfinite(level)]
    return str(
        render(
            "demo.html",
            title=f"tuningfork: {len(galaxies)} galaxies",
            bundle=model.bundle,
            galaxies=galaxies,
            level=percent(levels[0]) if levels else "a promised share",
            fork=static_text("fork.svg").encode(),
            steps=NEXT_STEPS,
        )
    )
