"""Storage of a search: optuna's SQLite file, and the fingerprint by which a resumed search is recognized."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from ..._utils.errors import TuningforkError
from ..._utils.text import one_line
from ...training.initial.weights import digest
from ...training.join import TrainingSet
from ...training.recipe import Recipe
from .space import Dimension

__all__ = ["SearchError", "check_fingerprint", "fingerprint", "open_study"]

#: The median of fewer trials prunes nothing; no trial is pruned after its first epoch.
_MEDIAN_TRIALS, _FIRST_PRUNED = 5, 2
_STORAGE_ERRORS = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


class SearchError(TuningforkError, ValueError):
    """A search cannot begin or continue; the message names the remedy."""


def fingerprint(
    data: TrainingSet, recipe: Recipe, space: Sequence[Dimension], init: str | Path | None, seed: int
) -> dict[str, Any]:
    """All that must be the same for trials to be compared."""
    return {
        "labels": data.labels_sha256,
        "images": data.images_sha256,
        "initial weights": digest(init),
        "recipe": json.loads(json.dumps(recipe.to_dict())),
        "space": {dimension.name: dimension.bounds() for dimension in space},
        "seed": seed,
    }


def check_fingerprint(study: optuna.Study, output: Path, current: dict[str, Any]) -> None:
    """Store the fingerprint of a new search; raises SearchError if the folder holds another search."""
    before = study.user_attrs.get("fingerprint")
    if before is None:
        study.set_user_attr("fingerprint", current)
        return
    for what, value in current.items():
        if before.get(what) == value:
            continue
        difference = f"another {what}" if what in ("recipe", "space", "seed") else f"other {what}"
        if isinstance(value, dict):
            other = sorted(key for key in {**value, **before[what]} if value.get(key) != before[what].get(key))
            difference += f" (in {', '.join(other)})"
        raise SearchError(f"{output} holds a search with {difference}; name another folder")


@contextmanager
def open_study(file: Path) -> Iterator[optuna.Study]:
    """Open the study in `file`, or create it; raises SearchError if it cannot be used."""
    before = optuna.logging.get_verbosity()
    # Our own lines say all that optuna's would.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = None
    # Quotes what a path may hold and a URL may not.
    url = sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            try:
                storage = optuna.storages.RDBStorage(url)
                study = optuna.create_study(
                    storage=storage,
                    study_name="search",
                    load_if_exists=True,
                    pruner=optuna.pruners.MedianPruner(n_startup_trials=_MEDIAN_TRIALS, n_warmup_steps=_FIRST_PRUNED),
                )
            except (*_STORAGE_ERRORS, RuntimeError) as error:
                raise SearchError(f"{file}: cannot be used ({one_line(error, 300)}); name another folder") from None
            try:
                yield study
            except _STORAGE_ERRORS as error:
                raise SearchError(f"{file}: {one_line(error, 300)}; run the same command again to continue") from None
    finally:
        optuna.logging.set_verbosity(before)
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()
