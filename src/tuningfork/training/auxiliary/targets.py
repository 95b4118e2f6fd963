"""Auxiliary targets: a source's labels as the numbers that `loss` learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...images.preprocess import Preprocess
from ...model.bundle import BundleError, open_bundle
from ...model.model import Model
from ...pipeline.in_process import predict_batches
from ...tables import RowError
from ...tables.identifiers import file_id
from ...votes import fractions as votes
from ...votes.class_labels import label_text
from ...votes.label_table import labels_from_table
from ...votes.tree import DecisionTree
from ...votes.values_kind import kind_conflict
from ..image_cache import cached_array
from .config import MAX_LABELS, AuxiliaryTarget, LabelSource, SourceError, matching

__all__ = ["SourceGalaxies", "column_of", "source_preprocess", "targets_of"]

Values = NDArray[np.float32]


@dataclass(frozen=True)
class SourceGalaxies:
    """N galaxies of one source.

    Parameters
    ----------
    source : LabelSource
    paths : (N,) paths
        Their images; `key` is these' `content_key`.
    table : Arrow table, or None
        The source's labels.
    rows : (N,) int
        Each galaxy's row of it, -1 without one.
    errors : list of RowError
        Gets the cells that cannot be used.
    """

    source: LabelSource
    paths: Sequence[Path]
    key: str
    table: Any
    rows: Sequence[int]
    errors: list[RowError] = field(default_factory=list)

    def column(self, name: str) -> list[Any]:
        """A column of the table, "" where blank."""
        return column_of(self.source, self.table, name)

    def labels(self, name: str) -> list[str]:
        """Each galaxy's text in a column, "" without one."""
        cells = [label_text(value) for value in self.column(name)]
        return [cells[row] if row >= 0 else "" for row in self.rows]


def source_preprocess(preprocess: Preprocess, source: LabelSource) -> Preprocess:
    """The crop that shows as much of the sky in the source's images."""
    return replace(preprocess, crop=min(1.0, preprocess.crop / source.frame))


def column_of(source: LabelSource, table: Any, name: str) -> list[Any]:
    """A column's cells as text or numbers, "" where blank. Raises SourceError if there is none of that name."""
    if name not in table.column_names:
        near = matching(table.column_names, f"*{name}*")[:3] or table.column_names[:8]
        raise SourceError(f"source {source.name!r}: {source.labels} has no column {name!r}; it has {', '.join(near)}")
    return ["" if value is None else value for value in table[name].to_pylist()]


def targets_of(
    target: AuxiliaryTarget, galaxies: SourceGalaxies, tree: DecisionTree, cache: Path | None
) -> tuple[tuple[str, ...], Values]:
    """The labels of a target's own scheme, and its values (N, width) for each galaxy; NaN where unknown.

    `cache` is where a teacher's predictions are stored.

    Raises
    ------
    SourceError
        If a column is missing, all labels are alike, or the teacher cannot teach.
    """
    if target.kind == "labels":
        return _own_labels(target, galaxies)
    if target.kind == "teacher":
        return (), _predictions(target, galaxies, tree, cache)
    return (), {"classes": _possible_classes, "counts": _counts, "votes": _votes}[target.kind](target, galaxies, tree)


def _votes(target: AuxiliaryTarget, galaxies: SourceGalaxies, tree: DecisionTree) -> Values:
    """(N, A) cumulative fractions."""
    table = labels_from_table(galaxies.table, tree, galaxies.source.labels)
    where = f"source {galaxies.source.name!r}: {galaxies.source.labels}"
    if not target.own_head and (
        conflict := kind_conflict("the label table", tree.values_kind, where, table.tree.values_kind)
    ):
        raise SourceError(f"{conflict}; give them a head of their own with own_head = true")
    galaxies.errors.extend(table.errors)
    places, cumulative = table.votes.row_of, table.votes.fractions
    values = np.full((len(galaxies.rows), len(tree.columns)), np.nan, np.float32)
    for row, path in enumerate(galaxies.paths):
        if file_id(path.name) in places:
            values[row] = cumulative[places[file_id(path.name)]]
    return values


