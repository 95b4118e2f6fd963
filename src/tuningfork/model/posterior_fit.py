"""Fit the posterior of the vote fractions on galaxies that the model's training did not see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._utils.gamma import digamma, log_gamma
from ..votes.fractions import conditional_from_cumulative, reach_probability
from ..votes.tree import DecisionTree
from .posterior import RESOLUTION, QuestionPosterior, VotePosterior, features, log_fractions

__all__ = ["fit_posterior"]

Floats = NDArray[np.float64]

#: Fewer galaxies than this say too little of how the errors depend on the prediction.
LEAST_GALAXIES = 50
#: Where the logarithm of the concentration begins, and how far each number of the fit is expected from its beginning:
#: level, slopes of the concentration; slope and terms of the mean.
_BEGIN, _SCALES = 2.3, (3.0, 1.0, 1.0, 0.5, 0.5)
_STEPS, _ENOUGH = 200, 1e-6


def fit_posterior(predicted: Floats, known: Floats, tree: DecisionTree, *, n_views: int) -> VotePosterior:
    """Fit a Dirichlet distribution for each question.

    The fractions of a label table are taken as those of `RESOLUTION` votes, for which the Dirichlet-multinomial
    likelihood (Mosimann 1962, Biometrika 49, 65) is finite where nobody gave an answer. Its maximum, with a normal
    prior around the predictions as they are, gives the values; their covariance is robust against a wrong shape of the
    distribution (White 1982, Econometrica 50, 1).

    Parameters
    ----------
    predicted : (N, A) in [0, 1]
        Cumulative fractions; rows without a prediction (NaN) are left out.
    known : (N, A) in [0, 1]
        The volunteers' cumulative fractions, NaN where unknown; a question counts where all its answers are known.
    n_views : 1, 2, 4 or 8
        Views that `predicted` averages.
    """
    predictions, true = conditional_from_cumulative(predicted, tree), conditional_from_cumulative(known, tree)
    questions = {}
    for number, (question, part) in enumerate(zip(tree.questions, tree.slices, strict=True)):
        rows = ~np.isnan(predictions[:, part] + true[:, part]).any(1)
        reach = reach_probability(predicted, tree, number)
        questions[question.key] = _fit_question(predictions[rows, part], true[rows, part], reach[rows])
    return VotePosterior(n_views, questions)


def _fit_question(predicted: Floats, true: Floats, reach: Floats) -> QuestionPosterior:
    count, answers = true.shape
    if count < LEAST_GALAXIES:
        return QuestionPosterior(count, reason=f"{count} galaxies reach it; {LEAST_GALAXIES} are needed")
    if answers == 1:
        return QuestionPosterior(count, reason="it has one answer only")
    likelihood = _Likelihood(predicted, true, reach)
    values = likelihood.maximum()
    _, scores = likelihood(values)
    inverse = np.linalg.inv(likelihood.curvature(values))
    covariance = inverse @ (scores.T @ scores) @ inverse
    covariance = (covariance + covariance.T) / 2
    return QuestionPosterior(count, tuple(values.tolist()), tuple(map(tuple, covariance.tolist())))


class _Likelihood:
    """Dirichlet-multinomial log likelihood of N galaxies (N, K) and its scores (N, P), with the prior's share."""

    def __init__(self, predicted: Floats, true: Floats, reach: Floats) -> None:
        self.features, self.logs = features(predicted, reach), log_fractions(predicted)
        self.votes = RESOLUTION * true
        scales = np.array([*_SCALES[:4], *[_SCALES[4]] * true.shape[1]])
        self.precision = 1 / scales**2
        self.begin = np.zeros(len(scales))
        self.begin[0] = _BEGIN

    def __call__(self, values: Floats) -> tuple[Floats, Floats]:
        concentration = np.exp(np.clip(self.features @ values[:3], -4, 9))
        scaled = (1 + values[3]) * self.logs + values[4:]
        mean = np.exp(scaled - scaled.max(1, keepdims=True))
        mean /= mean.sum(1, keepdims=True)
        alpha = concentration[:, None] * mean
        log = log_gamma(concentration) - log_gamma(concentration + RESOLUTION)
        log += (log_gamma(alpha + self.votes) - log_gamma(alpha)).sum(1)
        by_alpha = concentration[:, None] * (digamma(alpha + self.votes) - digamma(alpha))
        by_scaled = mean * (by_alpha - (mean * by_alpha).sum(1, keepdims=True))
        by_log = concentration * (digamma(concentration) - digamma(concentration + RESOLUTION))
        by_log += (mean * by_alpha).sum(1)
        by_slope = (by_scaled * self.logs).sum(1, keepdims=True)
        return log, np.hstack([by_log[:, None] * self.features, by_slope, by_scaled])

    def _posterior(self, values: Floats) -> tuple[float, Floats, Floats]:
        log, scores = self(values)
        off = values - self.begin
        prior = -0.5 * float(self.precision @ off**2)
        return float(log.sum()) + prior, scores.sum(0) - self.precision * off, scores

    def maximum(self) -> Floats:
        """Return the values of the greatest likelihood, prior included, by scoring with the scores' outer products.

        Berndt, Hall, Hall & Hausman 1974, Ann. Econ. Soc. Meas. 3, 653; steps are halved until they ascend.
        """
        values = self.begin.copy()
        level, gradient, scores = self._posterior(values)
        for _ in range(_STEPS):
            step = np.linalg.solve(scores.T @ scores + np.diag(self.precision), gradient)
            gain = float(gradient @ step)
            if gain < _ENOUGH:
                break
            factor = 1.0
            while factor > 1e-6:
                trial = self._posterior(values + factor * step)
                if trial[0] > level + 1e-4 * factor * gain:
                    break
                factor /= 2
            else:
                break
            values = values + factor * step
            level, gradient, scores = trial
        return values

    def curvature(self, values: Floats) -> Floats:
        """Return the negative second derivative (P, P), prior included, by differences of the gradient."""
        width, out = 1e-4, np.empty((len(values), len(values)))
        for at in range(len(values)):
            shift = np.zeros(len(values))
            shift[at] = width
            out[at] = (self._posterior(values - shift)[1] - self._posterior(values + shift)[1]) / (2 * width)
        return (out + out.T) / 2
