"""Class probabilities from predicted votes, "no clean class" among them: a multinomial model of the rules' margins.

A galaxy belongs to a clean sample if the volunteers' votes pass all thresholds of a rule; most galaxies pass none. The
predicted votes are not the volunteers', so which rule is passed is uncertain. The least margin of each rule is turned
into a probability by multinomial logistic regression: class c has the logit ``slope * margin_c / 0.1 + offset_c``, with
another slope where the margin is positive, and no class has 0 (Platt scaling and its vector form: Guo et al. 2017,
arXiv:1706.04599). A class that contradicts the votes is never more probable than none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..votes.class_labels import is_class_tree
from ..votes.clean_samples import class_margins, justified
from ..votes.fractions import softmax
from ..votes.tree import DecisionTree

__all__ = ["ClassCalibration", "class_index", "class_probabilities", "class_scores", "contradictory"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: What class probabilities are made of, in words.
SOURCES = {"network": "the network's class outputs", "votes": "the predicted fractions"}
#: Scale of the margins, a difference of fractions, before calibration.
MARGIN_SCALE = 0.1
#: By how much the logit of a class that contradicts the votes stays below that of none.
BELOW_NONE = 0.01
#: What a probability counts for at least, where its logarithm is taken.
LEAST_PROBABILITY = 1e-12


@dataclass(frozen=True, slots=True)
class ClassCalibration:
    """Probabilities of C classes and of none from their scores: slopes for all, and an offset for each class.

    Parameters
    ----------
    slope : float in [0.01, 100]
        Of scores below 0; below 1 the probabilities become more cautious, as with a temperature of 1 / slope.
    offsets : (C,) tuple of float, or ()
        Added to the scaled scores of the classes; (): zeros.
    galaxies : int
        Those that it was fitted on.
    undecided : int
        Those that were left out, since votes that would decide their class are unknown.
    log_loss_before, log_loss_after : float or None
        Weighted mean of −log probability of the class, or none: without calibration, and with one that was fitted
        without the galaxy's fold. None if it was not fitted.
    reason : str
        Why the probabilities stay as they are; "" if they do not.
    source : "network" or "votes"
        What the scores are made of; see `class_scores`.
    slope_above : float in [0.01, 100] or None
        Of scores above 0; None: the same. A galaxy whose predicted votes pass a rule by much is not as certain as one
        that misses it by as much.
    """

    slope: float = 1.0
    offsets: tuple[float, ...] = ()
    galaxies: int = 0
    undecided: int = 0
    log_loss_before: float | None = None
    log_loss_after: float | None = None
    reason: str = ""
    source: str = "votes"
    slope_above: float | None = None

    def __post_init__(self) -> None:
        for slope in (self.slope, self.slope if self.slope_above is None else self.slope_above):
            if type(slope) is not float or not 0.01 <= slope <= 100:
                raise ValueError(f"classes: slope {slope!r} is not in 0.01…100")
        if not all(type(offset) is float and abs(offset) <= 100 for offset in self.offsets):
            raise ValueError(f"classes: offsets {self.offsets!r} are not numbers in −100…100")
        for number in (self.galaxies, self.undecided):
            if type(number) is not int or number < 0:
                raise ValueError(f"classes: {number!r} is no number of galaxies")
        if type(self.reason) is not str:
            raise ValueError(f"classes: reason {self.reason!r} makes no sense")
        if self.source not in SOURCES:
            raise ValueError(f"classes: source {self.source!r} is none of {', '.join(SOURCES)}")
        for loss in (self.log_loss_before, self.log_loss_after):
            if loss is not None and not (type(loss) in (int, float) and 0 <= loss < math.inf):
                raise ValueError(f"classes: {loss!r} is no log loss")

    def check(self, tree: DecisionTree) -> None:
        """Raise ValueError if it is of another tree."""
        if not tree.classes:
            raise ValueError(f"classes: tree {tree.name} has none")
        if self.offsets and len(self.offsets) != len(tree.classes):
            raise ValueError(f"classes: {len(self.offsets)} offsets, but tree {tree.name} has {len(tree.classes)}")

    def __call__(self, scores: Floats, contradictions: Bools | None = None) -> Floats:
        """Return the probabilities of the classes and, last, of none.

        Parameters
        ----------
        scores : (N, C + 1) float64
            As `class_scores` gives them; NaN stays NaN.
        contradictions : (N, C) bool, optional
            Classes that must not be more probable than none.

        Returns
        -------
        (N, C + 1) float64, sums 1
        """
        return softmax(self.logits(scores, contradictions))

    def logits(self, scores: Floats, contradictions: Bools | None = None) -> Floats:
        """Return the logarithms of what a call returns, but for a constant of each row; see there."""
        logits = scores * self.slope
        if self.slope_above is not None:
            logits += np.maximum(scores, 0) * (self.slope_above - self.slope)
        if self.offsets:
            logits[:, :-1] += np.array(self.offsets)
        if contradictions is not None:
            limit = logits[:, -1:] - BELOW_NONE
            logits[:, :-1] = np.where(contradictions, np.minimum(logits[:, :-1], limit), logits[:, :-1])
        return logits

    def summary(self) -> str:
        """Return what they are made of, and how well they were calibrated, in words."""
        result = self.reason or f"log loss {self.log_loss_before:.4f} before, {self.log_loss_after:.4f} after"
        left_out = f", {self.undecided} undecided ones left out" if self.undecided else ""
        slopes = f"slope {self.slope:.3g}" + ("" if self.slope_above is None else f" and {self.slope_above:.3g}")
        return f"from {SOURCES[self.source]}: {slopes}, {self.galaxies} galaxies{left_out} ({result})"

    def to_dict(self) -> dict[str, Any]:
        """Plain types; `from_dict` reads them back."""
        return {**asdict(self), "offsets": list(self.offsets)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClassCalibration:
        """From the plain form. Raises ValueError or TypeError if it is none."""
        data = dict(data)
        if "temperature" in data:  # bundles written by version 0.1, fitted on galaxies that have a class
            temperature = data.pop("temperature")
            if type(temperature) is not float or not 0.1 <= temperature <= 10:
                raise ValueError(f"classes: temperature {temperature!r} is not in 0.1…10")
            return cls(1 / temperature, **{"source": "network", **data})
        offsets = tuple(data.pop("offsets", ()))
        return cls(data.pop("slope", None), offsets, **data)


def class_probabilities(
    calibration: ClassCalibration | None,
    tree: DecisionTree,
    *,
    votes: Floats | None = None,
    probability: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Return the probability of each class given that the galaxy has one, and that of none.

    Parameters
    ----------
    calibration : ClassCalibration or None
        None, or one of another source: not calibrated.
    tree : DecisionTree
    votes : (N, A) float64 or None
        Predicted cumulative fractions; None: the classes follow from `probability`.
    probability : (N, C) float64 or None
        Class outputs of networks that predict no votes.

    Returns
    -------
    (N, C) and (N,) float64
        NaN where the votes are, or everywhere if nothing of classes is predicted. The probability of none is NaN if
        the networks know only galaxies that have a class.
    """
    source = "network" if votes is None else "votes"
    if calibration is None or calibration.source != source:
        calibration = ClassCalibration(source=source)
    if not tree.classes:
        rows = votes if votes is not None else probability
        assert rows is not None
        return np.empty((len(rows), 0)), np.full(len(rows), np.nan)
    scores = class_scores(tree, votes=votes, probability=probability)
    logits = calibration.logits(scores, None if votes is None else contradictory(votes, tree))
    none = softmax(logits)[:, -1]
    return softmax(logits[:, :-1]), none if votes is not None or is_class_tree(tree) else np.full(len(none), np.nan)


