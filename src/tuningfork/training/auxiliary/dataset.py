"""Auxiliary data: which galaxies of the sources may be trained on, and their targets."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
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
from ...tables.identifiers import IdentifierError, exact_ids
from ...votes.tree import DecisionTree
from ..dataset import CachedImages, GalaxyDataset, ImageFiles, Targets
from ..image_cache import cached_array, content_key, frame_side, open_cache
from ..join import TrainingSet, by_stem
from ..recipe import Recipe
from ..split import SAME, signature
from .config import AuxiliaryTarget, LabelSource, SourceError
from .loss import TargetScheme
from .targets import SourceGalaxies, column_of, source_preprocess, targets_of

__all__ = ["AuxiliaryData", "AuxiliaryDataset", "read_auxiliary"]

logger = logging.getLogger(__name__)

#: Of the same galaxy on another angular scale: of eleven pairs known by their SDSS numbers the least had 0.973,
#: while no other galaxy came above 0.937.
SAME_AT_ANY_SCALE = 0.97
#: A galaxy's image on another scale is compared at these parts of its side.
_PARTS = np.geomspace(0.3, 1.0, 32)


@dataclass(frozen=True)
class AuxiliaryData:
    """N galaxies of all sources, each with its targets.

    Parameters
    ----------
    galaxies : tuple of GalaxyDataset
        Images of each source, cropped as the labelled ones are.
    targets : tuple of TargetScheme
        Of all sources, one after the other.
    values : (N, sum of widths) float32
        The targets' values for each galaxy; NaN where unknown.
    about : tuple of dict
        For each source: name, galaxies, what was left out, hashes of labels and images.
    errors : tuple of RowError
    """

    galaxies: tuple[GalaxyDataset, ...]
    targets: tuple[TargetScheme, ...]
    values: NDArray[np.float32]
    about: tuple[dict[str, Any], ...]
    errors: tuple[RowError, ...]

    def dataset(self) -> AuxiliaryDataset:
        """Images with their targets."""
        return AuxiliaryDataset(self.galaxies, self.values)


class AuxiliaryDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Items, with the key (epoch, row): image (3, size, size) float32, target values (T,) float32."""

    def __init__(self, galaxies: Sequence[GalaxyDataset], values: NDArray[np.float32]) -> None:
        self.galaxies, self.values = tuple(galaxies), values
        self.ends = np.cumsum([len(each) for each in galaxies])

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, row = key
        number = int(np.searchsorted(self.ends, row, "right"))
        first = int(self.ends[number]) - len(self.galaxies[number])
        image, *_ = self.galaxies[number][epoch, row - first]
        return image, torch.from_numpy(self.values[row])


def read_auxiliary(
    sources: Sequence[LabelSource], data: TrainingSet, tree: DecisionTree, recipe: Recipe, cache: Path | None
) -> AuxiliaryData:
    """Read all sources; a galaxy that is also in the validation or test part is left out, which is logged.

    The same galaxy is recognised by its ID, by the source's column `same_as`, or by an image that is nearly the
    same, on whatever angular scale the source says.

    Raises
    ------
    SourceError
        If a source has nothing usable: no images, no usable labels, all labels alike.
    """
    read = [_read_source(source, data, tree, recipe, cache) for source in sources]
    targets = tuple(target for one in read for target in one.targets)
    total, before, blocks = sum(target.width(tree) for target in targets), 0, []
    for one in read:
        block = np.full((len(one.values), total), np.nan, np.float32)
        block[:, before : before + one.values.shape[1]] = one.values
        blocks.append(block)
        before += one.values.shape[1]
    return AuxiliaryData(
        galaxies=tuple(dataset for one in read for dataset in one.galaxies),
        targets=targets,
        values=np.concatenate(blocks),
        about=tuple(note for one in read for note in one.about),
        errors=tuple(error for one in read for error in one.errors),
    )


