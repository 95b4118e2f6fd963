"""Fit the posterior of the vote fractions on galaxies that the model's training did not see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._utils.gamma import digamma, log_gamma
from ..votes.fractions import conditional_from_cumulative, reach_probability
from ..votes.tree import DecisionTree
from .posterior import (
    LOG_CONCENTRATION,
    RESOLUTION,
    WIDTH,
    QuestionPosterior,
    Split,
    VotePosterior,
    predictors,
    splits_of,
)

__all__ = ["LEAST_GALAXIES", "fit_posterior"]

Floats = NDArray[np.float64]

#: Fewer galaxies than this say too little of how the errors depend on the prediction.
LEAST_GALAXIES = 50
#: Added to the share of the volunteers who were asked, by which a galaxy counts: less than one volunteer of 40.
LEAST_WEIGHT = 0.005
#: Where the values of a split begin, and how far from there they are expected: a concentration of ten, whatever is
#: predicted, and the predictions as they are.
_BEGIN = np.array([2.3, 0.0, 0.0, 0.0, 0.0, 0.0])
_PRECISION = 1 / np.array([3.0, 1.0, 1.0, 1.0, 0.5, 0.5]) ** 2
_STEPS, _ENOUGH = 200, 1e-6
#: Digits that are kept; the values' own errors are in the second.
_DIGITS = 6


def fit_posterior(predicted: Floats, known: Floats, tree: DecisionTree, *, n_views: int) -> VotePosterior:
    """Fit a generalised Dirichlet distribution for each question.

    The fractions of a label table are taken as those of `RESOLUTION` votes, for which the beta-binomial likelihood
    (Skellam 1948, J. R. Stat. Soc. B 10, 257) is finite where nobody gave an answer. Its maximum, with a normal prior,
    gives the values of each split; their covariance is robust against a wrong shape of the distribution (White 1982,
    Econometrica 50, 1). A galaxy counts for the share of the volunteers who were asked: where few were, their fractions
    are mostly chance, and as most galaxies are of that kind for most questions, they would else decide the shape of the
    distribution for the others, too.

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
        rows = np.logical_not(np.any(np.isnan(predictions[:, part] + true[:, part]), 1))
        reach = reach_probability(predicted, tree, number)[rows]
        share_asked = known[rows, part].sum(1)
        questions[question.key] = _fit_question(predictions[rows, part], true[rows, part], reach, share_asked)
    return VotePosterior(n_views, questions)


def _fit_question(predicted: Floats, true: Floats, reach: Floats, share_asked: Floats) -> QuestionPosterior:
    count = len(true)
    if count < LEAST_GALAXIES:
        return QuestionPosterior(count, reason=f"{count} galaxies reach it; {LEAST_GALAXIES} are needed")
    order = tuple(np.argsort(-true.mean(0), kind="stable").tolist())
    splits = []
    for (_, share, left), (_, true_share, true_left) in zip(
        splits_of(order, predicted), splits_of(order, true), strict=True
    ):
        rows = true_left > 0
        weight = (share_asked * true_left)[rows]
        splits.append(_fit_split(share[rows], (reach * left)[rows], true_share[rows], weight))
    return QuestionPosterior(count, order, tuple(splits))


def _fit_split(share: Floats, reach: Floats, true: Floats, weight: Floats) -> Split:
    likelihood = _Likelihood(share, reach, true, weight)
    values = likelihood.maximum()
    _, scores = likelihood(values)
    inverse = np.linalg.inv(likelihood.curvature(values))
    # With the prior's share: where no galaxy says anything, the covariance is the prior's.
    covariance = inverse @ (scores.T @ scores + np.diag(_PRECISION)) @ inverse
    lower = ((covariance + covariance.T) / 2)[np.tril_indices(WIDTH)]
    return Split(_rounded(values), _rounded(lower))


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values.tolist())


class _Likelihood:
    """Weighted beta-binomial log likelihood of N galaxies' shares of an answer, and its scores (N, 6)."""

    def __init__(self, share: Floats, reach: Floats, true: Floats, weight: Floats) -> None:
        self.of_concentration, self.of_mean = predictors(share, reach)
        self.yes, self.no = RESOLUTION * true, RESOLUTION * (1 - true)
        weight = weight + LEAST_WEIGHT
        # In all, as many galaxies as would say so much if each counted alike (Kish 1965, Survey Sampling, sec. 11.7).
        self.weight = weight * weight.sum() / max((weight**2).sum(), LEAST_WEIGHT**2)

    def __call__(self, values: Floats) -> tuple[Floats, Floats]:
        count = len(self.of_concentration)
        concentration = np.exp(np.clip(values[:count] @ self.of_concentration, *LOG_CONCENTRATION))
        logit = self.of_mean[0] + values[count:] @ self.of_mean
        mean = 1 / (1 + np.exp(-np.clip(logit, -20, 20)))
        alpha, beta = concentration * mean, concentration * (1 - mean)
        log = log_gamma(concentration) - log_gamma(concentration + RESOLUTION)
        log += log_gamma(alpha + self.yes) - log_gamma(alpha) + log_gamma(beta + self.no) - log_gamma(beta)
        by_alpha = digamma(alpha + self.yes) - digamma(alpha)
        by_beta = digamma(beta + self.no) - digamma(beta)
        by_log = concentration * (digamma(concentration) - digamma(concentration + RESOLUTION))
        by_log += alpha * by_alpha + beta * by_beta
        by_logit = concentration * mean * (1 - mean) * (by_alpha - by_beta)
        scores = np.vstack([by_log * self.of_concentration, by_logit * self.of_mean])
        return self.weight * log, (self.weight * scores).T

    def _with_prior(self, values: Floats) -> tuple[float, Floats, Floats]:
        log, scores = self(values)
        off = values - _BEGIN
        return float(log.sum()) - 0.5 * float(_PRECISION @ off**2), scores.sum(0) - _PRECISION * off, scores

    def maximum(self) -> Floats:
        """Return the values of the greatest likelihood, prior included, by the scores' outer products.

        Berndt, Hall, Hall & Hausman 1974, Ann. Econ. Soc. Meas. 3, 653; steps are halved until they ascend.
        """
        values = _BEGIN.copy()
        level, gradient, scores = self._with_prior(values)
        for _ in range(_STEPS):
            step = np.linalg.solve(scores.T @ scores + np.diag(_PRECISION), gradient)
            gain, factor = float(gradient @ step), 1.0
            if gain < _ENOUGH:
                break
            trial = self._with_prior(values + step)
            while trial[0] < level + 1e-4 * factor * gain and factor > 1e-6:
                factor /= 2
                trial = self._with_prior(values + factor * step)
            if trial[0] <= level:
                break
            values = values + factor * step
            level, gradient, scores = trial
        return values

    def curvature(self, values: Floats) -> Floats:
        """Return the negative second derivative (6, 6), prior included, by differences of the gradient."""
        width, out = 1e-4, np.empty((WIDTH, WIDTH))
        for at, shift in enumerate(width * np.eye(WIDTH)):
            out[at] = (self._with_prior(values - shift)[1] - self._with_prior(values + shift)[1]) / (2 * width)
        return (out + out.T) / 2
