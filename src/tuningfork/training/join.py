"""Training set: a label table joined with its images, duplicates grouped, split into train, validation and test."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from .._utils.files import write_text
from .._utils.text import counted
from ..images.find import find_images
from ..images.image import ImageError
from ..images.read import read_image
from ..tables import RowError
from ..tables.csv import csv_text
from ..tables.identifiers import file_id
from ..votes.clean_samples import Status, classify
from ..votes.label_table import LabelTable
from ..votes.tree import DecisionTree
from ..votes.vote_table import VoteTable
from .image_cache import ImageCache, content_key, frame_side, open_cache
from .recipe import Recipe
from .split import PARTS, near_duplicates, signature, split

__all__ = ["TrainingSet", "TrainError", "by_stem", "read_training_set", "write_split"]

logger = logging.getLogger(__name__)

#: Images without a label that a warning names.
MAX_NAMES = 5


class TrainError(TuningforkError, ValueError):
    """A training that cannot begin or go on; the message says what to do."""


@dataclass(frozen=True)
class TrainingSet:
    """N galaxies with images and votes, in the label table's order, each with its part of the split.

    `votes` are the galaxies and their fractions; `parts` (N,) text; `duplicates` counts the images
    that show a galaxy which another one shows too. The digests are of the label file's bytes and of
    IDs and image files, so that anyone can tell whether they hold the same data. `cache_rows` (N,)
    are the galaxies' rows in the array of `cache`, if there is one.
    """

    votes: VoteTable
    paths: tuple[Path, ...]
    parts: NDArray[np.str_]
    labels_sha256: str
    images_sha256: str
    duplicates: int
    errors: tuple[RowError, ...]
    cache: ImageCache | None
    cache_rows: NDArray[np.int64]

    @property
    def ids(self) -> tuple[str, ...]:
        """(N,) identifiers of the galaxies."""
        return self.votes.ids

    @property
    def cumulative(self) -> NDArray[np.float64]:
        """(N, A) cumulative fractions, NaN unknown."""
        return self.votes.fractions

    def rows(self, part: str) -> NDArray[np.int64]:
        """Positions of one part's galaxies."""
        return np.flatnonzero(self.parts == part)

    def with_classes(self) -> TrainingSet:
        """Only the galaxies whose votes decide a class; raises TrainError if a part is left without."""
        keep = np.flatnonzero(self.votes.classes >= 0)
        for part in ("train", "validation"):
            if not (self.parts[keep] == part).any():
                raise TrainError(f"no galaxy of the {part} part has votes that decide a class; there is none to learn")
        return replace(
            self,
            votes=self.votes.select(keep),
            paths=tuple(self.paths[i] for i in keep),
            parts=self.parts[keep],
            cache_rows=self.cache_rows[keep],
        )

    def warnings(self, tree: DecisionTree) -> list[str]:
        """Caveats for a reader of the scores: empty classes, and parts of the split that lack one."""
        classes = self.votes.classes
        lines = []
        for number, rule in enumerate(tree.classes):
            parts = self.parts[classes == number]
            if not len(parts):
                lines.append(f"no galaxy has class {number} ({rule.name}): it is not learned, and its score is blank")
                continue
            if (parts == "train").sum() == 1:
                lines.append(f"class {number} ({rule.name}) has a single galaxy in the training part; label some more")
            absent = [part for part in PARTS if part in self.parts and part not in parts]
            if absent:
                lines.append(f"class {number} ({rule.name}), {len(parts)} in all, is absent from: {', '.join(absent)}")
        return lines

    def counts(self, tree: DecisionTree) -> dict[str, Any]:
        """Galaxies by part, complete rows by part, and by class, as a model card prints them."""
        complete = self.votes.complete
        classes = self.votes.classes
        names = [rule.key for rule in tree.classes]
        return {
            "galaxies": {part: int((self.parts == part).sum()) for part in PARTS},
            "complete_rows": {part: int((complete & (self.parts == part)).sum()) for part in PARTS},
            "train_classes": {
                **{name: int(((classes == c) & (self.parts == "train")).sum()) for c, name in enumerate(names)},
                **{
                    status.label: int(((classes == status) & (self.parts == "train")).sum())
                    for status in (Status.UNCLASSIFIED, Status.UNDECIDED)
                },
            },
            "near_duplicates": self.duplicates,
        }


