"""How many galaxies a second a model predicts on this machine, from JPEG files' bytes to votes."""

from __future__ import annotations

import io
import statistics
import time

from PIL import Image

from .model import Model
from .simulate import draw, render

__all__ = ["galaxies_per_second"]

_PICTURES = 8  # simulated; a batch repeats them
_BATCH = 32


def galaxies_per_second(model: Model, *, batches: int = 5, views: int | None = None) -> float:
    """The median over `batches` of 32 simulated galaxies each, after one to warm up.

    Decoding is on one thread and counted, so that a run over files, which overlaps the two, is faster.
    """
    files = []
    for index in range(_PICTURES):
        buffer = io.BytesIO()
        Image.fromarray(render(draw(0, index))).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    batch = (files * -(-_BATCH // _PICTURES))[:_BATCH]
    rates = []
    for _ in range(batches + 1):
        started = time.perf_counter()
        model.rows(batch, views=views)
        rates.append(_BATCH / (time.perf_counter() - started))
    return statistics.median(rates[1:])