def _read_source(
    source: LabelSource, data: TrainingSet, tree: DecisionTree, recipe: Recipe, cache: Path | None
) -> AuxiliaryData:
    where = f"source {source.name!r}"
    try:
        files, errors = by_stem(source.images)
        table = None if source.labels is None else read_table(source.labels, text=True)
    except (CatalogError, FileNotFoundError) as error:
        raise SourceError(f"{where}: {error}") from None
    rows = _rows(source, table, tree, errors)
    unlabelled_too = any(target.kind == "teacher" for target in source.targets)
    ids = [id_ for id_ in files if unlabelled_too or id_ in rows]
    paths = [files[id_] for id_ in ids]
    if not ids:
        raise SourceError(f"{where}: no galaxy has both a row in {source.labels} and an image named by its ID")
    key, preprocess = content_key(ids, paths), source_preprocess(recipe.preprocess, source)
    # All of them, whichever this split leaves out: every training with the cache shares them.
    stored = open_cache(paths, key, frame_side(recipe.size, preprocess.crop, paths), cache) if cache else None
    reasons = stored.reasons if stored else [_unreadable(path) for path in paths]
    errors += [RowError(str(p), 0, i, "", reason) for i, p, reason in zip(ids, paths, reasons, strict=True) if reason]
    readable = np.array([not reason for reason in reasons])
    held_out = _held_out(source, table, rows, ids, data)
    # Pairs of rows of the same galaxy here and among the labelled ones.
    pairs = cached_array(cache, ["alike", key, data.images_sha256, source.frame, source.any_scale],
                         lambda: _same_images(source, paths, readable, data))  # fmt: skip
    held_out[pairs[(data.parts != "train")[pairs[:, 1]], 0]] = True
    usable = np.flatnonzero(readable & ~held_out)
    if not len(usable):
        raise SourceError(f"{where}: no image is left that can be read and is not in the validation or test part")
    if len(usable) < len(ids):
        key = content_key([ids[row] for row in usable], [paths[row] for row in usable])
    galaxies = SourceGalaxies(
        source, [paths[row] for row in usable], key, table, [rows.get(ids[row], -1) for row in usable], errors
    )
    schemes, columns = _read_targets(galaxies, tree, cache)
    values = np.concatenate(columns, 1)
    some = np.flatnonzero(~np.isnan(values).all(1))
    if not len(some):
        raise SourceError(f"{where}: no galaxy has a usable label")
    logger.info("%s: %d galaxies to train on; %d left out that are in the validation or test part",
                where, len(some), held_out.sum())  # fmt: skip
    about = {
        "name": source.name,
        "galaxies": len(some),
        "in_validation_or_test": int(held_out.sum()),
        "unreadable": int((~readable).sum()),
        "labels_sha256": "" if source.labels is None else hashlib.sha256(source.labels.read_bytes()).hexdigest(),
        "images_sha256": key,
        "targets": [
            {**_settings(target), "galaxies": _known(own)} for target, own in zip(source.targets, columns, strict=True)
        ],
    }
    chosen = usable[some]
    images = CachedImages(stored.file, stored.rows[chosen]) if stored else ImageFiles([paths[i] for i in chosen])
    dataset = _dataset(source, images, tree, preprocess, recipe)
    return AuxiliaryData((dataset,), schemes, values[some], (about,), tuple(errors))


def _read_targets(
    galaxies: SourceGalaxies, tree: DecisionTree, cache: Path | None
) -> tuple[tuple[TargetScheme, ...], list[NDArray[np.float32]]]:
    """The targets of a source, and the values (N, width) of each."""
    schemes, columns = [], []
    for target in galaxies.source.targets:
        labels, values = targets_of(target, galaxies, tree, cache)
        schemes.append(TargetScheme(target, labels))
        columns.append(values)
        column = target.column and f" {target.column}"
        logger.info("source %r, %s%s: targets of %d galaxies",
                    galaxies.source.name, target.kind, column, _known(values))  # fmt: skip
    return tuple(schemes), columns


