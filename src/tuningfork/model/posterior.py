"""Posterior of the vote fractions: a Dirichlet distribution for each question, and draws from it down the tree."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..votes.fractions import cumulative_from_conditional, reach_probability
from ..votes.tree import DecisionTree
from .views import check_n_views

__all__ = ["RESOLUTION", "QuestionPosterior", "VotePosterior", "dirichlet", "features"]

Floats = NDArray[np.float64]

#: Fractions are as fine as of this many votes: what is less than half of one is 0. It bounds the concentration.
RESOLUTION = 100.0
#: Added to every predicted fraction, so that no answer is impossible.
LEAST_FRACTION = 1e-3
#: Added to the predicted reach, less than one volunteer of 40, before its logarithm.
LEAST_REACH = 0.02
#: Logarithms of concentrations stay within these; 1 / (c + 1) is then in 0.01…0.98.
_LOG_CONCENTRATION = (-4.0, 9.0)
#: Numbers of a fit that do not depend on the answers: three of the concentration, one of the mean.
_COMMON = 4


@dataclass(frozen=True, slots=True)
class QuestionPosterior:
    """The Dirichlet distribution of one question's fractions, as a function of what is predicted.

    Parameters
    ----------
    galaxies : int
        Those that it was fitted on: volunteers reached the question, and all its answers are known.
    values : tuple of 4 + K floats, or empty
        Three of the logarithm of the concentration (see `features`), the slope of the logarithms of the predicted
        fractions less 1, and what is added to the logarithm of each answer; see `dirichlet`.
    covariance : tuple of 4 + K tuples of as many floats
        Of `values`: how far they may be off for all galaxies together.
    reason : str
        Why there is no posterior; "" if there is.
    """

    galaxies: int
    values: tuple[float, ...] = ()
    covariance: tuple[tuple[float, ...], ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        width = len(self.values)
        if type(self.galaxies) is not int or self.galaxies < 0 or type(self.reason) is not str:
            raise ValueError(f"posterior: galaxies {self.galaxies!r} or reason {self.reason!r} makes no sense")
        if bool(self.values) == bool(self.reason):
            raise ValueError("posterior: a question has either values or a reason why it has none")
        if [len(row) for row in self.covariance] != [width] * width:
            raise ValueError(f"posterior: the covariance is not of {width} values")
        numbers = (*self.values, *(x for row in self.covariance for x in row))
        if not all(type(x) in (int, float) and math.isfinite(x) for x in numbers):
            raise ValueError("posterior: not all numbers are finite")
        matrix = np.array(self.covariance).reshape(width, width)
        if width and (not np.allclose(matrix, matrix.T) or np.linalg.eigvalsh(matrix)[0] < -1e-6 * np.trace(matrix)):
            raise ValueError("posterior: the covariance is not symmetric and positive")

    def drawn(self, count: int, rng: np.random.Generator) -> Floats:
        """Return (count, 4 + K) values, normally distributed around the fitted ones."""
        spread, axes = np.linalg.eigh(np.array(self.covariance))
        noise = rng.standard_normal((count, len(self.values)))
        return np.array(self.values) + noise * np.sqrt(np.maximum(spread, 0)) @ axes.T


def features(fractions: Floats, reach: Floats) -> Floats:
    """Return what the logarithm of the concentration is linear in: 1, the reach, and how even the answers are.

    Parameters
    ----------
    fractions : (N, K)
        Predicted, of those who reach the question; sums 1.
    reach : (N,)
        Predicted share of all volunteers who reach it.

    Returns
    -------
    (N, 3) float64
    """
    evenness = 1 + np.log(1.02 - (fractions**2).sum(1))
    return np.stack([np.ones(len(reach)), np.log(reach + LEAST_REACH), evenness], 1)


def dirichlet(values: Floats, fractions: Floats, reach: Floats) -> tuple[Floats, Floats]:
    """Return mean and concentration of each galaxy's Dirichlet distribution.

    The mean is the predicted fractions, to a power and times a factor for each answer, normalised. The concentration
    is that of a Dirichlet-multinomial distribution, whose logarithm is linear in `features`, with `RESOLUTION` votes:
    a Dirichlet distribution of the same variance.

    Parameters
    ----------
    values : (*, 4 + K)
        As of `QuestionPosterior`; of several draws.
    fractions, reach : (N, K), (N,)
        As of `features`.

    Returns
    -------
    mean (*, N, K), concentration (*, N) float64
    """
    logs = log_fractions(fractions)
    scaled = (1 + values[..., None, None, _COMMON - 1]) * logs + values[..., None, _COMMON:]
    mean = np.exp(scaled - scaled.max(-1, keepdims=True))
    mean /= mean.sum(-1, keepdims=True)
    # No matrix product: its rounding would depend on how many galaxies there are.
    log_concentration = sum(values[..., at, None] * each for at, each in enumerate(features(fractions, reach).T))
    votes = np.exp(np.clip(log_concentration, *_LOG_CONCENTRATION))
    return mean, votes * (RESOLUTION - 1) / (votes + RESOLUTION)


def log_fractions(fractions: Floats) -> Floats:
    """Return the logarithms of fractions (N, K), none of them 0."""
    return np.log((fractions + LEAST_FRACTION) / (1 + LEAST_FRACTION * fractions.shape[-1]))


@dataclass(frozen=True)
class VotePosterior:
    """What the volunteers' fractions may be, given the predicted ones; part of a model's calibration.

    Each question has a Dirichlet distribution around the predicted fractions, corrected by the mean error on unseen
    galaxies, with a concentration that depends on the predicted reach and on how even the fractions are. It is of the
    fractions that a label table holds, and so contains the chance of who voted. The values of the fit are uncertain,
    too: each draw has its own, common to all galaxies, so that counts of many do not look surer than they are.

    Parameters
    ----------
    n_views : int
        Views that were averaged; the posterior is of these only.
    questions : mapping of question key → QuestionPosterior
    """

    n_views: int
    questions: Mapping[str, QuestionPosterior]

    def __post_init__(self) -> None:
        check_n_views(self.n_views)

    def draws(
        self,
        fractions: Floats,
        ids: Sequence[str],
        tree: DecisionTree,
        k: int,
        seed: int = 0,
        *,
        questions: Collection[str] | None = None,
    ) -> Floats:
        """Return k draws of each galaxy's cumulative fractions.

        A galaxy's draws depend on its ID, its fractions as 32-bit numbers, k and the seed, and on no other galaxy,
        so they are the same in any order, in any batch, and from a table that was written by `tuningfork predict`.

        Parameters
        ----------
        fractions : (N, A) in [0, 1]
            Predicted conditional fractions; NaN where nobody would reach the question, or there is no prediction.
        ids : N texts
        k : int, at least 1
        seed : int, at least 0
        questions : keys of questions, optional
            Only these and those that lead to them are drawn; the others are NaN. None: all.

        Returns
        -------
        (k, N, A) float64 in [0, 1]
            Each question's sum is that of its parent. NaN without a prediction, and for a question without posterior
            and all below it.
        """
        fractions = fractions.astype(np.float32).astype(np.float64)
        conditional = np.full((k, *fractions.shape), np.nan)
        wanted = self._with_parents(tree, questions)
        keys = [int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest(), "little") for id_ in ids]
        predicted = cumulative_from_conditional(fractions, tree)
        known = np.logical_not(np.any(np.isnan(fractions[:, tree.slices[0]]), 1))
        for number, (question, part) in enumerate(zip(tree.questions, tree.slices, strict=True)):
            fitted = self.questions[question.key]
            if question.key not in wanted or not fitted.values:
                continue
            # A share of nobody says nothing; the reach of 0 is what predicts the width.
            shares = np.nan_to_num(fractions[known, part], nan=1 / len(question.answers))
            reach = np.nan_to_num(reach_probability(predicted[known], tree, number))
            values = fitted.drawn(k, np.random.Generator(np.random.Philox(key=[seed, number])))
            mean, concentration = dirichlet(values, shares, reach)
            chosen = [key for key, here in zip(keys, known.tolist(), strict=True) if here]
            conditional[:, known, part] = _dirichlet_draws(mean * concentration[..., None], chosen, seed, number)
        return cumulative_from_conditional(conditional, tree)

    def _with_parents(self, tree: DecisionTree, questions: Collection[str] | None) -> set[str]:
        if questions is None:
            return {question.key for question in tree.questions}
        owner = [question.key for question in tree.questions for _ in question.answers]
        wanted = set(questions)
        for question, parent in zip(reversed(tree.questions), reversed(tree.parents), strict=True):
            if question.key in wanted and parent is not None:
                wanted.add(owner[parent])
        return wanted

    @cached_property
    def missing(self) -> dict[str, str]:
        """Question key → why it has no posterior."""
        return {key: each.reason for key, each in self.questions.items() if each.reason}

    def check(self, tree: DecisionTree) -> None:
        """Raise ValueError unless this is of that tree's questions and answers."""
        if set(self.questions) != {question.key for question in tree.questions}:
            raise ValueError(f"posterior: its questions are not those of tree {tree.name}")
        for question in tree.questions:
            count = len(self.questions[question.key].values)
            if count not in (0, _COMMON + len(question.answers)):
                raise ValueError(f"posterior: {question.key} has {len(question.answers)} answers and {count} values")

    def to_dict(self) -> dict[str, Any]:
        """Plain types; `from_dict` reads them back."""
        return {
            "views": self.n_views,
            "questions": {
                key: {"galaxies": each.galaxies, "reason": each.reason}
                if each.reason
                else {
                    "galaxies": each.galaxies,
                    "values": list(each.values),
                    "covariance": [list(row) for row in each.covariance],
                }
                for key, each in self.questions.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VotePosterior:
        """From the plain form. Raises ValueError or TypeError if it is none."""
        questions = {}
        for key, entry in dict(data.get("questions", {})).items():
            values = {**entry, "values": tuple(entry.get("values", ()))}
            values["covariance"] = tuple(map(tuple, entry.get("covariance", ())))
            questions[key] = QuestionPosterior(**values)
        plain = {**data, "questions": questions}
        plain["n_views"] = plain.pop("views", None)
        return cls(**plain)


def _dirichlet_draws(alpha: Floats, keys: Sequence[int], seed: int, question: int) -> Floats:
    """(k, N, K) draws of Dirichlet distributions of parameters (k, N, K), each galaxy from a stream of its own.

    Logarithms of gamma variates, which do not vanish for small α: log G(α) = log G(α + 1) + log U / α
    (Marsaglia & Tsang 2000, ACM Trans. Math. Softw. 26, 363, section 6).
    """
    logs = np.empty_like(alpha)
    # A new generator for each galaxy would cost more than its numbers.
    bits = np.random.Philox(key=[0, 0])
    generator, state = np.random.Generator(bits), bits.state
    for row, key in enumerate(keys):
        state["state"] = {
            "counter": np.array([0, 0, question + 1, 0], np.uint64),
            "key": np.array([seed, key], np.uint64),
        }
        bits.state = state
        parameters = alpha[:, row]
        logs[:, row] = np.log(generator.standard_gamma(parameters + 1))
        logs[:, row] -= generator.standard_exponential(parameters.shape) / parameters
    out: Floats = np.exp(logs - logs.max(-1, keepdims=True))
    return out / out.sum(-1, keepdims=True)
