"""Calibration: conformal intervals, class probabilities and out-of-domain detection, fitted on labelled galaxies."""

from __future__ import annotations

import hashlib
import logging
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
from ..model.card import model_card
from ..model.class_calibration import ClassCalibration, class_scores, contradictory
from ..model.class_calibration_fit import fit_classes
from ..model.intervals import fit_intervals
from ..model.model import Model
from ..model.options import InferenceOptions
from ..model.out_of_domain import DomainError, fit_novelty_detector
from ..model.posterior_fit import fit_posterior
from ..model.predictions import Predictions, concatenated
from ..model.training_ids import TrainingIDs
from ..pipeline.in_process import predict_batches
from ..tables import RowError
from ..tables.identifiers import file_id
from ..votes.clean_samples import Status, decision_weights
from ..votes.label_table import LabelTable
from ..votes.split_file import check_subset
from ..votes.values_kind import kind_conflict
from ..votes.vote_table import VoteTable
from .ood_evaluation import image_statistics
from .reliability import coverage
from .training_overlap import leave_out_training

__all__ = [
    "CalibrationResult",
    "CalibrationError",
    "CalibrationOptions",
    "calibrate",
    "fit_calibration",
    "fit_class_calibration",
    "held_out_bounds",
]

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
#: Folds of the cross-validation that measures the coverage of the intervals.
FOLDS = 10


class CalibrationError(TuningforkError, ValueError):
    """A calibration that would promise what it cannot hold; the message says what to do."""


