"""Fit what a model may promise on labelled galaxies that its training did not see, and which pictures it knows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from ..images.find import find_images
from ..model.bundle import Bundle
from ..model.calibration import Calibration
from ..model.intervals import fit_intervals
from ..model.model import Model
from ..model.options import InferenceOptions
from ..model.out_of_domain import DomainError, fit_domain
from ..model.predictions import concatenated
from ..model.temperature import fit_temperature
from ..pipeline.predict import predict_batches
from ..tables import RowError
from ..tables.identifiers import file_id
from ..votes import fractions as votes
from ..votes.label_table import VoteTable, read_votes
from .evaluate import check_part
from .ood_evaluation import measured
from .reliability import coverage

__all__ = ["Calibrated", "CalibrationError", "calibrate"]

Floats = NDArray[np.float64]
#: Into so many parts the galaxies are dealt, to judge each by what was fitted on the others.
FOLDS = 10


class CalibrationError(TuningforkError, ValueError):
    """A calibration that would promise what it cannot hold; the message says what to do."""


@dataclass(frozen=True)
class Calibrated:
    """A bundle with its new calibration, what there were too few galaxies for, and rows that could not be used."""

    bundle: Bundle
    missing: tuple[str, ...]
    errors: tuple[RowError, ...]

    def to_dict(self) -> dict[str, Any]:
        """What was fitted, in plain types."""
        fitted = self.bundle.calibration
        return {
            **self.bundle.figures["calibration"],
            **(fitted.to_dict() if fitted else {}),
            "missing": list(self.missing),
        }


def calibrate(
    bundle: Bundle,
    images: Sequence[str | os.PathLike[str]],
    labels: str | os.PathLike[str],
    *,
    split: Mapping[str, str] | None = None,
    part: str = "validation",
    level: float = 0.9,
    false_alarms: float = 0.01,
    allow_training: bool = False,
    threads: int = 0,
    batch: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Calibrated:
    """Predict labelled galaxies and fit what the predictions' errors teach.

    A part that chose the training's best epoch is a little kinder to the model than new galaxies are.

    Parameters
    ----------
    images : paths of pictures or folders, named by their galaxy's ID
    labels : path of a table of votes
    split : mapping ID → part, optional
        Only galaxies of `part` are used; without it, all that have a picture and a label.
    level : float in (0, 1)
        What the intervals promise.
    false_alarms : float in (0, 1)
        The share of the domain's own galaxies that may be flagged. The domain is fitted on the pictures of the
        training and of `part`, with or without labels, since the training did not learn what it measures.
    allow_training : bool
        Use galaxies of the training even so; the promise then holds for nothing else.

    Raises
    ------
    CalibrationError
        If the galaxies are those of the training, there are none, or they are too few for any part.
    CatalogError
        If the labels cannot be used, or the split has no such part.
    """
    tree, digest = bundle.tree, hashlib.sha256(Path(labels).read_bytes()).hexdigest()
    if not allow_training:
        _refuse_training(bundle, digest, split, part, labels)
    known = read_votes(labels, tree)
    found = list(find_images(images))
    rows, pictures, errors = _matched(known, found, split, part)
    if not rows:
        what = f" of the {part} part" if split is not None else ""
        raise CalibrationError(f"{labels}: no galaxy{what} has a picture in the images; are the names of one kind?")
    known_pictures = [p for p in found if split is None or split.get(file_id(p.name)) in ("train", part)]
    total = len(pictures) + len(known_pictures)
    model = Model(replace(bundle, calibration=None), threads=threads)
    batches = []
    for told in predict_batches(model, pictures, InferenceOptions(batch_size=batch)):
        batches.append(told)
        if progress:
            progress(sum(map(len, batches)), total)
    told = concatenated(tree, batches)
    good = [i for i, reason in enumerate(told.errors) if not reason]
    errors += [
        RowError(path, 0, id_, "", reason)
        for path, id_, reason in zip(told.paths, told.ids, told.errors, strict=True)
        if reason
    ]
    truth = votes.cumulative_from(known.values[[rows[i] for i in good]], tree)
    calibration, missing = _fitted(bundle, told.cumulative[good], told.class_probability[good], truth, level)
    seen, unread = measured(
        bundle, known_pictures, progress and (lambda done, _: progress(len(pictures) + done, total))
    )
    errors += [error for error in unread if error.file not in set(told.paths)]
    try:
        calibration = replace(calibration, domain=fit_domain(seen, false_alarms))
    except DomainError as error:
        missing += (f"no new domain: {error}",)
    figures = {
        "galaxies": len(good),
        "part": part if split is not None else "all",
        "labels_sha256": digest,
        "left_out": _left_out(bundle, told.cumulative[good], truth, level),
    }
    changed = replace(bundle, calibration=calibration, figures={**bundle.figures, "calibration": figures})
    return Calibrated(changed, missing, tuple(errors))


def _refuse_training(
    bundle: Bundle, digest: str, split: Mapping[str, str] | None, part: str, labels: str | os.PathLike[str]
) -> None:
    if split is None and bundle.training.get("labels_sha256") == digest:
        raise CalibrationError(
            f"{labels}: the model was trained on this table; name the training's split.csv with --split"
        )
    check_part(split, part)
    if part == "train":
        raise CalibrationError(
            "on galaxies that a model was trained on its errors are too small to promise anything; name another --part"
        )


def _matched(
    known: VoteTable, found: Sequence[Path], split: Mapping[str, str] | None, part: str
) -> tuple[list[int], list[Path], list[RowError]]:
    """Rows of the labels with their pictures; of a split's part every one without a picture is told."""
    files = {file_id(path.name): path for path in found}
    wanted = [row for row, id_ in enumerate(known.ids) if split is None or split.get(id_) == part]
    rows = [row for row in wanted if known.ids[row] in files]
    errors = [error for error in known.errors if split is None or split.get(error.id) == part]
    if split is not None:
        errors += [
            RowError(known.path, 0, known.ids[row], "", "no picture of this ID")
            for row in wanted
            if known.ids[row] not in files
        ]
    return rows, [files[known.ids[row]] for row in rows], errors


