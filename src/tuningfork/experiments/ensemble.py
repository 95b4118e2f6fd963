"""Ensembles of a study: the plain mean of several trainings, as a run folder with a bundle of all their networks."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .._utils.files import atomic_file
from ..model.bundle import Bundle, open_bundle, write_bundle
from ..tables import read_table, table_writer
from ..training.run_files import write_result
from .plan import StudyError, ensemble_members

__all__ = ["write_ensemble"]

logger = logging.getLogger(__name__)


def write_ensemble(name: str, settings: str, seed: int, output: Path) -> None:
    """Average the members' predictions into `output`/ensembles, if all members are trained and it is not yet done.

    Parameters
    ----------
    name, settings : str
        The ensemble and whose recipes, such as ``ensemble-b0-b2`` and ``fair``.

    Raises
    ------
    StudyError
        If the members were trained on different splits.
    """
    members = [output / f"runs/{settings}-{member}/seed-{seed}" for member in ensemble_members(name)]
    if not all((member / "result.json").exists() for member in members):
        return
    folder = output / "ensembles" / f"{settings}-{name.removeprefix('ensemble-')}-seed-{seed}"
    results = [json.loads((member / "result.json").read_text("utf-8")) for member in members]
    digests = [hashlib.sha256((member / "predictions.parquet").read_bytes()).hexdigest() for member in members]
    if (folder / "result.json").exists():
        before = json.loads((folder / "result.json").read_text("utf-8"))
        if before.get("members_sha256") == digests:
            return
    tables = [read_table(member / "predictions.parquet") for member in members]
    first = tables[0]
    if any(table["id"] != first["id"] for table in tables):
        raise StudyError(f"{folder.name}: its members predicted other galaxies; were they trained on one split?")
    numbers = [column for column in first.column_names if column not in ("id", "part")]
    mean = {column: np.mean([table[column].to_numpy() for table in tables], 0) for column in numbers}
    table = pa.table({column: mean.get(column, first[column]) for column in first.column_names}, schema=first.schema)
    folder.mkdir(parents=True, exist_ok=True)
    write_bundle(_join([open_bundle(member / "bundle") for member in members], folder.name), folder / "bundle")
    with table_writer(folder / "predictions.parquet", table.schema) as write:
        write(table)
    with atomic_file(folder / "truth.parquet") as partial:
        shutil.copyfile(members[0] / "truth.parquet", partial)
    join: dict[str, Callable[[list[Any]], Any]] = {
        "network": " + ".join,
        "initial_weights": lambda values: " + ".join(dict.fromkeys(values)),
    }
    join |= dict.fromkeys(("epochs", "epochs_planned", "peak_memory_mb"), max) | dict.fromkeys(
        ("parameters", "seconds"), sum
    )
    write_result(
        folder / "result.json",
        {
            "name": folder.name,
            **{key: results[0][key] for key in ("task", "size", "counts", "notes", "versions")},
            **{key: combine([result[key] for result in results]) for key, combine in join.items()},
            "seed": seed,
            "members": [str(member.relative_to(output)) for member in members],
            "members_sha256": digests,
        },
    )
    logger.info("ensemble: %s", folder)


def _join(bundles: Sequence[Bundle], name: str) -> Bundle:
    first = bundles[0]
    return replace(
        first,
        name=name,
        title=" + ".join(bundle.networks[0].architecture for bundle in bundles) + f", {first.tree.title}",
        description=f"Plain mean of {len(bundles)} networks. {first.description}",
        networks=tuple(network for bundle in bundles for network in bundle.networks),
        figures={},
        training={**first.training, "members": [bundle.sha256 for bundle in bundles]},
    )
