"""Posterior of the vote fractions: a distribution for each question, and draws from it down the tree."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..votes.fractions import cumulative_from_conditional, reach_probability
from ..votes.traversal import with_parents
from ..votes.tree import DecisionTree
from .views import check_n_views

__all__ = ["RESOLUTION", "QuestionPosterior", "Split", "VotePosterior", "id_keys", "predictors", "splits_of"]

Floats = NDArray[np.float64]

#: Fractions are as fine as of this many votes: what is less than half of one is 0. It bounds the concentration.
RESOLUTION = 100.0
#: Added to predicted fractions, so that no answer is impossible.
LEAST_FRACTION = 1e-3
#: Added to the predicted reach before its logarithm: less than one volunteer of 40.
LEAST_REACH = 0.02
#: Logarithms of concentrations stay within these.
LOG_CONCENTRATION = (-4.0, 9.0)
#: Numbers of a split: four of its concentration, two of its mean.
_OF_CONCENTRATION, _OF_MEAN = 4, 2
WIDTH = _OF_CONCENTRATION + _OF_MEAN
#: Splits of a question that have random numbers of their own; no tree has so many answers to a question.
_MOST_SPLITS = 1000


@dataclass(frozen=True, slots=True)
class Split:
    """The Beta distribution of one answer's share among those who give this or a later answer.

    Parameters
    ----------
    values : tuple of 6 floats
        Coefficients of the logarithm of the concentration, then of the mean's logit; see `predictors`.
    covariance : tuple of 21 floats
        Lower triangle, row by row, of the covariance of `values`: how far they may be off for all galaxies together.
    """

    values: tuple[float, ...]
    covariance: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != WIDTH or len(self.covariance) != WIDTH * (WIDTH + 1) // 2:
            raise ValueError(f"posterior: {len(self.values)} values and {len(self.covariance)} of their covariance")
        if not all(type(x) in (int, float) and math.isfinite(x) for x in (*self.values, *self.covariance)):
            raise ValueError("posterior: not all numbers are finite")
        matrix = self.matrix
        if np.linalg.eigvalsh(matrix)[0] < -1e-4 * np.trace(matrix):
            raise ValueError("posterior: a covariance is not positive")

    @property
    def matrix(self) -> Floats:
        """The covariance (6, 6)."""
        lower = np.zeros((WIDTH, WIDTH))
        lower[np.tril_indices(WIDTH)] = self.covariance
        return lower + np.tril(lower, -1).T

    def draw(self, k: int, rng: np.random.Generator) -> Floats:
        """Return (k, 6) values, normally distributed around the fitted ones."""
        spread, axes = np.linalg.eigh(self.matrix)
        return np.array(self.values) + rng.standard_normal((k, WIDTH)) * np.sqrt(np.maximum(spread, 0)) @ axes.T


@dataclass(frozen=True, slots=True)
class QuestionPosterior:
    """The generalised Dirichlet distribution of one question's fractions (Connor & Mosimann 1969, JASA 64, 194).

    Its answers are split off one after the other, the most frequent first, each by a Beta distribution; so each
    has a scatter of its own, which a Dirichlet distribution's answers have not.

    Parameters
    ----------
    galaxies : int
        Those that it was fitted on: volunteers reached the question, and all its answers are known.
    order : tuple of K ints
        The answers' places within the question in the order in which they are split off.
    splits : tuple of K − 1 Split
        Empty if there are too few galaxies.
    reason : str
        Why there is no posterior; "" if there is.
    """

    galaxies: int
    order: tuple[int, ...] = ()
    splits: tuple[Split, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        if type(self.galaxies) is not int or self.galaxies < 0 or type(self.reason) is not str:
            raise ValueError(f"posterior: galaxies {self.galaxies!r} or reason {self.reason!r} makes no sense")
        if bool(self.order) == bool(self.reason):
            raise ValueError("posterior: a question has either an order or a reason why it has none")
        if sorted(self.order) != list(range(len(self.order))) or len(self.splits) != max(0, len(self.order) - 1):
            raise ValueError(f"posterior: order {self.order} and {len(self.splits)} splits make no sense")


def id_keys(ids: Sequence[str]) -> list[int]:
    """Return a number of 64 bits for each identifier: its BLAKE2 digest, the same on every machine."""
    return [int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest(), "little") for id_ in ids]


def splits_of(order: Sequence[int], fractions: Floats) -> Iterator[tuple[int, Floats, Floats]]:
    """Iterate over the splits of a question: the answer, its share of what is left, and what is left.

    Parameters
    ----------
    order : K ints
    fractions : (*, K)

    Yields
    ------
    place of the answer, share (*,) in [0, 1] (0.5 where nothing is left), remainder (*,) in [0, 1]
    """
    for number, answer in enumerate(order[:-1]):
        left = fractions[..., list(order[number:])].sum(-1)
        share = np.divide(fractions[..., answer], left, out=np.full_like(left, 0.5), where=left > 0)
        yield answer, np.clip(share, 0, 1), left


def predictors(share: Floats, reach: Floats) -> tuple[Floats, Floats]:
    """Return what concentration and mean of a split's Beta distribution are linear in.

    Parameters
    ----------
    share : (N,)
        Predicted share of the answer in what is left.
    reach : (N,)
        Predicted share of all volunteers whom the split is about.

    Returns
    -------
    (4, N) float64
        Of the logarithm of the concentration: 1, logarithm of the reach, how even the split is, which side is larger.
    (2, N) float64
        Of what is added to the logit of the share: that logit, and 1.
    """
    share = (share + LEAST_FRACTION) / (1 + 2 * LEAST_FRACTION)
    one = np.ones_like(share)
    evenness = 1 + np.log(LEAST_REACH + 2 * share * (1 - share))
    concentration = np.stack([one, np.log(reach + LEAST_REACH), evenness, 2 * share - 1])
    return concentration, np.stack([np.log(share / (1 - share)), one])


@dataclass(frozen=True)
class VotePosterior:
    """What the volunteers' fractions may be, given the predicted ones; part of a model's calibration.

    Each question has a distribution around the predicted fractions, corrected by the mean error on unseen galaxies,
    that is the wider the fewer volunteers are predicted to reach it and the more evenly they divide. It is of the
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

        Raises
        ------
        ValueError
            If `k` is not at least 1, or the seed not at least 0.
        """
        if k < 1 or seed < 0:
            raise ValueError(f"{k} draws with seed {seed}: at least 1 draw, and a seed of at least 0, are needed")
        fractions = fractions.astype(np.float32).astype(np.float64)
        conditional = np.full((k, *fractions.shape), np.nan)
        wanted = None if questions is None else with_parents(tree, questions)
        cumulative = cumulative_from_conditional(fractions, tree)
        rows = np.flatnonzero(np.logical_not(np.any(np.isnan(fractions[:, tree.slices[0]]), 1)))
        keys = id_keys([ids[row] for row in rows.tolist()])
        for number, (question, part) in enumerate(zip(tree.questions, tree.slices, strict=True)):
            fitted = self.questions[question.key]
            if fitted.reason or (wanted is not None and question.key not in wanted):
                continue
            # A share of nobody says nothing; the reach of 0 is what predicts the width.
            shares = np.nan_to_num(fractions[rows, part], nan=1 / len(question.answers))
            reach = np.nan_to_num(reach_probability(cumulative[rows], tree, number))
            parameters = _beta_parameters(fitted, shares, reach, k, (seed, number * _MOST_SPLITS))
            drawn = _beta_draws(parameters, keys, (seed, number + 1))
            left = np.ones((k, len(rows)))
            for at, answer in enumerate(fitted.order[:-1]):
                conditional[:, rows, part.start + answer] = left * drawn[..., at]
                left = left * (1 - drawn[..., at])
            conditional[:, rows, part.start + fitted.order[-1]] = left
        return cumulative_from_conditional(conditional, tree)

    @cached_property
    def missing(self) -> dict[str, str]:
        """Question key → why it has no posterior."""
        return {key: each.reason for key, each in self.questions.items() if each.reason}

    def check(self, tree: DecisionTree) -> None:
        """Raise ValueError unless this is of that tree's questions and answers."""
        if set(self.questions) != {question.key for question in tree.questions}:
            raise ValueError(f"posterior: its questions are not those of tree {tree.name}")
        for question in tree.questions:
            count = len(self.questions[question.key].order)
            if count not in (0, len(question.answers)):
                raise ValueError(f"posterior: {question.key} has {len(question.answers)} answers, not {count}")

    def to_dict(self) -> dict[str, Any]:
        """Plain types; `from_dict` reads them back."""
        return {
            "views": self.n_views,
            "questions": {
                key: {"galaxies": each.galaxies, "reason": each.reason}
                if each.reason
                else {
                    "galaxies": each.galaxies,
                    "order": list(each.order),
                    "splits": [{"values": list(s.values), "covariance": list(s.covariance)} for s in each.splits],
                }
                for key, each in self.questions.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VotePosterior:
        """From the plain form. Raises ValueError or TypeError if it is none."""
        questions = {}
        for key, entry in dict(data.get("questions", {})).items():
            splits = tuple(Split(tuple(s["values"]), tuple(s["covariance"])) for s in entry.get("splits", ()))
            questions[key] = QuestionPosterior(**{**entry, "order": tuple(entry.get("order", ())), "splits": splits})
        plain = {**data, "questions": questions}
        plain["n_views"] = plain.pop("views", None)
        return cls(**plain)


def _beta_parameters(
    fitted: QuestionPosterior, shares: Floats, reach: Floats, k: int, stream: tuple[int, int]
) -> Floats:
    """(k, N, K − 1, 2) parameters of the Beta distributions of a question's splits, with the fit's own error.

    The concentration is that of a beta-binomial distribution of `RESOLUTION` votes, then of a Beta distribution of
    the same variance. Sums are not matrix products, whose rounding depends on how many galaxies there are.
    """
    out = np.empty((k, len(shares), len(fitted.splits), 2))
    for at, (split, (_, share, left)) in enumerate(zip(fitted.splits, splits_of(fitted.order, shares), strict=True)):
        values = split.draw(k, np.random.Generator(np.random.Philox(key=[stream[0], stream[1] + at])))[..., None]
        of_concentration, of_mean = predictors(share, reach * left)
        log_votes = sum(values[:, n] * each for n, each in enumerate(of_concentration))
        votes = np.exp(np.clip(log_votes, *LOG_CONCENTRATION))
        concentration = votes * (RESOLUTION - 1) / (votes + RESOLUTION)
        logit = of_mean[0] + sum(values[:, _OF_CONCENTRATION + n] * each for n, each in enumerate(of_mean))
        mean = 1 / (1 + np.exp(-np.clip(logit, -20, 20)))
        out[:, :, at, 0], out[:, :, at, 1] = concentration * mean, concentration * (1 - mean)
    return out


def _beta_draws(parameters: Floats, keys: Sequence[int], stream: tuple[int, int]) -> Floats:
    """(k, N, S) draws of Beta distributions of parameters (k, N, S, 2), each galaxy from a stream of its own.

    By logarithms of gamma variates, which do not vanish for small parameters: log G(α) = log G(α + 1) + log U / α
    (Marsaglia & Tsang 2000, ACM Trans. Math. Softw. 26, 363, section 6).
    """
    logs = np.empty_like(parameters)
    # A new generator for each galaxy would cost more than its numbers.
    bits = np.random.Philox(key=[0, 0])
    generator, state = np.random.Generator(bits), bits.state
    counter = np.array([0, 0, stream[1], 0], np.uint64)
    for row, key in enumerate(keys):
        state["state"] = {"counter": counter, "key": np.array([stream[0], key], np.uint64)}
        bits.state = state
        of_galaxy = parameters[:, row]
        logs[:, row] = np.log(generator.standard_gamma(of_galaxy + 1))
        logs[:, row] -= generator.standard_exponential(of_galaxy.shape) / of_galaxy
    out: Floats = 1 / (1 + np.exp(np.clip(logs[..., 1] - logs[..., 0], -700, 700)))
    return out
