"""Reads auxiliary sources: which of their galaxies may be trained on, and what is told of each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ...images.image import ImageError
from ...images.preprocess import Preprocess
from ...images.read import read_image
from ...model.bundle import open_bundle
from ...tables import CatalogError, RowError, read_table
from ...votes.tree import DecisionTree
from ..dataset import GalaxyDataset, Targets
from ..image_cache import content_key, frame_side, pack, remembered
from ..join import TrainingSet, by_stem
from ..recipe import Recipe
from ..split import SAME, signature
from .config import AuxiliaryTarget, LabelSource, SourceError
from .loss import width
from .targets import column_of, cropped, told_of

__all__ = ["AuxiliaryData", "AuxiliaryDataset", "read_auxiliary"]

#: Of the same galaxy on another angular scale: of eleven pairs known by their SDSS numbers the least had 0.973,
#: while no other galaxy came above 0.937.
SAME_AT_ANY_SCALE = 0.97
#: A galaxy's picture on another scale is compared at these parts of its side.
_PARTS = np.geomspace(0.3, 1.0, 32)


@dataclass(frozen=True)
class AuxiliaryData:
    """N galaxies of all sources, each with what is told of it.

    Parameters
    ----------
    galaxies : tuple of GalaxyDataset
        Pictures of each source, cropped as the labelled ones are.
    tells : tuple of AuxiliaryTarget
        Of all sources, one after the other.
    labels : tuple of tuple of str
        For each tell, the labels of its own scheme.
    told : (N, sum of widths) float32
        What is told of each galaxy, tell by tell; NaN where nothing is.
    about : tuple of dict
        For each source: name, galaxies, what was left out, hashes of labels and pictures.
    errors : tuple of RowError
    """

    galaxies: tuple[GalaxyDataset, ...]
    tells: tuple[AuxiliaryTarget, ...]
    labels: tuple[tuple[str, ...], ...]
    told: NDArray[np.float32]
    about: tuple[dict[str, Any], ...]
    errors: tuple[RowError, ...]

    def dataset(self) -> AuxiliaryDataset:
        """Pictures with what is told of them."""
        return AuxiliaryDataset(self.galaxies, self.told)


class AuxiliaryDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Items, asked for by (epoch, row): picture (3, size, size) float32, told (T,) float32."""

    def __init__(self, galaxies: Sequence[GalaxyDataset], told: NDArray[np.float32]) -> None:
        self.galaxies, self.told = tuple(galaxies), told
        self.ends = np.cumsum([len(each) for each in galaxies])

    def __len__(self) -> int:
        return len(self.told)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, row = key
        number = int(np.searchsorted(self.ends, row, "right"))
        first = int(self.ends[number]) - len(self.galaxies[number])
        picture, *_ = self.galaxies[number][epoch, row - first]
        return picture, torch.from_numpy(self.told[row])


def read_auxiliary(
    sources: Sequence[LabelSource],
    data: TrainingSet,
    tree: DecisionTree,
    recipe: Recipe,
    cache: Path | None,
    say: Callable[[str], None] = lambda line: None,
) -> AuxiliaryData:
    """Read all sources; a galaxy that is also in the validation or test part is left out, and said so.

    The same galaxy is known by its ID, by the source's column `same_as`, or by a picture that is nearly the
    same, on whatever angular scale the source says.

    Raises
    ------
    SourceError
        If a source has nothing usable: no pictures, no labels of any use, all labels alike.
    """
    read = [_read_source(source, data, tree, recipe, cache, say) for source in sources]
    widths = [
        [width(tell, tree, len(labels)) for tell, labels in zip(source.tells, one.labels, strict=True)]
        for source, one in zip(sources, read, strict=True)
    ]
    total = sum(map(sum, widths))
    blocks, before = [], 0
    for one, own in zip(read, widths, strict=True):
        block = np.full((len(one.galaxies), total), np.nan, np.float32)
        block[:, before : before + sum(own)] = np.concatenate(one.told, 1)
        blocks.append(block)
        before += sum(own)
    return AuxiliaryData(
        galaxies=tuple(one.galaxies for one in read),
        tells=tuple(tell for source in sources for tell in source.tells),
        labels=tuple(labels for one in read for labels in one.labels),
        told=np.concatenate(blocks),
        about=tuple(one.about for one in read),
        errors=tuple(error for one in read for error in one.errors),
    )


@dataclass(frozen=True)
class _One:
    galaxies: GalaxyDataset
    labels: list[tuple[str, ...]]
    told: list[NDArray[np.float32]]
    about: dict[str, Any]
    errors: list[RowError]