def _possible_classes(target: AuxiliaryTarget, galaxies: SourceGalaxies, tree: DecisionTree) -> Values:
    """(N, C + A): classes that a label leaves open, and the least votes that all of their rules require."""
    keys = [rule.key for rule in tree.classes]
    ignored = {a.column for q in tree.questions if q.key in target.ignores for a in q.answers}
    meaning = {}
    for label, classes in target.means.items():
        candidates = np.isin(keys, [*classes, *target.or_class]).astype(np.float32)
        rules = [dict(tree.classes[keys.index(key)].all_of) for key in classes]
        least = [0.0 if column in ignored else min(rule.get(column, 0.0) for rule in rules) for column in tree.columns]
        meaning[label] = np.concatenate([candidates, np.array(least, np.float32)])
    values = np.full((len(galaxies.rows), len(keys) + len(tree.columns)), np.nan, np.float32)
    for row, label in enumerate(galaxies.labels(target.column)):
        if label in meaning:
            values[row] = meaning[label]
        elif label:
            reason = f"{label!r} is none of the labels that `means` explains"
            place = str(galaxies.source.labels), galaxies.rows[row] + 1
            galaxies.errors.append(RowError(*place, "", target.column, reason))
    return values


def _own_labels(target: AuxiliaryTarget, galaxies: SourceGalaxies) -> tuple[tuple[str, ...], Values]:
    """The labels, and (N, L) one-hot."""
    cells = galaxies.labels(target.column)
    labels = tuple(sorted(set(cells) - {""} - set(target.leave_out)))
    where = f"source {galaxies.source.name!r}: column {target.column!r} has {len(labels)} labels"
    if len(labels) < 2:
        names = ", ".join(labels) or "none"
        raise SourceError(f"{where} on galaxies with images ({names}); at least two are needed to learn anything")
    if len(labels) > MAX_LABELS:
        raise SourceError(f"{where}; is it an ID?")
    values = np.full((len(cells), len(labels)), np.nan, np.float32)
    for row, label in enumerate(cells):
        if label in labels:
            values[row] = np.array([label == each for each in labels], np.float32)
    return labels, values


def _counts(target: AuxiliaryTarget, galaxies: SourceGalaxies, tree: DecisionTree) -> Values:
    """(N, A) votes for each answer: the conditional fraction of those whom the question reached."""
    columns = matching(galaxies.table.column_names, target.columns)
    if len(columns) != len(tree.columns):
        raise SourceError(
            f"source {galaxies.source.name!r}: {len(columns)} columns match {target.columns!r}; tree {tree.name} has "
            f"{len(tree.columns)} answers"
        )
    conditional = np.array([[_number(value) for value in galaxies.column(name)] for name in columns]).T
    volunteers = np.array([_number(value) for value in galaxies.column(target.total)])
    # Rounded to three digits, or all zero where nobody reached the question: only ratios count.
    for part in tree.slices:
        conditional[:, part] /= np.maximum(conditional[:, part].sum(1, keepdims=True), 1e-6)
    counts = volunteers[:, None] * votes.cumulative_from_conditional(conditional, tree)
    counts[~np.isfinite(counts).all(1) | (volunteers <= 0)] = np.nan
    blank = np.full(len(columns), np.nan)
    return np.stack([counts[row] if row >= 0 else blank for row in galaxies.rows]).astype(np.float32)


def _number(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _predictions(target: AuxiliaryTarget, galaxies: SourceGalaxies, tree: DecisionTree, cache: Path | None) -> Values:
    """(N, A + C) predictions of a teacher on the images, cropped as the source's must be."""
    where = f"source {galaxies.source.name!r}"
    try:
        bundle = open_bundle(target.model)
        if conflict := kind_conflict(
            "the label table", tree.values_kind, f"{where}: the teacher {target.model}", bundle.target.values_kind
        ):
            raise SourceError(conflict)
        if bundle.tree.columns != tree.columns or not all(bundle.outputs.widths(tree)):
            raise SourceError(
                f"{where}: the teacher {target.model} does not predict votes and classes of tree {tree.name}"
            )
        networks = tuple(
            replace(network, preprocess=source_preprocess(network.preprocess, galaxies.source))
            for network in bundle.networks
        )
        model = Model(replace(bundle, networks=networks), threads=torch.get_num_threads())
    except (BundleError, FileNotFoundError) as error:
        raise SourceError(f"{where}: teacher {target.model}: {error}") from None

    def predict() -> NDArray[np.float32]:
        batches = predict_batches(model, galaxies.paths)
        return np.concatenate([np.concatenate([each.cumulative, each.class_probability], 1) for each in batches])

    # All of the bundle: the probabilities of classes are calibrated.
    about = [bundle.sha256, *(network.preprocess.to_dict() for network in networks)]
    return cached_array(cache, ["teacher", galaxies.key, model.n_views, *about], predict).astype(np.float32)
