"""Where a search is kept: optuna's SQLite file, of one search alone."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from ..._utils.errors import TuningforkError
from ...training.join import TrainingSet
from ...training.recipe import Recipe
from .space import Dimension

__all__ = ["SearchError", "check_same", "fingerprint", "first_line", "opened"]

#: The median of fewer trials prunes nothing; no trial is pruned after its first epoch.
_MEDIAN_TRIALS, _FIRST_PRUNED = 5, 2
_STORAGE_ERRORS = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


class SearchError(TuningforkError, ValueError):
    """A search that cannot begin or go on; the message says what to do."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


def fingerprint(
    data: TrainingSet, recipe: Recipe, space: Sequence[Dimension], init: str | Path | None, seed: int
) -> dict[str, Any]:
    """All that must be the same for trials to be compared."""
    return {
        "labels": data.labels_sha256,
        "pictures": data.images_sha256,
        "first weights": "" if init is None else hashlib.sha256(Path(init).read_bytes()).hexdigest(),
        "recipe": json.loads(json.dumps(recipe.to_dict())),
        "space": {dimension.name: dimension.bounds() for dimension in space},
        "seed": seed,
    }


def check_same(study: optuna.Study, output: Path, here: dict[str, Any]) -> None:
    """Note the fingerprint of a new search; raises SearchError if the one here is of another."""
    before = study.user_attrs.get("fingerprint")
    if before is None:
        study.set_user_attr("fingerprint", here)
        return
    for what, value in here.items():
        if before.get(what) == value:
            continue
        told = f"another {what}" if what in ("recipe", "space", "seed") else f"other {what}"
        if isinstance(value, dict):
            other = sorted(key for key in {**value, **before[what]} if value.get(key) != before[what].get(key))
            told += f" (in {', '.join(other)})"
        raise SearchError(f"{output} holds a search with {told}; name another folder")


@contextmanager
def opened(file: Path) -> Iterator[optuna.Study]:
    """The study in `file`, made if there is none; raises SearchError if it cannot be used."""
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
                raise SearchError(f"{file}: cannot be used ({first_line(error)}); name another folder") from None
            try:
                yield study
            except _STORAGE_ERRORS as error:
                raise SearchError(f"{file}: {first_line(error)}; the same command goes on") from None
    finally:
        optuna.logging.set_verbosity(before)
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()
