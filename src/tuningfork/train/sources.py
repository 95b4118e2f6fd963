"""Joins a label table with its pictures, groups duplicates and splits."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import votes
from ..catalog import RowError, VoteTable, read_votes
from ..files import write_text
from ..images import PictureError, find_pictures, load_picture
from ..schema import Tree
from .recipe import Recipe
from .split import PARTS, near_duplicates, signature, split

__all__ = ["Data", "TrainError", "read_data", "write_split"]


class TrainError(ValueError):
    """A training that cannot begin or go on; the message says what to do."""


@dataclass(frozen=True)
class Data:
    """N galaxies with pictures and votes, in the label table's order, each with its part of the split.

    `cumulative` is (N, A) float64, NaN unknown; `parts` (N,) text; `duplicates` counts the pictures
    that show a galaxy which another one shows too. The digests are of the label file's bytes and of
    IDs and pixels, so that anyone can tell whether they hold the same data.
    """

    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    cumulative: NDArray[np.float64]
    parts: NDArray[np.str_]
    labels_sha256: str
    pictures_sha256: str
    duplicates: int
    errors: tuple[RowError, ...]

    def rows(self, part: str) -> NDArray[np.int64]:
        """Positions of one part's galaxies."""
        return np.flatnonzero(self.parts == part)

    def counts(self, tree: Tree) -> dict[str, Any]:
        """Galaxies by part, complete rows by part, and by class: what a model card tells."""
        complete = ~np.isnan(self.cumulative).any(1)
        classes = votes.classify(self.cumulative, tree)
        names = [rule.key for rule in tree.classes]
        return {
            "galaxies": {part: int((self.parts == part).sum()) for part in PARTS},
            "complete_rows": {part: int((complete & (self.parts == part)).sum()) for part in PARTS},
            "train_classes": {
                **{name: int(((classes == c) & (self.parts == "train")).sum()) for c, name in enumerate(names)},
                **{
                    status.label: int(((classes == status) & (self.parts == "train")).sum())
                    for status in (votes.Status.UNCLASSIFIED, votes.Status.UNDECIDED)
                },
            },
            "near_duplicates": self.duplicates,
        }


def read_data(
    labels: Path, images: Sequence[Path], tree: Tree, recipe: Recipe, progress: Callable[[int, int], None] | None = None
) -> Data:
    """Join by file stem, look at every picture once, and split by class and completeness.

    Rows without a picture, pictures without a row, and pictures that cannot be read are left out and
    reported in `errors`.

    Raises
    ------
    TrainError
        If nothing usable is left.
    CatalogError, FileNotFoundError
        If the table or a folder cannot be used at all.
    """
    table = read_votes(labels, tree)
    files, errors = _by_stem(images)
    rows: list[int] = []
    signatures = []
    pictures = hashlib.sha256()
    for done, (row, id_) in enumerate(enumerate(table.ids), 1):
        if id_ not in files:
            errors.append(RowError(table.path, 0, id_, "", "no picture of this ID"))
        else:
            try:
                picture = load_picture(files[id_])
                signatures.append(signature(picture))
                rows.append(row)
                pictures.update(f"{id_} {picture.shape}".encode() + picture.tobytes())
            except PictureError as error:
                errors.append(RowError(str(files[id_]), 0, id_, "", str(error)))
        if progress:
            progress(done, len(table.ids))
    known = set(table.ids) | {error.id for error in table.errors}
    errors.extend(
        RowError(str(path), 0, id_, "", "no row of this ID in the label table")
        for id_, path in files.items()
        if id_ not in known
    )
    if not rows:
        raise TrainError(f"no galaxy has both a row in {labels} and a picture; are the files named by their ID?")
    data = _split(table, rows, files, np.stack(signatures), tree, recipe, errors)
    return replace(data, pictures_sha256=pictures.hexdigest())


def _by_stem(images: Sequence[Path]) -> tuple[dict[str, Path], list[RowError]]:
    files: dict[str, Path] = {}
    errors = []
    for path in find_pictures(images):
        if path.stem in files:
            errors.append(RowError(str(path), 0, path.stem, "", f"same ID as {files[path.stem]}; the first is used"))
        else:
            files[path.stem] = path
    return files, errors


def _split(
    table: VoteTable,
    rows: list[int],
    files: dict[str, Path],
    signatures: NDArray[np.float32],
    tree: Tree,
    recipe: Recipe,
    errors: list[RowError],
) -> Data:
    cumulative = votes.cumulative_from(table.values, tree)[rows]
    if np.isnan(cumulative).all():
        raise TrainError(f"{table.path}: every vote is blank; there is nothing to learn")
    groups = near_duplicates(signatures)
    unknown = np.isnan(cumulative).sum(1)
    strata = list(zip(votes.classify(cumulative, tree).tolist(), unknown.tolist(), strict=True))
    parts = split(strata, groups, validation=recipe.validation, test=recipe.test, seed=recipe.split_seed)
    for part in ("train", "validation"):
        if not (parts == part).any():
            raise TrainError(f"{len(rows)} galaxies are too few: the {part} part is empty")
    ids = tuple(table.ids[row] for row in rows)
    return Data(
        ids=ids,
        paths=tuple(files[id_] for id_ in ids),
        cumulative=cumulative,
        parts=parts,
        labels_sha256=hashlib.sha256(Path(table.path).read_bytes()).hexdigest(),
        pictures_sha256="",
        duplicates=sum(count for count in Counter(groups.tolist()).values() if count > 1),
        errors=(*table.errors, *errors),
    )


def write_split(data: Data, path: Path) -> None:
    """A CSV of ``id,part``, which `tuningfork evaluate --split` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "part"])
    writer.writerows(zip(data.ids, data.parts.tolist(), strict=True))
    write_text(path, text.getvalue())