def _read_source(
    source: LabelSource,
    data: TrainingSet,
    tree: DecisionTree,
    recipe: Recipe,
    cache: Path | None,
    say: Callable[[str], None],
) -> _One:
    where = f"source {source.name!r}"
    try:
        files, errors = by_stem(source.images)
        table = None if source.labels is None else read_table(source.labels, text=True)
    except (CatalogError, FileNotFoundError) as error:
        raise SourceError(f"{where}: {error}") from None
    rows = _rows(source, table, tree, errors)
    only_pictures = any(tell.kind == "teacher" for tell in source.tells)
    ids = [id_ for id_ in files if only_pictures or id_ in rows]
    paths = [files[id_] for id_ in ids]
    if not ids:
        raise SourceError(f"{where}: no galaxy has both a row in {source.labels} and a picture named by its ID")
    key, preprocess = content_key(ids, paths), cropped(Preprocess(crop=recipe.crop, size=recipe.size), source)
    # All of them, whichever this split leaves out: every training with the cache shares them.
    packed = None if cache is None else pack(paths, key, frame_side(recipe.size, preprocess.crop, paths), cache)
    reasons = [_unreadable(path) for path in paths] if packed is None else packed.reasons
    errors += [RowError(str(p), 0, i, "", reason) for i, p, reason in zip(ids, paths, reasons, strict=True) if reason]
    good = np.array([not reason for reason in reasons])
    # Rows of the same galaxy here and among the labelled ones.
    pairs = remembered(cache, ["alike", key, data.pictures_sha256, source.frame, source.any_scale],
                        lambda: _same_pictures(source, paths, good, data))  # fmt: skip
    judged = data.parts != "train"
    leave = _same_ids(source, table, rows, ids, {data.ids[row] for row in np.flatnonzero(judged)})
    leave[pairs[judged[pairs[:, 1]], 0]] = True
    left_out = int(leave.sum())
    keep = np.flatnonzero(good & ~leave)
    if not len(keep):
        raise SourceError(f"{where}: no picture is left that can be read and is not in the validation or test part")

    if len(keep) < len(ids):
        ids, paths = [ids[row] for row in keep], [paths[row] for row in keep]
        key = content_key(ids, paths)
    labels, told = [], []
    for tell in source.tells:
        at = [rows.get(id_, -1) for id_ in ids]
        scheme, values = told_of(tell, source, table, at, paths, key, tree, cache, errors)
        labels.append(scheme)
        told.append(values)
        say(f"{where}, {tell.kind}{f' {tell.column}' if tell.column else ''}: "
            f"{int((~np.isnan(values).all(1)).sum())} galaxies tell")  # fmt: skip
    some = np.flatnonzero(~np.isnan(np.concatenate(told, 1)).all(1))
    if not len(some):
        raise SourceError(f"{where}: no galaxy has a usable label")
    say(f"{where}: {len(some)} galaxies to train on; {left_out} left out that are in the validation or test part")
    about = {
        "name": source.name,
        "galaxies": len(some),
        "in_validation_or_test": left_out,
        "unreadable": int((~good).sum()),
        "labels_sha256": "" if source.labels is None else hashlib.sha256(source.labels.read_bytes()).hexdigest(),
        "pictures_sha256": key,
        "tells": [
            {**_plain(tell), "told": int((~np.isnan(values).all(1)).sum())}
            for tell, values in zip(source.tells, told, strict=True)
        ],
    }
    none = np.full((len(some), len(tree.columns)), np.nan, np.float32)
    galaxies = GalaxyDataset(
        [paths[row] for row in some],
        Targets(none, np.zeros((len(some), len(tree.classes)), np.float32)),
        preprocess,
        recipe.augmentation,
        # Another stream than the labelled galaxies have, or row k of each would be turned alike.
        recipe.seed + int.from_bytes(hashlib.sha256(source.name.encode()).digest()[:4]),
        (packed.file, packed.rows[keep[some]]) if packed else None,
    )
    return _One(galaxies, labels, [values[some] for values in told], about, errors)


def _plain(tell: AuxiliaryTarget) -> dict[str, Any]:
    """What decides a training: of a model its content, wherever it lies."""
    plain = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name in AuxiliaryTarget.__slots__
        if (value := getattr(tell, name)) and name != "model"
    }
    return {**plain, **({"model_sha256": open_bundle(tell.model).sha256} if tell.model else {})}


def _rows(source: LabelSource, table: Any, tree: DecisionTree, errors: list[RowError]) -> dict[str, int]:
    """ID → row of the source's table. Of rows that contradict each other by having one ID, none is used."""
    if table is None:
        return {}
    column = source.id or next((name for name in tree.id_columns if name in table.column_names), table.column_names[0])
    ids = [str(value) for value in column_of(source, table, column)]
    counts = Counter(ids)
    errors += [
        RowError(str(source.labels), row + 1, id_, column, "this ID has more than one row; none is used")
        for row, id_ in enumerate(ids)
        if counts[id_] > 1
    ]
    return {id_: row for row, id_ in enumerate(ids) if counts[id_] == 1}


def _same_ids(
    source: LabelSource, table: Any, rows: Mapping[str, int], ids: Sequence[str], held_ids: set[str]
) -> NDArray[np.bool_]:
    """(N,) whether a galaxy is judged on, by its ID or by the column that says so."""
    if not source.same_as:
        return np.array([id_ in held_ids for id_ in ids])
    if table is None:
        raise SourceError(f"source {source.name!r}: same_as names a column, but there is no table of labels")
    names = [str(value).removesuffix(".0") for value in column_of(source, table, source.same_as)]
    return np.array([id_ in held_ids or (id_ in rows and names[rows[id_]] in held_ids) for id_ in ids])


def _unreadable(path: Path) -> str:
    try:
        read_image(path)
    except ImageError as error:
        return str(error)
    return ""


def _same_pictures(
    source: LabelSource, paths: Sequence[Path], good: NDArray[np.bool_], data: TrainingSet
) -> NDArray[np.int64]:
    """(M, 2) pairs of a row of `paths` and one of `data` whose pictures show the same galaxy."""
    parts = _PARTS if source.any_scale else np.array([0.5 / source.frame])
    if parts[0] > 1:  # less of the sky than a signature sees
        return np.empty((0, 2), np.int64)
    same = SAME_AT_ANY_SCALE if source.any_scale else SAME
    labelled = np.stack([signature(read_image(path).rgb) for path in data.paths])
    pairs = []
    for row in np.flatnonzero(good):
        picture = read_image(paths[row]).rgb
        alike = np.stack([signature(picture, part) for part in parts]) @ labelled.T > same
        pairs += [(int(row), int(other)) for other in np.flatnonzero(alike.any(0))]
    return np.array(pairs, np.int64).reshape(-1, 2)
