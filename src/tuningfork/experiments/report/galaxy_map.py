"""The report's map of its galaxies by the embeddings of its best network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...model.bundle import open_bundle
from ...model.model import Model
from ...model.options import InferenceOptions
from ...pipeline.in_process import predict_batches
from ...similarity.map_page import MAX_POINTS, Sample, galaxy_map
from ...similarity.projection import MIN_GALAXIES, MapError
from ..runs import Study, TrainingRun
from ..scores import best_run

__all__ = ["map_galaxies"]


def map_galaxies(study: Study, *, points: int = MAX_POINTS, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Map the judged galaxies by the features of the best run that has its bundle.

    Returns
    -------
    shown, numbers : dict
        What the page shows, empty without a map; and for metrics.json what was drawn, or why nothing (``absent``).
    """
    runs = [run for run in study.runs if (run.folder / "bundle" / "bundle.json").is_file()]
    best = best_run(runs, "classes") or best_run(runs, "votes")
    try:
        if best is None:
            raise MapError("No run has its bundle any more")
        if len(best.ids) < MIN_GALAXIES:
            raise MapError(f"{best.name} has {len(best.ids)} judged galaxies; a map needs at least {MIN_GALAXIES}")
        sample = _embedded(best, points, seed)
        section = galaxy_map(sample, seed=seed, crop=float(best.recipe.get("crop", 0.5)))
    except ValueError as error:  # no model, no features, no UMAP: the rest of the report stands
        return {}, {"absent": str(error)}
    numbers = {"run": best.name, "galaxies": len(sample.ids), "of": sample.total, "without_picture": sample.failed}
    return {"section": section, "network": best.network}, numbers


def _embedded(run: TrainingRun, points: int, seed: int) -> Sample:
    rows = np.sort(np.random.default_rng(seed).permutation(len(run.ids))[:points])
    model = Model(open_bundle(run.folder / "bundle"))
    parts = list(
        predict_batches(model, [run.paths[row] for row in rows], InferenceOptions(batch_size=32, embeddings=True))
    )
    embeddings = np.concatenate([each.embeddings for each in parts])
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
