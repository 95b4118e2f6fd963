"""Simulated volunteers: answer probabilities of galaxies of known shape, and votes drawn down the tree."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..votes.fractions import conditional_from_counts, cumulative_from_conditional
from ..votes.traversal import topological_order
from ..votes.tree import DecisionTree
from ..votes.tree_files import load_tree
from .galaxy import EDGE_ON, Galaxy

__all__ = ["simulate_votes", "answer_probabilities", "simulate_counts"]

Floats = NDArray[np.float64]


@cache
def gz2() -> DecisionTree:
    """The tree that `answer_probabilities` answers."""
    return load_tree("gz2")


def simulate_votes(
    probabilities: ArrayLike, n_volunteers: int, rng: np.random.Generator, tree: DecisionTree | None = None
) -> Floats:
    """Draw the cumulative vote fractions of volunteers, as in the label table of a campaign.

    Parameters
    ----------
    probabilities : (N, A) in [0, 1]
        The chance of each answer for a volunteer who reaches its question; each question's sum to 1.
    n_volunteers : int
        How many volunteers look at each galaxy, 1 or more.
    tree : DecisionTree, optional
        Galaxy Zoo 2's if left out.

    Returns
    -------
    (N, A) float64
        Each question's share of answers, multiplied down the tree's parents: all sums of the tree
        hold. 0 below an answer that nobody gave. If nobody reached a question without a parent (all
        called the galaxy a star, say), it keeps its probabilities, for its sum is 1 all the same.
    """
    tree = tree or gz2()
    probabilities = np.asarray(probabilities, np.float64)
    conditional = conditional_from_counts(simulate_counts(probabilities, n_volunteers, rng, tree), tree)
    return cumulative_from_conditional(np.where(np.isnan(conditional), probabilities, conditional), tree)


def simulate_counts(
    probabilities: ArrayLike, n_volunteers: int, rng: np.random.Generator, tree: DecisionTree | None = None
) -> NDArray[np.int64]:
    """Draw how many of `n_volunteers` give each answer, following `Answer.next` from the first question.

    Volunteers are exchangeable, so those who reach a question split over its answers by one
    multinomial draw.

    Parameters
    ----------
    probabilities, n_volunteers, tree
        As in `simulate_votes`.

    Returns
    -------
    (N, A) int64
        Counts of answers.

    Raises
    ------
    ValueError
        If the probabilities are of another shape, or there is no volunteer.
    """
    tree = tree or gz2()
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(tree.columns):
        raise ValueError(f"probabilities must be (N, {len(tree.columns)}), not {probabilities.shape}")
    if n_volunteers < 1:
        raise ValueError(f"1 volunteer or more is needed, not {n_volunteers}")
    arrivals = {question.key: np.zeros(len(probabilities), np.int64) for question in tree.questions}
    arrivals[tree.questions[0].key] += n_volunteers
    counts = np.zeros(probabilities.shape, np.int64)
    for position in topological_order(tree):
        question, part = tree.questions[position], tree.slices[position]
        chance = probabilities[:, part]
        chance = chance / chance.sum(1, keepdims=True)
        counts[:, part] = rng.multinomial(arrivals[question.key], chance)
        for answer, votes in zip(question.answers, counts[:, part].T, strict=True):
            if answer.next is not None:
                arrivals[answer.next] += votes
    return counts


def answer_probabilities(galaxy: Galaxy) -> Floats:
    """Answer probabilities of an average volunteer for a galaxy.

    The boundaries are soft: a disk slides from face-on to edge-on over some ten degrees, and
    features of galaxies that are small or faint are missed. The numbers were set by eye so that the
    mean votes of the population are near those of Galaxy Zoo 2 (Willett et al. 2013).

    Returns
    -------
    (37,) float64
        Probabilities of the answers of Galaxy Zoo 2's tree for those who reach the question, in its column order; each
        question's sum to 1.
    """
    chances = _answers(galaxy)
    tree = gz2()
    out = np.array([chances[q.key][answer.key] for q in tree.questions for answer in q.answers])
    for part in tree.slices:
        out[part] /= out[part].sum()
    return out


def _step(value: float, threshold: float, width: float) -> float:
    """A logistic step from 0 to 1 at the threshold."""
    return 0.5 * (1 + math.tanh((value - threshold) / (2 * width)))


def _answers(galaxy: Galaxy) -> dict[str, dict[str, float]]:
    """The chance of every answer, by question and answer key; sums are 1 up to a factor."""
    sharp = _step(galaxy.resolution, 2.9, 0.7) * _step(22.5 - galaxy.surface_brightness, 0, 0.5)
    face_on = galaxy.kind in ("disk", "irregular") and galaxy.inclination < EDGE_ON
    disk_light = 1 - galaxy.bulge_to_total
    inclined = _step(galaxy.inclination, 78, 2.5) if galaxy.kind == "disk" else 0.0
    flat = _step(0.33 - galaxy.axis_ratio, 0, 0.05)
    tilt_loss = 1 - 0.7 * _step(galaxy.inclination, 68, 4)
    arms = face_on * tilt_loss * sharp * galaxy.arm_strength * (galaxy.arms > 0) * disk_light**0.5
    bar = face_on * tilt_loss * sharp * galaxy.bar * disk_light**0.5
    patches = face_on * sharp * max(galaxy.flocculence, min(galaxy.clumps / 12, 1.0))
    odd = _odd(galaxy, sharp, face_on)
    strangest = max(odd.values())
    chances = _smooth_or_features(galaxy, arms, bar, patches, inclined, strangest)

    # A concentrated bulge stands out more than its light alone would.
    bulge = galaxy.bulge_to_total + 0.04 * (galaxy.bulge_index - 3)
    just, obvious, dominant = (_step(bulge, t, 0.06) for t in (0.03, 0.27, 0.8))
    chances["bulge_prominence"] = {
        "no_bulge": 1 - just,
        "just_noticeable": just * (1 - obvious),
        "obvious": just * obvious * (1 - dominant),
        "dominant": just * obvious * dominant,
    }
    edge_on = 0.02 + 0.96 * max(inclined, 0.75 * flat)
    chances["edge_on"] = {"yes": edge_on, "no": 1 - edge_on}
    barred = 0.08 + 0.86 * _step(bar, 0.3, 0.07)
    chances["bar"] = {"yes": barred, "no": 1 - barred}
    spiral = 0.08 + 0.88 * max(_step(arms, 0.14, 0.06), 0.45 * patches, 0.5 * galaxy.tails * face_on)
    chances["spiral"] = {"yes": spiral, "no": 1 - spiral}
    boxy = _step(galaxy.bulge_boxiness, 3.2, 0.3)
    visible = _step(bulge, 0.1, 0.04)
    chances["bulge_shape"] = {"rounded": visible * (1 - boxy), "boxy": 0.03 + visible * boxy, "no_bulge": 1 - visible}
    chances["arms_winding"] = _winding(galaxy.pitch)
    chances["arms_number"] = _arms_number(galaxy, arms)
    round_, cigar = _step(galaxy.axis_ratio, 0.8, 0.05), _step(0.34 - galaxy.axis_ratio, 0, 0.04)
    chances["rounded"] = {
        "completely_round": round_,
        "in_between": (1 - round_) * (1 - cigar),
        "cigar_shaped": cigar,
    }
    yes = 0.1 + 0.75 * _step(strangest, 0.62, 0.12)
    chances["odd"] = {"yes": yes, "no": 1 - yes}
    chances["odd_feature"] = {feature: 0.02 + strength**4 for feature, strength in odd.items()}
    # Whoever sees something odd for no reason of shape names nothing in particular.
    chances["odd_feature"]["other"] += 0.03
    return chances


def _smooth_or_features(
    galaxy: Galaxy, arms: float, bar: float, patches: float, inclined: float, strangest: float
) -> dict[str, dict[str, float]]:
    junk = {"star": 0.85, "artifact": 0.45}.get(galaxy.kind, 0.01 + 0.06 * galaxy.bright_star)
    disk = 0.3 * (galaxy.kind == "disk") * (1 - galaxy.bulge_to_total)
    evidence = max(1.8 * arms, 1.2 * bar, 0.6 * patches, 0.75 * inclined, 0.45 * strangest) + disk
    flat = _step(0.3 - galaxy.axis_ratio, 0, 0.06)
    features = 0.08 + 0.86 * _step(evidence + 0.1 * flat, 0.4, 0.13)
    return {
        "smooth_or_features": {
            "smooth": (1 - junk) * (1 - features),
            "features_or_disk": (1 - junk) * features,
            "star_or_artifact": junk,
        }
    }


def _odd(galaxy: Galaxy, sharp: float, face_on: bool) -> dict[str, float]:
    """How striking each odd feature is, about 0 to 1."""
    irregular = galaxy.kind == "irregular"
    near = 1 - _step(galaxy.companion_distance, 45, 5)
    return {
        "ring": face_on * galaxy.ring * (0.4 + 0.6 * sharp),
        "lens_or_arc": galaxy.arc * (0.3 + 0.7 * sharp),
        "disturbed": max(0.9 * galaxy.tails, 0.5 * galaxy.asymmetry * (not irregular)),
        "irregular": galaxy.asymmetry * (1.0 if irregular else 0.3),
        "other": {"star": 0.5, "artifact": 0.8}.get(galaxy.kind, 0.55 * galaxy.bright_star),
        "merger": near * min(1.0, 0.45 + 0.7 * galaxy.companion) * (galaxy.companion > 0),
        "dust_lane": min(1.0, galaxy.dust_lane / 3) * (0.1 + 0.9 * sharp),
    }


def _winding(pitch: float) -> dict[str, float]:
    not_tight, loose = _step(pitch, 14, 2.5), _step(pitch, 24, 2.5)
    return {"tight": 1 - not_tight, "medium": not_tight * (1 - loose), "loose": loose}


def _arms_number(galaxy: Galaxy, arms: float) -> dict[str, float]:
    clear = _step(arms, 0.18, 0.07) * (1 - 0.4 * galaxy.flocculence)
    keys = ("1", "2", "3", "4", "more_than_4")
    chances = {key: 0.02 + 0.9 * (min(galaxy.arms, 5) == number) for number, key in enumerate(keys, 1)}
    # The eye makes two of most faint patterns.
    chances["2"] += 0.2
    return {**{key: clear * chance for key, chance in chances.items()}, "cant_tell": 1.05 * (1 - clear) + 0.03}
