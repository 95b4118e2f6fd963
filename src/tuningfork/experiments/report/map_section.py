"""The section of a report that maps its galaxies as its best network sees them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...display.html import Markup, paragraph, section
from ...model.bundle import open_bundle
from ...model.model import Model
from ...model.options import InferenceOptions
from ...pipeline.predict import predict_batches
from ...similarity.map_page import MAX_POINTS, Sample, galaxy_map
from ...similarity.projection import LEAST, MapError
from ..runs import Run, Study
from ..scores import best_run

__all__ = ["mapped"]

_TITLE = "Map of the galaxies"


def mapped(study: Study, *, points: int = MAX_POINTS, seed: int = 0) -> tuple[tuple[str, str, Markup], dict[str, Any]]:
    """The judged galaxies by the features of the best run that has its model, and what was drawn, as numbers."""
    kept = [run for run in study.runs if (run.folder / "bundle" / "bundle.json").is_file()]
    best = best_run(kept, "classes") or best_run(kept, "votes")
    try:
        if best is None:
            raise MapError("No run has its bundle any more")
        if len(best.ids) < LEAST:
            raise MapError(f"{best.name} has {len(best.ids)} judged galaxies; a map needs at least {LEAST}")
        sample = _embedded(best, points, seed)
        drawn = galaxy_map(sample, seed=seed, crop=float(best.recipe.get("crop", 0.5)))
    except ValueError as error:  # no model, no features, no UMAP: the rest of the report stands
        return section("map", _TITLE, paragraph(f"{error}.", "missing")), {"absent": str(error)}
    words = paragraph(f"By the features of {best.name} ({best.network}); coloured by the class that volunteers gave.")
    seen = {"run": best.name, "galaxies": len(sample.ids), "of": sample.seen, "without_picture": sample.failed}
    return section("map", _TITLE, words, drawn), seen


def _embedded(run: Run, points: int, seed: int) -> Sample:
    rows = np.sort(np.random.default_rng(seed).permutation(len(run.ids))[:points])
    model = Model(open_bundle(run.folder / "bundle"))
    told = list(
        predict_batches(model, [run.paths[row] for row in rows], InferenceOptions(batch_size=32, embeddings=True))
    )
    embeddings = np.concatenate([each.embeddings for each in told])
    good = np.isfinite(embeddings).all(1)
    names = [*(rule.name for rule in run.tree.classes), ""]  # the last one, at -1, is that of no class
    known = rows[good].tolist()
    return Sample(
        tuple(run.ids[row] for row in known),
        tuple(run.paths[row] for row in known),
        tuple(names[max(int(run.classes[row]), -1)] for row in known),
        embeddings[good],
        len(run.ids),
        int((~good).sum()),
    )
