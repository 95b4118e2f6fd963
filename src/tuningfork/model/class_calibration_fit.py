"""The fit of `ClassCalibration`: its most probable parameters on galaxies whose class is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..votes.clean_samples import Status
from .class_calibration import BELOW_NONE, LEAST_PROBABILITY, Bools, ClassCalibration, Floats

__all__ = ["fit_classes"]

#: Fewer galaxies than this cannot tell one calibration from another.
LEAST_GALAXIES = 50
#: Width of the normal prior of slopes (around 1) and offsets (around 0).
PRIOR = 1.0
#: Folds of the cross-validation that judges a calibration.
FOLDS = 10


def fit_classes(
    scores: Floats,
    classes: NDArray[np.integer],
    contradictions: Bools | None = None,
    weights: Floats | None = None,
    *,
    source: str = "votes",
) -> ClassCalibration:
    """Fit slope and offsets by penalised likelihood, if they also do better on galaxies that they were not fitted on.

    Parameters
    ----------
    scores : (N, C + 1) float64
    classes : (N,) int
        The true ones, as `votes.clean_samples.classify` gives them: −1 has none, −2 is not known and left out.
    contradictions : (N, C) bool, optional
    weights : (N,) float64, optional
        For how many galaxies each counts; see `votes.clean_samples.decision_weights`.
    source : "votes" or "network"
        What the scores are made of; see `class_scores`.

    Returns
    -------
    ClassCalibration
        With the weighted log losses of a cross-validation; without slopes and offsets, but with the reason, if
        there are too few galaxies or it does no better.
    """
    known = classes > Status.UNDECIDED
    count, width = int(known.sum()), scores.shape[1] - 1
    about: dict[str, Any] = {"galaxies": count, "undecided": len(known) - count, "source": source}
    if count < LEAST_GALAXIES:
        reason = f"the votes decide the class of {count}; {LEAST_GALAXIES} are needed"
        return ClassCalibration(reason=reason, **about)
    data = _Data(
        scores[known],
        np.where(classes[known] < 0, width, classes[known]).astype(int),
        np.zeros((count, width), bool) if contradictions is None else contradictions[known],
        np.ones(count) if weights is None else weights[known],
    )
    # Folds by what the galaxies are, so that their order is of no importance.
    order = np.lexsort((*data.scores.T[:-1], data.classes))
    before = after = 0.0
    for k in range(FOLDS):
        test = np.zeros(len(order), bool)
        test[order[k::FOLDS]] = True
        before += _loss(ClassCalibration(), data.rows(test))
        after += _loss(_most_probable(data.rows(~test)), data.rows(test))
    before, after = before / float(data.weights.sum()), after / float(data.weights.sum())
    if after >= before:
        reason = f"on galaxies left out, a calibration is no better (log loss {after:.4f}) than none ({before:.4f})"
        return ClassCalibration(log_loss_before=before, log_loss_after=after, reason=reason, **about)
    return replace(_most_probable(data), log_loss_before=before, log_loss_after=after, **about)


@dataclass(frozen=True, slots=True)
class _Data:
    """Galaxies whose class (N,) is known: 0…C−1, C none; scores (N, C + 1), contradictions (N, C), weights (N,)."""

    scores: Floats
    classes: NDArray[np.int64]
    contradictions: Bools
    weights: Floats

    def rows(self, rows: Bools) -> _Data:
        return _Data(self.scores[rows], self.classes[rows], self.contradictions[rows], self.weights[rows])


class _Posterior:
    """Minus the logarithm of the posterior of the parameters (2 + C,): slopes below and above 0, offsets."""

    def __init__(self, data: _Data) -> None:
        self.data = data
        count, classes = len(data.classes), data.scores.shape[1] - 1
        scores = data.scores[:, :-1]
        self.true = np.zeros((count, classes))
        has_class = data.classes < classes
        self.true[has_class, data.classes[has_class]] = 1.0
        #: What the parameters multiply, (2 + C, N, C): the scores below and above 0, and one class each.
        self.factors = np.stack([np.minimum(scores, 0), np.maximum(scores, 0), *np.zeros((classes, count, classes))])
        self.factors[2 + np.arange(classes), :, np.arange(classes)] = 1
        self.prior_mean = np.concatenate([np.ones(2), np.zeros(classes)])
        self.has_positive = bool((scores > 0).any())

    def calibration(self, parameters: Floats) -> ClassCalibration:
        below, above = np.clip(parameters[:2], 0.01, 100).tolist()
        offsets = tuple(np.clip(parameters[2:], -100, 100).tolist())
        return ClassCalibration(below, offsets, slope_above=above if self.has_positive else None)

    def __call__(self, parameters: Floats) -> float:
        penalty = float(((parameters - self.prior_mean) ** 2).sum()) / (2 * PRIOR**2)
        return _loss(self.calibration(parameters), self.data) + penalty

    def newton_step(self, parameters: Floats) -> Floats:
        """What Newton's method subtracts from the parameters."""
        data, factors, current = self.data, self.factors, self.calibration(parameters)
        weights, count = data.weights[:, None], len(self.prior_mean)
        probability = current(data.scores, data.contradictions)[:, :-1]
        # A class that is held below none does not depend on the parameters.
        free = ~data.contradictions | (current.logits(data.scores)[:, :-1] < -BELOW_NONE)
        residual = np.where(free, weights * (probability - self.true), 0.0)
        p = np.where(free, probability, 0.0)
        mean = (p * factors).sum(2)
        gradient = (residual * factors).sum((1, 2)) + (parameters - self.prior_mean) / PRIOR**2
        weighted = (factors * (weights * p)).reshape(count, -1)
        hessian = weighted @ factors.reshape(count, -1).T - (mean * data.weights) @ mean.T
        return np.linalg.solve(hessian + np.eye(count) / PRIOR**2, gradient)


def _most_probable(data: _Data) -> ClassCalibration:
    """The mode of the posterior, by Newton's method with halved steps."""
    posterior = _Posterior(data)
    parameters = posterior.prior_mean
    best = posterior(parameters)
    for _ in range(50):
        step, size = posterior.newton_step(parameters), 1.0
        while size > 1e-4 and not (value := posterior(parameters - size * step)) < best:
            size /= 2
        if size <= 1e-4:
            break
        parameters, converged = parameters - size * step, best - value < 1e-9 * max(1.0, abs(best))
        best = value
        if converged:
            break
    return posterior.calibration(parameters)


def _loss(calibration: ClassCalibration, data: _Data) -> float:
    """Weighted sum of −log probability of the true class, or of none."""
    true = calibration(data.scores, data.contradictions)[np.arange(len(data.classes)), data.classes]
    return float(-(data.weights * np.log(np.maximum(true, LEAST_PROBABILITY))).sum())