def read_training_set(
    table: LabelTable,
    images: Sequence[Path],
    recipe: Recipe,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingSet:
    """Join by file stem, read every image once, and split by class and completeness.

    Rows without an image and images that cannot be read are left out and reported in `errors`; images without a row
    are not used, which is logged. With `cache`, a folder, the images are stored there, decoded, or found there.

    Parameters
    ----------
    progress : function of (images done, images in all)
        From the first to the last once for their hashes, and again where they must be read.

    Raises
    ------
    TrainError
        If nothing usable is left.
    CacheError
        If the images cannot be cached.
    FileNotFoundError
        If a folder cannot be read.
    """
    tree = table.tree
    files, errors = by_stem(images)
    rows = [row for row, id_ in enumerate(table.ids) if id_ in files]
    errors += [RowError(table.path, 0, id_, "", "no image of this ID") for id_ in table.ids if id_ not in files]
    known = set(table.ids) | {error.id for error in table.errors}
    if unlabelled := [id_ for id_ in files if id_ not in known]:
        # Most who label some of their images train with the folder of all.
        some = ", ".join(unlabelled[:MAX_NAMES]) + (", …" if len(unlabelled) > MAX_NAMES else "")
        images_have = counted(len(unlabelled), "image has", "images have")
        logger.warning("%s no label in %s: %s; left out", images_have, table.path, some)
    ids = [table.ids[row] for row in rows]
    paths = [files[id_] for id_ in ids]
    key = content_key(ids, paths, progress)
    if cache is None:
        stored, (groups, reasons) = None, _grouped(paths, progress)
    else:
        stored = open_cache(paths, key, frame_side(recipe.size, recipe.crop, paths), cache, progress)
        groups, reasons = stored.groups, stored.reasons
    errors += [
        RowError(str(path), 0, id_, "", reason) for id_, path, reason in zip(ids, paths, reasons, strict=True) if reason
    ]
    good = np.flatnonzero(groups >= 0)
    if not len(good):
        raise TrainError(f"no galaxy has both a row in {table.path} and an image; are the files named by their ID?")
    votes = table.votes.select(np.array(rows)[good])
    if np.isnan(votes.fractions).all():
        raise TrainError(f"{table.path}: every vote is blank; there is nothing to learn")
    data = TrainingSet(
        votes=votes,
        paths=tuple(paths[i] for i in good),
        parts=_parts(votes.fractions, groups[good], tree, recipe),
        labels_sha256=hashlib.sha256(Path(table.path).read_bytes()).hexdigest(),
        images_sha256=key,
        duplicates=sum(count for count in Counter(groups[good].tolist()).values() if count > 1),
        errors=(*table.errors, *errors),
        cache=stored,
        cache_rows=stored.rows[good] if stored else np.arange(len(good)),
    )
    return data.with_classes() if recipe.task == "classes" else data


def _grouped(
    paths: Sequence[Path], progress: Callable[[int, int], None] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Groups of duplicates, -1 for an image that cannot be read, and why it cannot."""
    groups = np.full(len(paths), -1, np.int64)
    reasons = [""] * len(paths)
    signatures = []
    for i, path in enumerate(paths):
        try:
            signatures.append(signature(read_image(path).rgb))
            groups[i] = i
        except ImageError as error:
            reasons[i] = str(error)
        if progress:
            progress(i + 1, len(paths))
    good = np.flatnonzero(groups >= 0)
    if len(good):
        groups[good] = good[near_duplicates(np.stack(signatures))]
    return groups, tuple(reasons)


def _parts(
    cumulative: NDArray[np.float64], groups: NDArray[np.int64], tree: DecisionTree, recipe: Recipe
) -> NDArray[np.str_]:
    classes = classify(cumulative, tree)
    unknown = np.isnan(cumulative).sum(1)
    strata = list(zip(classes.tolist(), unknown.tolist(), strict=True))
    published = {
        str((number, 0)): tuple(recipe.published_split[rule.key])
        for number, rule in enumerate(tree.classes)
        if rule.key in recipe.published_split
    }

    def prescribed(stratum: str, galaxies: int) -> int | None:
        total, test = published.get(stratum, (-1, 0))
        return test if galaxies == total else None

    parts = split(
        strata,
        groups,
        validation=recipe.validation,
        test=recipe.test,
        seed=recipe.split_seed,
        folds=recipe.folds,
        fold=recipe.fold,
        tests=prescribed,
    )
    for part in ("train", "validation"):
        if not (parts == part).any():
            raise TrainError(f"{len(parts)} galaxies are too few: the {part} part is empty")
    return parts


def by_stem(images: Sequence[Path]) -> tuple[dict[str, Path], list[RowError]]:
    """Images of folders and files by their ID, the name without extension; those of an ID that came before."""
    files: dict[str, Path] = {}
    errors = []
    for path in find_images(images):
        id_ = file_id(path.name)
        if id_ in files:
            errors.append(RowError(str(path), 0, id_, "", f"same ID as {files[id_]}; the first is used"))
        else:
            files[id_] = path
    return files, errors


def write_split(data: TrainingSet, path: Path) -> None:
    """A CSV of ``id,part``, which `tuningfork evaluate --split` reads."""
    rows = ({"id": id_, "part": part} for id_, part in zip(data.ids, data.parts.tolist(), strict=True))
    write_text(path, csv_text(rows))
