"""What a auxiliary source's labels tell of its galaxies, as the numbers that `loss` learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...images.preprocess import Preprocess
from ...model.bundle import BundleError, open_bundle
from ...model.model import Model
from ...tables import RowError
from ...tables.identifiers import file_id
from ...votes import fractions as votes
from ...votes.label_table import labels_from_table
from ...votes.tree import DecisionTree
from ..image_cache import remembered
from .config import MAX_LABELS, AuxiliaryTarget, LabelSource, SourceError, matching

__all__ = ["column_of", "cropped", "told_of"]

_BATCH = 64


def cropped(preprocess: Preprocess, source: LabelSource) -> Preprocess:
    """The crop that shows as much of the sky in the source's pictures."""
    return replace(preprocess, crop=min(1.0, preprocess.crop / source.frame))


def column_of(source: LabelSource, table: Any, name: str) -> list[Any]:
    """A column's cells as text or numbers, "" where blank. Raises SourceError if there is none of that name."""
    if name not in table.column_names:
        near = matching(table.column_names, f"*{name}*")[:3] or table.column_names[:8]
        raise SourceError(f"source {source.name!r}: {source.labels} has no column {name!r}; it has {', '.join(near)}")
    return ["" if value is None else value for value in table[name].to_pylist()]


def told_of(
    tell: AuxiliaryTarget,
    source: LabelSource,
    table: Any,
    rows: Sequence[int],
    paths: Sequence[Path],
    key: str,
    tree: DecisionTree,
    cache: Path | None,
    errors: list[RowError],
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The labels of a tell's own scheme, and (N, width) what it says of each galaxy; NaN where nothing.

    Parameters
    ----------
    table : Arrow table, or None
        The source's labels.
    rows : (N,) int
        Each galaxy's row of it, -1 without one.
    paths : (N,) paths
        Their pictures; `key` is these' `content_key`.
    cache : path
        Where a teacher's predictions are kept.
    errors : list of RowError
        Gets the cells that cannot be used.

    Raises
    ------
    SourceError
        If a column is missing, all labels are alike, or the teacher cannot teach.
    """
    if tell.kind == "teacher":
        return (), _taught(tell, source, paths, key, tree, cache)
    if tell.kind == "classes":
        return (), _left_open(tell, source, table, rows, tree, errors)
    if tell.kind == "labels":
        return _own_labels(tell, source, table, rows)
    if tell.kind == "counts":
        return (), _counts(tell, source, table, rows, tree)
    values = labels_from_table(table, tree, source.labels)
    errors += values.errors
    places, cumulative = values.votes.row_of, values.votes.fractions
    told = np.full((len(rows), len(tree.columns)), np.nan, np.float32)
    for row, path in enumerate(paths):
        if file_id(path.name) in places:
            told[row] = cumulative[places[file_id(path.name)]]
    return (), told


def _labels_of(tell: AuxiliaryTarget, source: LabelSource, table: Any, rows: Sequence[int]) -> list[str]:
    column = [str(value).strip() for value in column_of(source, table, tell.column)]
    return [column[row] if row >= 0 else "" for row in rows]


def _left_open(
    tell: AuxiliaryTarget,
    source: LabelSource,
    table: Any,
    rows: Sequence[int],
    tree: DecisionTree,
    errors: list[RowError],
) -> NDArray[np.float32]:
    """(N, C + A): classes that a label leaves open, and the least votes that all of their rules ask for."""
    keys = [rule.key for rule in tree.classes]
    ignored = {a.column for q in tree.questions if q.key in tell.ignores for a in q.answers}
    meaning = {}
    for label, classes in tell.means.items():
        candidates = np.isin(keys, [*classes, *tell.or_class]).astype(np.float32)
        asked = [dict(tree.classes[keys.index(key)].all_of) for key in classes]
        least = [0.0 if column in ignored else min(rule.get(column, 0.0) for rule in asked) for column in tree.columns]
        meaning[label] = np.concatenate([candidates, np.array(least, np.float32)])
    told = np.full((len(rows), len(keys) + len(tree.columns)), np.nan, np.float32)
    for row, label in enumerate(_labels_of(tell, source, table, rows)):
        if label in meaning:
            told[row] = meaning[label]
        elif label:
            reason = f"{label!r} is none of the labels that `means` explains"
            errors.append(RowError(str(source.labels), rows[row] + 1, "", tell.column, reason))
    return told


def _own_labels(
    tell: AuxiliaryTarget, source: LabelSource, table: Any, rows: Sequence[int]
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    found = _labels_of(tell, source, table, rows)
    labels = tuple(sorted(set(found) - {""} - set(tell.leave_out)))
    if len(labels) < 2:
        raise SourceError(
            f"source {source.name!r}: column {tell.column!r} has {len(labels)} labels on galaxies with pictures "
            f"({', '.join(labels) or 'none'}); at least two are needed to learn anything"
        )
    if len(labels) > MAX_LABELS:
        raise SourceError(f"source {source.name!r}: column {tell.column!r} has {len(labels)} labels; is it an ID?")
    told = np.full((len(rows), len(labels)), np.nan, np.float32)
    for row, label in enumerate(found):
        if label in labels:
            told[row] = np.array([label == each for each in labels], np.float32)
    return labels, told


def _counts(
    tell: AuxiliaryTarget, source: LabelSource, table: Any, rows: Sequence[int], tree: DecisionTree
) -> NDArray[np.float32]:
    """(N, A) votes for each answer: the conditional fraction of those whom the question reached."""
    columns = matching(table.column_names, tell.columns)
    if len(columns) != len(tree.columns):
        raise SourceError(
            f"source {source.name!r}: {len(columns)} columns match {tell.columns!r}; tree {tree.name} has "
            f"{len(tree.columns)} answers"
        )
    conditional = np.array([[_number(value) for value in column_of(source, table, name)] for name in columns]).T
    volunteers = np.array([_number(value) for value in column_of(source, table, tell.total)])
    # Rounded to three digits, or all zero where nobody was asked: only shares count.
    for part in tree.slices:
        conditional[:, part] /= np.maximum(conditional[:, part].sum(1, keepdims=True), 1e-6)
    counts = volunteers[:, None] * votes.cumulative_from_conditional(conditional, tree)
    counts[~np.isfinite(counts).all(1) | (volunteers <= 0)] = np.nan
    return np.stack([counts[row] if row >= 0 else np.full(len(columns), np.nan) for row in rows]).astype(np.float32)


def _number(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _taught(
    tell: AuxiliaryTarget, source: LabelSource, paths: Sequence[Path], key: str, tree: DecisionTree, cache: Path | None
) -> NDArray[np.float32]:
    """(N, A + C) what a trained model says of the pictures, cropped as the source's must be."""
    try:
        bundle = open_bundle(tell.model)
        if bundle.tree.columns != tree.columns or not all(bundle.outputs.widths(tree)):
            raise SourceError(
                f"source {source.name!r}: the teacher {tell.model} does not tell votes and classes of tree {tree.name}"
            )
        networks = tuple(
            replace(network, preprocess=cropped(network.preprocess, source)) for network in bundle.networks
        )
        model = Model(replace(bundle, networks=networks), threads=torch.get_num_threads())
    except (BundleError, FileNotFoundError) as error:
        raise SourceError(f"source {source.name!r}: teacher {tell.model}: {error}") from None

    def tell_all() -> NDArray[np.float32]:
        batches = (model.predict(paths[start : start + _BATCH]) for start in range(0, len(paths), _BATCH))
        return np.concatenate([np.concatenate([said.cumulative, said.class_probability], 1) for said in batches])

    about = [network.sha256 for network in networks] + [network.preprocess.to_dict() for network in networks]
    return remembered(cache, ["taught", key, model.n_views, *about], tell_all).astype(np.float32)
