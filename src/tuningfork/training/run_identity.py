"""Identity of a training, in its run.json: only the same training is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .._utils.files import write_text
from .auxiliary.dataset import AuxiliaryData
from .initial.weights import check_init, credit, digest
from .join import TrainError, TrainingSet
from .options import TrainingOptions
from .recipe import Recipe

__all__ = ["about_run", "check_run", "claim_run"]


def check_run(run: Path, recipe: Recipe, options: TrainingOptions) -> Path | None:
    """The checkpoint to resume from, or None to begin.

    Raises TrainError, before any image is read, if the folder holds another training or the initial weights do not fit
    the recipe.
    """
    if run.exists() and not run.is_dir():
        raise TrainError(f"{run}: is a file; name a folder")
    checkpoint = run / "last.ckpt"
    if checkpoint.exists():
        if not options.resume:
            raise TrainError(f"{run} holds a training already; go on with --resume, or name another folder")
        return checkpoint
    check_init(recipe, options.init)
    return None


def about_run(
    run: Path,
    recipe: Recipe,
    data: TrainingSet,
    auxiliary: AuxiliaryData | None,
    init: str | Path | None,
    *,
    resumed: bool,
) -> dict[str, Any]:
    """All that decides the training; a resumed one must have begun with the same, else TrainError."""
    about: dict[str, Any] = {
        "recipe": json.loads(json.dumps(recipe.to_dict())),
        "labels_sha256": data.labels_sha256,
        "images_sha256": data.images_sha256,
        "init_sha256": digest(init),
    }
    if auxiliary:
        about["auxiliary"] = json.loads(json.dumps(auxiliary.about))
    credits = credit(recipe, init)
    if resumed:
        note = run / "run.json"
        before = json.loads(note.read_text("utf-8")) if note.exists() else {}
        if init is None:
            about["init_sha256"] = before.get("init_sha256", "")
        for key in ("auxiliary", *about):
            if before.get(key) != about.get(key):
                what = {
                    "auxiliary": "other auxiliary sources or another teacher",
                    "recipe": "another recipe",
                    "init_sha256": "other weights",
                }.get(key, f"other {key[:-7]}")
                raise TrainError(f"{run} was begun with {what}; name another folder")
        about["initial_weights"] = before.get("initial_weights", "")
        credits = before.get("credit", {})
    return {**about, **({"credit": credits} if credits else {})}


def claim_run(run: Path, about: dict[str, Any], *, resumed: bool) -> None:
    """Write run.json, before the training begins."""
    run.mkdir(parents=True, exist_ok=True)
    if not resumed:
        # A run that died before its first checkpoint leaves nothing to go on from.
        for left in ("curves.csv", "result.json"):
            (run / left).unlink(missing_ok=True)
        write_text(run / "run.json", json.dumps(about, indent=1) + "\n")
