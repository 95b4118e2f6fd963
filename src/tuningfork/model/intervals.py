"""Split conformal prediction: intervals that hold all vote fractions of a question as often as promised."""

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
#: Groups of galaxies by predicted reach with quantiles of their own, and how many galaxies each should have: the share
#: that a quantile of 100 galaxies holds scatters by 0.03.
MOST_BINS, GALAXIES_PER_BIN = 5, 100


@dataclass(frozen=True, slots=True)
class QuestionIntervals:
    """How wide the intervals of one question's answers are.

    Parameters
    ----------
    galaxies : int
        Those that it was fitted on: volunteers reached the question, and all its answers are known.
    model, noise : float, at least 0
        The expected error of a fraction f is √(model + noise · f(1 − f) / (voters · reach + 1)).
    factors : tuple of B floats, at least 0
        Half widths in expected errors, for each bin of the predicted reach; empty if there are too few galaxies.
    edges : tuple of B − 1 floats, ascending
        Between the bins: share of the volunteers that is predicted to reach the question.
    reason : str
        Why there are no intervals; "" if there are.
    """

    galaxies: int
    model: float = 0.0
    noise: float = 0.0
    factors: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        numbers = (self.model, self.noise, *self.edges, *self.factors)
        if not all(type(x) in (int, float) and math.isfinite(x) and x >= 0 for x in numbers):
            raise ValueError(f"intervals: {numbers} are not finite numbers of at least 0")
        if type(self.galaxies) is not int or self.galaxies < 0 or type(self.reason) is not str:
            raise ValueError(f"intervals: galaxies {self.galaxies!r} or reason {self.reason!r} makes no sense")
        if bool(self.factors) == bool(self.reason):
            raise ValueError("intervals: a question has either factors or a reason why it has none")
        if len(self.edges) != max(0, len(self.factors) - 1) or list(self.edges) != sorted(self.edges):
            raise ValueError(f"intervals: {len(self.factors)} bins with edges {self.edges} make no sense")

    def expected_error(self, fractions: Floats, n_reaching: Floats) -> Floats:
        """(N, K) of predicted fractions (N, K) of the question and the number of volunteers who reach it (N,)."""
        binomial = fractions * (1 - fractions) / (n_reaching[:, None] + 1)
        return np.sqrt(LEAST_ERROR**2 + self.model + self.noise * binomial)

    def unit(self, fractions: Floats, n_reaching: Floats) -> Floats:
        """(N, K) what an error is measured in: the geometric mean of the answer's and the largest expected error.

        Measured in the answer's own, rare answers would decide how wide the interval of the most frequent one is.
        """
        expected = self.expected_error(fractions, n_reaching)
        return np.sqrt(expected * expected.max(1, keepdims=True))

    def half_widths(self, fractions: Floats, reach: Floats, voters: float) -> Floats:
        """(N, K) of predicted fractions (N, K) and the predicted share of `voters` who reach the question (N,)."""
        factors = np.array(self.factors)[np.searchsorted(self.edges, reach, "right")]
        return factors[:, None] * self.unit(fractions, voters * reach)


@dataclass(frozen=True)
class Intervals:
    """Intervals of every question's conditional fractions, wider where few volunteers reach it.

    Each answer's interval is f ± factor · expected error within [0, 1]. Among galaxies like those that they were
    fitted on, a question's intervals hold the volunteers' fractions of *all* its answers for a share `level` of them,
    whatever the model is worth (Vovk, Gammerman & Shafer 2005; Lei et al. 2018, J. Am. Stat. Assoc. 113, 1094, for
    scaled residuals), and so also among those that a similar share of the volunteers is predicted to reach (Mondrian
    conformal prediction: Vovk et al., section 4.5). So they hold the answer that most are predicted to give, too.

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
            if fitted.factors:
                reach = reach_probability(cumulative, tree, number)
                half[:, part] = fitted.half_widths(fractions[:, part], reach, self.voters)
        return np.clip(fractions - half, 0, 1), np.clip(fractions + half, 0, 1)

    def check(self, tree: DecisionTree) -> None:
        """Raise ValueError unless these are intervals of that tree's questions and answers."""
        if set(self.questions) != {question.key for question in tree.questions}:
            raise ValueError(f"intervals: their questions are not those of tree {tree.name}")

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
                    "edges": list(each.edges),
                    "factors": list(each.factors),
                }
                for key, each in self.questions.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Intervals:
        """From the plain form. Raises ValueError or TypeError if it is none."""
        questions = {}
        for key, entry in dict(data.get("questions", {})).items():
            if "quantiles" in entry:
                raise ValueError(
                    "intervals: of an earlier version, not joint for a question; calibrate the model again"
                )
            values = {name: tuple(entry.get(name, ())) for name in ("factors", "edges")}
            questions[key] = QuestionIntervals(**{**entry, **values})
        plain = {**data, "questions": questions}
        plain["n_views"] = plain.pop("views", None)
        return cls(**plain)


def fit_intervals(
    predicted: Floats, known: Floats, tree: DecisionTree, *, n_views: int, level: float = 0.9, voters: float = VOTERS
) -> Intervals:
    """Fit intervals on galaxies that the model's training did not see.

    For each question, the expected error's two parameters maximise the likelihood of the absolute errors
    (Laplace); then each bin's factor is the ⌈(n + 1) · level⌉-th smallest of its n galaxies' largest scaled errors over
    the question's answers. Bins are of equally many galaxies by predicted reach. The order of the galaxies is of no
    importance.

    The ratio of the two parameters is learned from the same galaxies as the factors, which the theorem does not allow
    for; on simulated galaxies no loss is seen with 25 of them (tests/model/test_intervals.py).

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
        reach = reach_probability(predicted, tree, number)[rows]
        questions[question.key] = _fit_question(predictions[rows, part], true[rows, part], reach, voters, level)
    return Intervals(float(level), voters, n_views, questions)


def _fit_question(predicted: Floats, true: Floats, reach: Floats, voters: float, level: float) -> QuestionIntervals:
    count, needed = len(predicted), galaxies_needed(level)
    if count < needed:
        return QuestionIntervals(count, reason=f"{count} galaxies reach it; a level of {level:g} needs {needed}")
    error = np.abs(predicted - true)
    best = min(_candidates(predicted, voters * reach, error), key=lambda candidate: candidate[0])[1]
    largest = (error / best.unit(predicted, voters * reach)).max(1)
    edges = _edges(reach, max(needed, GALAXIES_PER_BIN))
    bins = np.searchsorted(edges, reach, "right")
    factors = tuple(float(bound(largest[bins == n], level)) for n in range(len(edges) + 1))
    return QuestionIntervals(count, best.model, best.noise, factors, tuple(edges.tolist()))


def _edges(reach: Floats, least: int) -> Floats:
    """Edges of at most `MOST_BINS` bins of about `least` galaxies each or more, or of one with all."""
    for count in range(min(MOST_BINS, len(reach) // least), 1, -1):
        edges = np.quantile(reach, np.arange(1, count) / count)
        # Equal reaches, as those of a question that all reach, cannot be told apart.
        if np.bincount(np.searchsorted(edges, reach, "right"), minlength=count).min() >= 0.9 * len(reach) / count:
            return edges
    return np.empty(0)


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
