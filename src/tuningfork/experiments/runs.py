"""Read back the folders of trainings: one run, or a study of many."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from ..tables.csv_rows import read_dicts
from ..votes.class_labels import OWN
from ..votes.tree import DecisionTree, SchemaError
from ..votes.tree_files import load_tree

__all__ = ["BrokenRun", "RecordError", "Study", "TrainingRun", "read_run", "read_study"]

Floats = NDArray[np.float64]
#: A JSON file larger than this is refused before it is parsed.
MAX_JSON_BYTES = 20_000_000
_REMEDY = "train it again, or resume it"


class RecordError(TuningforkError, ValueError):
    """A run that cannot be reported; the message names the file and the remedy."""


@dataclass(frozen=True)
class BrokenRun:
    """A run folder that is left out of a report, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A complete run, or an ensemble of runs, and its N judged galaxies.

    Parameters
    ----------
    name, group : str
        ``fair-votes-efficientnet-b0/seed-0``, and the recipe that its repeats share.
    about : mapping
        ``run.json``: recipe, hashes, initial weights. Empty for an ensemble.
    result : mapping
        ``result.json``.
    curves : tuple of dict
        One an epoch; a column that an epoch lacks is not in it.
    ids, paths, parts : (N,) str
    known : (N, A) float64
        Volunteers' cumulative fractions, NaN unknown.
    classes : (N,) int64
        By the clean-sample rules; below 0: no class.
    predicted : (N, A) float64, or None
        None: it predicts no votes.
    probability : (N, C) float64, or None
        None: it predicts no classes.
    no_class : (N,) float64, or None
        Probability of none of the classes; None: it always names a class.
    """

    name: str
    group: str
    folder: Path
    tree: DecisionTree
    about: Mapping[str, Any]
    result: Mapping[str, Any]
    curves: tuple[dict[str, float], ...]
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    parts: NDArray[np.str_]
    known: Floats
    classes: NDArray[np.int64]
    predicted: Floats | None
    probability: Floats | None
    members: tuple[str, ...] = ()
    no_class: Floats | None = None

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe as plain values; empty for an ensemble."""
        return self.about.get("recipe") or {}

    @property
    def network(self) -> str:
        """timm's name of the network; of an ensemble all, joined with ``+``."""
        return str(self.result.get("network") or self.recipe.get("network") or "").replace(" ", "")

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """(N,) whether all votes of a galaxy are known."""
        return np.logical_not(np.any(np.isnan(self.known), 1))

    def rows(self, part: str) -> NDArray[np.int64]:
        """The galaxies of a part."""
        return np.flatnonzero(self.parts == part)

    def class_rows(self, part: str) -> NDArray[np.int64]:
        """Those of a part whose votes decide a class."""
        return np.flatnonzero((self.parts == part) & (self.classes >= 0))