def class_index(probability: Floats, no_class: Floats) -> NDArray[np.int8]:
    """Return the most probable of the classes and none.

    Parameters
    ----------
    probability : (N, C) float64
        Of each class given that there is one.
    no_class : (N,) float64
        Of none; NaN counts as 0.

    Returns
    -------
    (N,) int8
        0 to C − 1, C if it is none; −1 without a prediction.
    """
    none = np.nan_to_num(no_class)
    joint = np.concatenate([probability * (1 - none)[:, None], none[:, None]], 1)
    missing = np.isnan(joint).any(1) | (probability.shape[1] == 0)
    return np.where(missing, -1, np.argmax(np.where(missing[:, None], 0, joint), 1)).astype(np.int8)


def class_scores(tree: DecisionTree, *, votes: Floats | None = None, probability: Floats | None = None) -> Floats:
    """Return the scores of the classes and, last, of none: logits before calibration.

    Parameters
    ----------
    tree : DecisionTree
    votes : (N, A) float64 in [0, 1]
        Predicted cumulative fractions: the least margin of each rule over `MARGIN_SCALE`; of none, 0. In a tree whose
        answers are classes, the logarithm of the fraction; of none, −∞, since every galaxy has a class.
    probability : (N, C) float64, sums 1
        Instead of the votes, the class outputs of networks that predict no votes: their logarithm; of none, −∞, since
        such networks know only galaxies that have a class.

    Returns
    -------
    (N, C + 1) float64
    """
    if votes is not None and not is_class_tree(tree):
        scores = class_margins(votes, tree) / MARGIN_SCALE
        none = 0.0
    else:
        if votes is not None:
            probability = votes[:, [tree.positions[rule.all_of[0][0]] for rule in tree.classes]]
        assert probability is not None
        scores = np.log(np.maximum(probability, LEAST_PROBABILITY))
        none = -math.inf
    return np.concatenate([scores, np.full((len(scores), 1), none)], 1)


def contradictory(votes: Floats, tree: DecisionTree) -> Bools | None:
    """(N, C) whether each class would contradict the votes; None in a tree whose answers are classes."""
    return None if is_class_tree(tree) else ~justified(votes, tree)
