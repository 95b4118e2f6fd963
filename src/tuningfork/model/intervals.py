"""Split conformal prediction: intervals of vote fractions that hold the volunteers' fraction as often as promised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..votes.fractions import conditional_from_cumulative, reach_probability
from ..votes.tree import DecisionTree
from .conformal import bound, galaxies_needed
from .views import check_n_views

__all__ = ["Intervals", "QuestionIntervals", "fit_intervals"]

Floats = NDArray[np.float64]

#: Volunteers who see a galaxy of Galaxy Zoo 2, about; other campaigns differ by a factor that the fit takes up.
VOTERS = 40.0
#: No error is expected to be smaller; a single volunteer of 40 is 0.025.
LEAST_ERROR = 1e-3


@dataclass(frozen=True, slots=True)
class QuestionIntervals:
    """How wide the intervals of one question's answers are.

    Parameters
    ----------
    galaxies : int
        Those that it was fitted on: volunteers reached the question, and all its answers are known.
    model, noise : float, at least 0
        The expected error of a fraction f is √(model + noise · f(1 − f) / (voters · reach + 1)).
    quantiles : tuple of float, one for each answer, at least 0
        Half widths in expected errors; empty if there are too few galaxies.
    reason : str
        Why there are no intervals; "" if there are.
    """

    galaxies: int
    model: float = 0.0
    noise: float = 0.0
    quantiles: tuple[float, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        numbers = (self.model, self.noise, *self.quantiles)
        if not all(type(x) in (int, float) and math.isfinite(x) and x >= 0 for x in numbers):
            raise ValueError(f"intervals: {numbers} are not finite numbers of at least 0")
        if type(self.galaxies) is not int or self.galaxies < 0 or type(self.reason) is not str:
            raise ValueError(f"intervals: galaxies {self.galaxies!r} or reason {self.reason!r} makes no sense")
        if bool(self.quantiles) == bool(self.reason):
            raise ValueError("intervals: a question has either quantiles or a reason why it has none")

    def expected_error(self, fractions: Floats, n_reaching: Floats) -> Floats:
        """(N, K) of predicted fractions (N, K) of the question and the number of volunteers who reach it (N,)."""
        binomial = fractions * (1 - fractions) / (n_reaching[:, None] + 1)
        return np.sqrt(LEAST_ERROR**2 + self.model + self.noise * binomial)


@dataclass(frozen=True)
class Intervals:
    """Intervals of every question's conditional fractions, wider where few volunteers are n_reaching.

    Each answer's interval is f ± quantile · expected error within [0, 1]. Among galaxies like those that it
    was fitted on, it holds the volunteers' fraction for a share `level` of them, whatever the model is worth
    (Vovk, Gammerman & Shafer 2005; Lei et al. 2018, J. Am. Stat. Assoc. 113, 1094, for scaled residuals).
    The promise is of all galaxies together, not of every single one.

    Parameters
    ----------
    level : float in (0, 1)
    voters : float
        Volunteers who see a galaxy, about.
    n_views : int
        Views that were averaged; intervals are of these only.
    questions : mapping of question key → QuestionIntervals
    """

    level: float
    voters: float
    n_views: int
    questions: Mapping[str, QuestionIntervals]

    def __post_init__(self) -> None:
        if type(self.level) is not float or not 0 < self.level < 1:
            raise ValueError(f"intervals: level {self.level!r} is not between 0 and 1")
        if type(self.voters) not in (int, float) or not 0 < self.voters < math.inf:
            raise ValueError(f"intervals: voters {self.voters!r} is not a positive number")
        check_n_views(self.n_views)

    def bounds(self, cumulative: Floats, tree: DecisionTree) -> tuple[Floats, Floats]:
        """Lower and upper bounds (N, A) of the conditional fractions.

        Parameters
        ----------
        cumulative : (N, A) in [0, 1]
            Predictions; NaN where there is none.

        Returns
        -------
        two (N, A) float64
            In [0, 1], around the predicted fraction; NaN without a prediction, or for a question without
            intervals.
        """
        fractions, half = conditional_from_cumulative(cumulative, tree), np.full(cumulative.shape, np.nan)
        for number, (question, part) in enumerate(zip(tree.questions, tree.slices, strict=True)):
            fitted = self.questions[question.key]
            if fitted.quantiles:
                n_reaching = self.voters * reach_probability(cumulative, tree, number)
                half[:, part] = fitted.quantiles * fitted.expected_error(fractions[:, part], n_reaching)
        return np.clip(fractions - half, 0, 1), np.clip(fractions + half, 0, 1)

    def check(self, tree: DecisionTree) -> None:
        """Raise ValueError unless these are intervals of that tree's questions and answers."""
        if set(self.questions) != {question.key for question in tree.questions}:
            raise ValueError(f"intervals: their questions are not those of tree {tree.name}")
        for question in tree.questions:
            count = len(self.questions[question.key].quantiles)
            if count not in (0, len(question.answers)):
                raise ValueError(f"intervals: {question.key} has {len(question.answers)} answers, not {count}")

    def to_dict(self) -> dict[str, Any]:
        """Plain types; `from_dict` reads them back."""
        return {
            "level": self.level,
            "voters": self.voters,
            "views": self.n_views,
            "questions": {
                key: {"galaxies": each.galaxies, "reason": each.reason}
                if each.reason
                else {
                    "galaxies": each.galaxies,
                    "model": each.model,
                    "noise": each.noise,
                    "quantiles": list(each.quantiles),
                }
                for key, each in self.questions.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Intervals:
        """From the plain form. Raises ValueError or TypeError if it is none."""
        questions = {
            key: QuestionIntervals(**{**entry, "quantiles": tuple(entry.get("quantiles", ()))})
            for key, entry in dict(data.get("questions", {})).items()
        }
        plain = {**data, "questions": questions}
        plain["n_views"] = plain.pop("views", None)
        return cls(**plain)


def fit_intervals(
    predicted: Floats, known: Floats, tree: DecisionTree, *, n_views: int, level: float = 0.9, voters: float = VOTERS
) -> Intervals:
    """Fit intervals on galaxies that the model's training did not see.

    For each question, the expected error's two parameters maximise the likelihood of the absolute errors
    (Laplace); then each answer's quantile is the ⌈(n + 1) · level⌉-th smallest scaled error of the n galaxies.
    The order of the galaxies is of no importance.

    The ratio of the two parameters is learned from the same galaxies as the quantiles, which the theorem
    does not allow for; on simulated galaxies no loss is seen with 25 of them (tests/test_intervals.py).

    Parameters
    ----------
    predicted : (N, A) in [0, 1]
        Cumulative fractions; rows without a prediction (NaN) are left out.
    known : (N, A) in [0, 1]
        The volunteers' cumulative fractions, NaN where unknown.
    n_views : 1, 2, 4 or 8
        Views that `predicted` averages.

    Raises
    ------
    ValueError
        If the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    predictions, true = conditional_from_cumulative(predicted, tree), conditional_from_cumulative(known, tree)
    questions = {}
    for number, (question, part) in enumerate(zip(tree.questions, tree.slices, strict=True)):
        rows = ~np.isnan(predictions[:, part] + true[:, part]).any(1)
        n_reaching = voters * reach_probability(predicted, tree, number)[rows]
        questions[question.key] = _fit_question(predictions[rows, part], true[rows, part], n_reaching, level)
    return Intervals(float(level), voters, n_views, questions)


def _fit_question(predicted: Floats, true: Floats, n_reaching: Floats, level: float) -> QuestionIntervals:
    count, needed = len(predicted), galaxies_needed(level)
    if count < needed:
        return QuestionIntervals(count, reason=f"{count} galaxies reach it; a level of {level:g} needs {needed}")
    error = np.abs(predicted - true)
    best = min(_candidates(predicted, n_reaching, error), key=lambda candidate: candidate[0])[1]
    quantiles = bound(error / best.expected_error(predicted, n_reaching), level)
    return QuestionIntervals(count, best.model, best.noise, tuple(quantiles.tolist()))


def _candidates(predicted: Floats, n_reaching: Floats, error: Floats) -> list[tuple[float, QuestionIntervals]]:
    """Mixtures of a constant and the binomial variance, each scaled to its errors, with −log likelihood a cell."""
    binomial = float((predicted * (1 - predicted) / (n_reaching[:, None] + 1)).mean())
    out = []
    for share in np.linspace(0, 1, 51) if binomial > 0 else (0.0,):
        noise = float(share) / binomial if share else 0.0
        shape = QuestionIntervals(0, 1 - float(share), noise, reason="a candidate").expected_error(
            predicted, n_reaching
        )
        scale = max(float((error / shape).mean()), LEAST_ERROR)
        square = scale**2
        shaped = QuestionIntervals(0, (1 - float(share)) * square, noise * square, reason="a candidate")
        out.append((math.log(scale) + float(np.log(shape).mean()), shaped))
    return out