def _fitted(
    bundle: Bundle, cumulative: Floats, probability: Floats, truth: Floats, level: float
) -> tuple[Calibration, tuple[str, ...]]:
    """The calibration, and what there were too few galaxies for."""
    intervals = classes = None
    missing, fitted = [], 0
    if bundle.outputs.votes:
        intervals = fit_intervals(cumulative, truth, bundle.tree, n_views=bundle.n_views, level=level)
        missing += [f"no interval for {key}: {each.reason}" for key, each in intervals.questions.items() if each.reason]
        fitted += len(intervals.questions) - len(missing)
    if bundle.outputs.classes and bundle.tree.classes:
        true = votes.classify(truth, bundle.tree)
        classes = fit_temperature(probability[true >= 0], true[true >= 0])
        if classes.log_loss_before is None:
            missing.append(f"class probabilities are not calibrated: {classes.reason}")
        else:
            fitted += 1
    if not fitted:
        raise CalibrationError(f"nothing can be promised: {'; '.join(missing)}")
    return replace(bundle.calibration or Calibration(), intervals=intervals, classes=classes), tuple(missing)


def _left_out(bundle: Bundle, cumulative: Floats, truth: Floats, level: float) -> dict[str, Any]:
    """`reliability.coverage` of each galaxy by intervals that were fitted without it and a tenth of the others."""
    if not bundle.outputs.votes:
        return {}
    low, high = np.full((2, *cumulative.shape), np.nan)
    shuffled = np.random.default_rng(0).permutation(len(cumulative))
    for fold in np.array_split(shuffled, FOLDS):
        rest = np.setdiff1d(shuffled, fold)
        fitted = fit_intervals(cumulative[rest], truth[rest], bundle.tree, n_views=bundle.n_views, level=level)
        low[fold], high[fold] = fitted.bounds(cumulative[fold], bundle.tree)
    return coverage(low, high, cumulative, truth, bundle.tree)