def _dataset(
    source: LabelSource, images: CachedImages | ImageFiles, tree: DecisionTree, preprocess: Preprocess, recipe: Recipe
) -> GalaxyDataset:
    """Augmented images of a source, whose own votes and classes are unknown."""
    unknown = np.full((len(images), len(tree.columns)), np.nan, np.float32)
    targets = Targets(unknown, np.zeros((len(images), len(tree.classes)), np.float32))
    # Another stream of random numbers than the labelled galaxies', or row k of each would be turned alike.
    seed = recipe.seed + int.from_bytes(hashlib.sha256(source.name.encode()).digest()[:4])
    return GalaxyDataset(images, targets, preprocess, recipe.augmentation, seed)


def _known(values: NDArray[np.float32]) -> int:
    """Galaxies with any value."""
    return int((~np.isnan(values).all(1)).sum())


def _settings(target: AuxiliaryTarget) -> dict[str, Any]:
    """What decides a training: of a model its content, wherever it is stored."""
    settings = {name: value for name, value in target.model_dump().items() if value and name != "model"}
    return {**settings, **({"model_sha256": open_bundle(target.model).sha256} if target.model else {})}


def _rows(source: LabelSource, table: Any, tree: DecisionTree, errors: list[RowError]) -> dict[str, int]:
    """ID → row of the source's table. Of rows that contradict each other by having one ID, none is used."""
    if table is None:
        return {}
    column = source.id or tree.id_column(table.column_names) or table.column_names[0]
    ids = _ids(source, table, column)
    counts = Counter(ids)
    errors += [
        RowError(str(source.labels), row + 1, id_, column, "this ID has more than one row; none is used")
        for row, id_ in enumerate(ids)
        if counts[id_] > 1
    ]
    return {id_: row for row, id_ in enumerate(ids) if counts[id_] == 1}


def _ids(source: LabelSource, table: Any, column: str) -> list[str]:
    column_of(source, table, column)
    try:
        return exact_ids(table[column], column, source.labels)
    except IdentifierError as error:
        raise SourceError(f"source {source.name!r}: {error}") from None


def _held_out(
    source: LabelSource, table: Any, rows: Mapping[str, int], ids: Sequence[str], data: TrainingSet
) -> NDArray[np.bool_]:
    """(N,) whether a galaxy is in the validation or test part, by its ID or by the column `same_as`."""
    held_out = {data.ids[row] for row in np.flatnonzero(data.parts != "train")}
    if not source.same_as:
        return np.array([id_ in held_out for id_ in ids])
    if table is None:
        raise SourceError(f"source {source.name!r}: same_as names a column, but there is no table of labels")
    names = _ids(source, table, source.same_as)
    return np.array([id_ in held_out or (id_ in rows and names[rows[id_]] in held_out) for id_ in ids])


def _unreadable(path: Path) -> str:
    try:
        read_image(path)
    except ImageError as error:
        return str(error)
    return ""


def _same_images(
    source: LabelSource, paths: Sequence[Path], good: NDArray[np.bool_], data: TrainingSet
) -> NDArray[np.int64]:
    """(M, 2) pairs of a row of `paths` and one of `data` whose images show the same galaxy."""
    parts = _PARTS if source.any_scale else np.array([0.5 / source.frame])
    if parts[0] > 1:  # less of the sky than a signature sees
        return np.empty((0, 2), np.int64)
    same = SAME_AT_ANY_SCALE if source.any_scale else SAME
    labelled = np.stack([signature(read_image(path).rgb) for path in data.paths])
    pairs = []
    for row in np.flatnonzero(good):
        image = read_image(paths[row]).rgb
        alike = np.stack([signature(image, part) for part in parts]) @ labelled.T > same
        pairs += [(int(row), int(other)) for other in np.flatnonzero(alike.any(0))]
    return np.array(pairs, np.int64).reshape(-1, 2)