@dataclass(frozen=True)
class Study:
    """All runs of a folder: complete ones, ensembles, and those that cannot be used; `about` is ``study.json``."""

    folder: Path
    tree: DecisionTree
    runs: tuple[TrainingRun, ...]
    ensembles: tuple[TrainingRun, ...] = ()
    broken: tuple[BrokenRun, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def everything(self) -> tuple[TrainingRun, ...]:
        """Runs, then ensembles."""
        return self.runs + self.ensembles


def read_study(folder: str | Path) -> Study:
    """Read one run folder, or a study folder with ``runs/RECIPE/seed-K/`` and ``ensembles/NAME/``.

    Raises
    ------
    RecordError
        If it is neither, or holds no complete run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such folder; name a run's, or a study's")
    if (folder / "result.json").exists() or (folder / "run.json").exists():
        run = read_run(folder)
        return Study(folder, run.tree, *(((), (run,)) if run.members else ((run,), ())))
    groups: dict[str, list[TrainingRun]] = {"runs": [], "ensembles": []}
    broken: list[BrokenRun] = []
    for where, pattern in (("runs", "runs/*/*/"), ("ensembles", "ensembles/*/")):
        for each in sorted(path for path in folder.glob(pattern) if path.is_dir()):
            try:
                groups[where].append(read_run(each))
            except RecordError as error:
                broken.append(BrokenRun(each.relative_to(folder / where).as_posix(), str(error)))
    everything = [*groups["runs"], *groups["ensembles"]]
    if not everything:
        why = f"; {broken[0].name}: {broken[0].reason}" if broken else f"; none under {folder / 'runs'}"
        raise RecordError(f"{folder}: no complete run to report{why}")
    tree = everything[0].tree
    for where, runs in groups.items():
        broken += [BrokenRun(r.name, f"its tree {r.tree.name} is not {tree.name}") for r in runs if r.tree != tree]
        groups[where] = [run for run in runs if run.tree == tree]
    about: dict[str, Any] = {}
    if (folder / "study.json").exists():
        try:
            about = _json(folder / "study.json")
        except RecordError as error:
            broken.append(BrokenRun("study.json", str(error)))
    return Study(folder, tree, tuple(groups["runs"]), tuple(groups["ensembles"]), tuple(broken), about)


def read_run(folder: str | Path) -> TrainingRun:
    """Read a run folder as `tuningfork train` writes it. Raises RecordError."""
    folder = Path(folder)
    result_file = folder / "result.json"
    if not result_file.exists():
        raise RecordError(f"{result_file} is missing: the training has not ended; {_REMEDY}")
    result = _json(result_file)
    _check(result, result_file)
    about = _json(folder / "run.json") if (folder / "run.json").exists() else {}
    tree = _tree(folder, about)
    truth = _table(folder / "truth.parquet", ["id", "path", "part", "class", *tree.columns])
    predictions = _table(folder / "predictions.parquet", ["id"])
    ids = tuple(map(str, truth["id"].to_pylist()))
    position = {id_: row for row, id_ in enumerate(map(str, predictions["id"].to_pylist()))}
    missing = [id_ for id_ in ids if id_ not in position]
    if missing:
        raise RecordError(f"{folder / 'predictions.parquet'} lacks galaxy {missing[0]!r} of truth.parquet; {_REMEDY}")
    order = np.array([position[id_] for id_ in ids], np.int64)
    predicted = _columns(predictions, tree.columns, order, folder)
    probability = _columns(predictions, [f"class_{c}_probability" for c in range(len(tree.classes))], order, folder)
    no_class = _columns(predictions, ["no_class_probability"], order, folder)
    if predicted is None and probability is None:
        raise RecordError(f"{folder / 'predictions.parquet'} has neither votes nor classes; {_REMEDY}")
    known = _columns(truth, tree.columns, np.arange(len(ids)), folder)
    try:
        classes = truth["class"].cast(pa.int64()).fill_null(-1).to_numpy().copy()
    except pa.ArrowException as error:
        raise RecordError(f"{folder / 'truth.parquet'}: a class is not a number ({error}); {_REMEDY}") from None
    if np.any(classes >= len(tree.classes)):
        raise RecordError(f"{folder / 'truth.parquet'}: a class is not one of the {len(tree.classes)} of {tree.name}")
    members = result.get("members") or ()
    ensemble = bool(members) or folder.parent.name == "ensembles"
    path = folder.resolve()
    seeded = path.name.startswith("seed-")
    assert known is not None
    return TrainingRun(
        name=f"{path.parent.name}/{path.name}" if seeded else path.name,
        group=path.parent.name if seeded else re.sub(r"-seed-\d+$", "", path.name),
        folder=folder,
        tree=tree,
        about=about,
        result=result,
        curves=_curves(folder / "curves.csv"),
        ids=ids,
        paths=tuple("" if path is None else str(path) for path in truth["path"].to_pylist()),
        parts=np.array([str(part) for part in truth["part"].to_pylist()], np.str_),
        known=known,
        classes=classes,
        predicted=predicted,
        probability=probability,
        members=tuple(map(str, members)) or (("?",) if ensemble else ()),
        no_class=None if no_class is None else no_class[:, 0],
    )


def _check(result: Mapping[str, Any], path: Path) -> None:
    """Check the types of the values that a report uses. Raises RecordError."""
    kinds: dict[str, Any] = {
        **dict.fromkeys(("epochs", "epochs_planned", "best_epoch", "seed", "size", "parameters"), int),
        **dict.fromkeys(("seconds", "galaxies_per_second", "peak_memory_mb"), int | float),
        **dict.fromkeys(("counts", "versions"), dict),
        **dict.fromkeys(("notes", "members"), list),
    }
    for key, kind in kinds.items():
        if key in result and not isinstance(result[key], kind):
            raise RecordError(f"{path}: {key} = {result[key]!r} is not as `tuningfork train` writes it; {_REMEDY}")
    counts = result.get("counts", {})
    for key in ("galaxies", "complete_rows"):
        if not isinstance(counts.get(key, {}), dict):
            raise RecordError(f"{path}: counts.{key} is not as `tuningfork train` writes it; {_REMEDY}")


def _tree(folder: Path, about: Mapping[str, Any]) -> DecisionTree:
    recipe = about.get("recipe")
    name = recipe.get("tree", "gz2") if isinstance(recipe, dict) else None
    if name in (None, OWN):
        # An ensemble has no recipe of its own, and a label table's classes no name; the bundle brings the tree.
        bundle = folder / "bundle" / "bundle.json"
        data = _json(bundle).get("tree") if bundle.exists() else None
        try:
            return DecisionTree.from_dict(data) if isinstance(data, dict) else load_tree("gz2")
        except SchemaError as error:
            raise RecordError(f"{bundle}: {error}") from None
    try:
        return load_tree(str(name))
    except SchemaError as error:
        raise RecordError(f"{folder / 'run.json'}: {error}") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise RecordError(f"{path}: larger than {MAX_JSON_BYTES} bytes, not a file of tuningfork")
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RecordError(f"{path}: not valid JSON ({error}); {_REMEDY}") from None
    if not isinstance(value, dict):
        raise RecordError(f"{path}: an object is expected, not a {type(value).__name__}; {_REMEDY}")
    return value


def _table(path: Path, required: list[str]) -> pa.Table:
    try:
        table = pa.parquet.ParquetFile(path).read()
    except FileNotFoundError:
        raise RecordError(f"{path} is missing; {_REMEDY}") from None
    except (OSError, pa.ArrowException) as error:
        raise RecordError(f"{path}: not a readable Parquet file ({error}); {_REMEDY}") from None
    missing = [name for name in required if name not in table.column_names]
    if missing:
        raise RecordError(f"{path} has no column {missing[0]!r}; {_REMEDY}")
    return table


def _columns(table: pa.Table, names: Any, order: NDArray[np.int64], folder: Path) -> Floats | None:
    if not len(names) or not set(names) <= set(table.column_names):
        return None
    try:
        arrays = [np.array(table[name].cast(pa.float64()).to_numpy(), np.float64) for name in names]
    except pa.ArrowException as error:
        raise RecordError(f"{folder}: a column of fractions is not numeric ({error}); {_REMEDY}") from None
    return np.stack(arrays, 1)[order]


def _curves(path: Path) -> tuple[dict[str, float], ...]:
    if not path.exists():
        return ()
    try:
        rows = [{name: float(cell) for name, cell in row.items() if cell} for row in read_dicts(path)]
    except ValueError as error:
        raise RecordError(f"{path}: not a readable table of epochs ({error}); {_REMEDY}") from None
    return tuple(row for row in rows if "epoch" in row)
