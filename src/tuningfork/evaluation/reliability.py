"""Reliability: coverage of intervals, calibration error of probabilities, and what chance alone gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.binomial import binomial_interval
from ..votes.fractions import conditional_from_cumulative, reach_probability
from ..votes.traversal import majority_answers
from ..votes.tree import DecisionTree
from .metrics import calibration_error

__all__ = ["class_reliability", "coverage"]

Floats = NDArray[np.float64]


def coverage(
    low: Floats, high: Floats, predicted: Floats, known: Floats, tree: DecisionTree
) -> dict[str, dict[str, Any]]:
    """How often the volunteers' conditional fractions lie within their intervals, for each question.

    Parameters
    ----------
    low, high : (N, A) in [0, 1], NaN where there is no interval
    predicted, known : (N, A) cumulative fractions; NaN in `known` where unknown

    Returns
    -------
    dict
        By the question's key: `galaxies` that reach it and have intervals; `joint`, the share of them whose intervals
        hold the fractions of all answers, with its 95 % interval (Wilson) `low`…`high`; `coverage`, the mean share of
        answers that are held; `mean_width` and `median_width` over the answers; the same, each as a dict, of the
        halves of `small_reach` and `large_reach`, by the predicted share of volunteers who reach it, null for a
        question that all reach; and `shown`, of the answer on the path of the majority and the galaxies whose path
        leads through the question: `galaxies`, `coverage`, `low`, `high`, `mean_width`, `median_width`.
    """
    true = conditional_from_cumulative(known, tree)
    within, width = (true >= low) & (true <= high), high - low
    shown = majority_answers(tree, predicted)
    out = {}
    for number, (question, part) in enumerate(zip(tree.questions, tree.slices, strict=True)):
        rows = np.flatnonzero(~np.isnan(true[:, part] + low[:, part]).any(1))
        reaching = reach_probability(predicted, tree, number)[rows]
        halves: dict[str, Any] = {"small_reach": None, "large_reach": None}
        if question.parent is not None and len(reaching):
            small = reaching <= np.median(reaching)
            halves = {
                "small_reach": _covered(within[rows[small], part], width[rows[small], part]),
                "large_reach": _covered(within[rows[~small], part], width[rows[~small], part]),
            }
        at, answer = np.nonzero(shown[rows, part])
        at, answer = rows[at], part.start + answer
        of_shown = _covered(within[at, answer][:, None], width[at, answer][:, None])
        del of_shown["joint"]
        out[question.key] = {**_covered(within[rows, part], width[rows, part]), **halves, "shown": of_shown}
    return out


def _covered(within: NDArray[np.bool_], width: Floats) -> dict[str, Any]:
    """Shares of galaxies (N,) all of whose answers (N, K) are held, with Wilson's interval; and widths."""
    count = len(within)
    if not count:
        return dict.fromkeys(("joint", "coverage", "low", "high", "mean_width", "median_width"), None) | {"galaxies": 0}
    all_held = within.all(1)
    low, high = binomial_interval(float(all_held.sum()), count)
    return {
        "galaxies": count,
        "joint": float(all_held.mean()),
        "low": low,
        "high": high,
        "coverage": float(within.mean()),
        "mean_width": float(width.mean()),
        "median_width": float(np.median(width)),
    }


def class_reliability(
    probability: Floats,
    classes: NDArray[np.integer],
    weights: Floats | None = None,
    *,
    simulations: int = 1000,
    seed: int = 0,
) -> dict[str, Any] | None:
    """The calibration error of the most probable class, beside that of a perfectly calibrated model.

    With few galaxies even perfect probabilities show an error, since a bin's share of right answers
    scatters; its mean and 95 % quantile are simulated with the same probabilities.

    Parameters
    ----------
    probability : (N, C), sums 1
        NaN where there is none; such galaxies are left out.
    classes : (N,) int
        The true ones.
    weights : (N,) float64, optional
        For how many galaxies each counts.

    Returns
    -------
    dict or None
        None if nothing is left.
    """
    known_rows = ~np.isnan(probability).any(1)
    probability, classes = probability[known_rows], classes[known_rows]
    weights = np.ones(len(classes)) if weights is None else weights[known_rows]
    if not len(classes):
        return None
    sure, right = probability.max(1), probability.argmax(1) == classes
    rng = np.random.default_rng(seed)
    order = np.argsort(sure, kind="stable")  # sorted once: `calibration_error` is then much faster
    perfect = [
        calibration_error(sure[order], (rng.random(len(sure)) < sure)[order], weights=weights[order])
        for _ in range(simulations)
    ]
    return {
        "galaxies": len(sure),
        "mean_probability": float(np.average(sure, weights=weights)),
        "share_right": float(np.average(right, weights=weights)),
        "calibration_error": calibration_error(sure, right, weights=weights),
        "if_perfect": {"mean": float(np.mean(perfect)), "quantile_95": float(np.quantile(perfect, 0.95))},
    }