@dataclass(frozen=True)
class CalibrationResult:
    """A calibrated bundle, what there were too few galaxies for, and rows that could not be used."""

    bundle: Bundle
    missing: tuple[str, ...]
    errors: tuple[RowError, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what was fitted, in plain types."""
        fitted = self.bundle.calibration
        return {
            **self.bundle.figures["calibration"],
            **(fitted.to_dict() if fitted else {}),
            "missing": list(self.missing),
        }


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """What a calibration promises, and how it is computed.

    Parameters
    ----------
    level : float in (0, 1)
        The share of galaxies that the intervals are to hold (split conformal prediction).
    false_alarms : float in (0, 1)
        The share of in-domain galaxies that may be flagged as out of domain. The novelty detector is fitted on the
        images of the training and of the calibration subset, with or without labels, since the training did not
        learn what it measures.
    include_training : bool
        Whether to use galaxies that the model was trained on; the promise then holds for nothing else.
    threads : int
        Of the networks; 0: all cores.
    batch_size : int, at least 1
        Images at a time.

    Raises
    ------
    ValueError
        If a share is not between 0 and 1.
    """

    level: float = 0.9
    false_alarms: float = 0.01
    include_training: bool = False
    threads: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("level", "false_alarms"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; it must be between 0 and 1")


def calibrate(
    bundle: Bundle,
    images: Sequence[str | os.PathLike[str]],
    labels: LabelTable,
    *,
    split: Mapping[str, str] | None = None,
    subset: str = "validation",
    options: CalibrationOptions = CalibrationOptions(),
    progress: Callable[[int, int], None] | None = None,
) -> CalibrationResult:
    """Calibrate a model on labelled galaxies: intervals, class probabilities, and out-of-domain detection.

    A subset that chose the training's best epoch is a little kinder to the model than new galaxies are.

    Parameters
    ----------
    bundle : Bundle
    images : sequence of paths
        Images or folders of them, named by their galaxy's ID.
    labels : LabelTable
        Of the bundle's tree, as `read_labels` reads it.
    split : mapping of ID → subset, optional
        Only galaxies of `subset` are used; without it, all that have an image and a label.
    options : CalibrationOptions
    progress : callable (images done, images in all), optional

    Raises
    ------
    CalibrationError
        If the galaxies are those of the training, there are none, or they are too few for anything.
    CatalogError
        If the labels cannot be used, or the split has no such subset.

    Examples
    --------
    >>> import tempfile, tuningfork
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = tuningfork.simulate(f"{folder}/galaxies", n=60, workers=1)
    ...     labels = tuningfork.read_labels(data / "training_solutions_rev1.csv")
    ...     options = CalibrationOptions(level=0.8, false_alarms=0.1)
    ...     calibrated = calibrate(
    ...         tuningfork.load("fast").bundle, [data / "images_training_rev1"], labels, options=options
    ...     )
    >>> calibrated.bundle.calibration.intervals.level
    0.8
    """
    if conflict := kind_conflict(
        f"the model {bundle.name}", bundle.target.values_kind, labels.path, labels.tree.values_kind
    ):
        logger.warning("%s; the intervals will be of the labels' fractions", conflict)
    digest = hashlib.sha256(Path(labels.path).read_bytes()).hexdigest()
    check_subset(split, subset)
    files = list(find_images(images))
    rows, paths, errors = _match_files(labels, files, split, subset)
    unseen = _not_trained_on(bundle, labels, rows, digest, split, subset, options)
    rows, paths = [rows[at] for at in unseen], [paths[at] for at in unseen]
    if not rows:
        which = f" of the {subset} part" if split is not None else ""
        raise CalibrationError(
            f"{labels.path}: no galaxy{which} has an image in the folders; are the names of one kind?"
        )
    domain_images = [p for p in files if split is None or split.get(file_id(p.name)) in ("train", subset)]
    total = len(paths) + len(domain_images)
    predictions = _predict(bundle, paths, options, progress and (lambda done: progress(done, total)))
    good = [i for i, reason in enumerate(predictions.errors) if not reason]
    errors += [
        RowError(path, 0, id_, "", reason)
        for path, id_, reason in zip(predictions.paths, predictions.ids, predictions.errors, strict=True)
        if reason
    ]
    predicted = predictions.votes.select(good)
    truth = labels.votes.select([rows[i] for i in good])
    calibration, missing = fit_calibration(bundle, predicted, predictions.class_probability[good], truth, options.level)
    statistics, unread = image_statistics(
        bundle, domain_images, progress and (lambda done, _: progress(len(paths) + done, total))
    )
    errors += [error for error in unread if error.file not in set(predictions.paths)]
    try:
        # Of images that can be read; a false alarm is promised of galaxies that are new to the model.
        unreadable = {error.file for error in unread}
        trained = _trained_on(bundle, [file_id(p.name) for p in domain_images if str(p) not in unreadable], options)
        domain = fit_novelty_detector(statistics, options.false_alarms, training=trained)
        calibration = replace(calibration, domain=domain)
    except DomainError as error:
        missing += (f"no new domain: {error}",)
    figures = {
        "galaxies": len(good),
        "part": subset if split is not None else "all",
        "labels_sha256": digest,
        "left_out": _left_out(bundle, predicted, truth, options.level),
    }
    ids = (bundle.training_ids or TrainingIDs(digest, {})).with_subset("calibration", truth.ids)
    return CalibrationResult(_with_calibration(bundle, calibration, figures, ids), missing, tuple(errors))


def _predict(
    bundle: Bundle, paths: Sequence[Path], options: CalibrationOptions, progress: Callable[[int], None] | None
) -> Predictions:
    """Predictions of a bundle without its calibration; `progress` gets the number of images done."""
    model = Model(replace(bundle, calibration=None), threads=options.threads)
    batches, done = [], 0
    for batch in predict_batches(model, paths, InferenceOptions(batch_size=options.batch_size)):
        batches.append(batch)
        done += len(batch)
        if progress:
            progress(done)
    return concatenated(model.tree, batches)


def _with_calibration(bundle: Bundle, calibration: Calibration, figures: Mapping[str, Any], ids: TrainingIDs) -> Bundle:
    """The bundle with a calibration, its figures and the galaxies that it was fitted on; its card is written anew."""
    changed = replace(
        bundle,
        calibration=calibration,
        # Samples by another calibration's probabilities are other samples.
        figures={**{key: each for key, each in bundle.figures.items() if key != "purity"}, "calibration": figures},
        training={**bundle.training, "id_hashes": ids.to_dict()},
    )
    if "CARD.md" not in bundle.documents:
        return changed
    return replace(changed, documents={**bundle.documents, "CARD.md": model_card(changed)})


def _not_trained_on(
    bundle: Bundle,
    labels: LabelTable,
    rows: Sequence[int],
    digest: str,
    split: Mapping[str, str] | None,
    subset: str,
    options: CalibrationOptions,
) -> list[int]:
    """Which of the rows of the labels, by position, the model was not trained on. Raises CalibrationError if none."""
    unseen, _ = leave_out_training(
        [labels.ids[row] for row in rows], bundle.training_ids, include=options.include_training, among=("train",)
    )
    if (rows and not unseen) or (not options.include_training and split is not None and subset == "train"):
        raise CalibrationError(
            f"{labels.path}: the model was trained on these galaxies, so its errors are too small to promise anything; "
            "name others, or another --part"
        )
    # A bundle that does not say which galaxies it was trained on may name the label table.
    is_training_table = bundle.training.get("labels_sha256") == digest
    if bundle.training_ids is None and not options.include_training and split is None and is_training_table:
        raise CalibrationError(
            f"{labels.path}: the model was trained on this table; name the training's split.csv with --split"
        )
    return unseen


def _trained_on(bundle: Bundle, ids: Sequence[str], options: CalibrationOptions) -> NDArray[np.bool_]:
    """(N,) whether the model was trained on each galaxy, as far as the bundle says."""
    if bundle.training_ids is None or options.include_training:
        return np.zeros(len(ids), bool)
    return np.array([bool(subset) for subset in bundle.training_ids.subsets(ids, ("train",))], bool)


def _match_files(
    labels: LabelTable, files: Sequence[Path], split: Mapping[str, str] | None, subset: str
) -> tuple[list[int], list[Path], list[RowError]]:
    """Rows of the labels with their images; of a split's subset every galaxy without an image is an error."""
    by_id = {file_id(path.name): path for path in files}
    wanted = [row for row, id_ in enumerate(labels.ids) if split is None or split.get(id_) == subset]
    rows = [row for row in wanted if labels.ids[row] in by_id]
    errors = [error for error in labels.errors if split is None or split.get(error.id) == subset]
    if split is not None:
        errors += [
            RowError(labels.path, 0, labels.ids[row], "", "no image of this ID")
            for row in wanted
            if labels.ids[row] not in by_id
        ]
    return rows, [by_id[labels.ids[row]] for row in rows], errors


def fit_calibration(
    bundle: Bundle, predicted: VoteTable, probability: Floats, truth: VoteTable, level: float
) -> tuple[Calibration, tuple[str, ...]]:
    """Fit all parts of a calibration that come from labelled galaxies.

    Parameters
    ----------
    bundle : Bundle
        What it predicts, and its novelty detector, which stays.
    predicted, truth : VoteTable
        The model's and the volunteers' fractions of N galaxies that the training did not see.
    probability : (N, C)
        The networks' class outputs.
    level : float in (0, 1)
        Of the intervals.

    Returns
    -------
    Calibration, and what there were too few galaxies for, in words

    Raises
    ------
    CalibrationError
        If they are too few for anything.
    """
    intervals = classes = posterior = None
    missing, fitted = [], 0
    if bundle.outputs.votes:
        intervals = fit_intervals(
            predicted.fractions, truth.fractions, bundle.tree, n_views=bundle.n_views, level=level
        )
        missing += [f"no interval for {key}: {each.reason}" for key, each in intervals.questions.items() if each.reason]
        fitted += len(intervals.questions) - len(missing)
        posterior = fit_posterior(predicted.fractions, truth.fractions, bundle.tree, n_views=bundle.n_views)
        missing += [f"no draws of {key}: {reason}" for key, reason in posterior.missing.items()]
    if bundle.tree.classes:
        classes = fit_class_calibration(bundle, predicted.fractions, probability, truth)
        if classes.log_loss_before is None:
            missing.append(f"class probabilities are not calibrated: {classes.reason}")
        else:
            fitted += 1
    if not fitted:
        raise CalibrationError(f"nothing can be promised: {'; '.join(missing)}")
    previous = bundle.calibration or Calibration()
    return replace(previous, intervals=intervals, classes=classes, posterior=posterior), tuple(missing)


def fit_class_calibration(
    bundle: Bundle, cumulative: Floats, probability: Floats, truth: VoteTable
) -> ClassCalibration:
    """Calibrated class probabilities: from the predicted votes where there are any, else from the class outputs."""
    tree, classes = bundle.tree, truth.classes
    if not bundle.outputs.votes:
        scores, contradictions = class_scores(tree, probability=probability), None
    else:
        scores, contradictions = class_scores(tree, votes=cumulative), contradictory(cumulative, tree)
    if np.isinf(scores[:, -1]).all():  # there is no such galaxy as one without a class
        classes = np.where(classes < 0, np.int8(Status.UNDECIDED), classes)
    weights = decision_weights(truth.fractions, tree)
    return fit_classes(scores, classes, contradictions, weights, source="votes" if bundle.outputs.votes else "network")


def held_out_bounds(
    predicted: VoteTable, truth: VoteTable, n_views: int, level: float, fold: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Return bounds (N, A) of each galaxy's fractions by intervals that were fitted without its fold (N,)."""
    low, high = np.full((2, *predicted.fractions.shape), np.nan)
    for number in np.unique(fold):
        test, train = fold == number, fold != number
        intervals = fit_intervals(
            predicted.fractions[train], truth.fractions[train], predicted.tree, n_views=n_views, level=level
        )
        low[test], high[test] = intervals.bounds(predicted.fractions[test], predicted.tree)
    return low, high


def _left_out(bundle: Bundle, predicted: VoteTable, truth: VoteTable, level: float) -> dict[str, Any]:
    """`reliability.coverage` by cross-validation."""
    if not bundle.outputs.votes:
        return {}
    fold = np.random.default_rng(0).permutation(len(predicted)) % FOLDS
    low, high = held_out_bounds(predicted, truth, bundle.n_views, level, fold)
    return coverage(low, high, predicted.fractions, truth.fractions, bundle.tree)
