"""Counts of galaxies that fulfil a rule, with the errors of the classification and of the sampling, by bins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from ..model.posterior import VotePosterior, id_keys
from ..tables import Column, arrow_schema, ucd
from ..votes.fractions import cumulative_from_conditional
from ..votes.rules import Rule
from ..votes.traversal import with_parents
from ..votes.tree import DecisionTree
from .population_bins import Bins

__all__ = ["GalaxyBlock", "Population", "PopulationCount", "PopulationError", "PopulationOptions", "count_population"]

Floats = NDArray[np.float64]
#: Draws of the sampling error for each draw of the classification.
_RESAMPLES = 40


class PopulationError(TuningforkError, ValueError):
    """Galaxies that cannot be counted; the message says what to do."""


@dataclass(frozen=True, slots=True)
class PopulationOptions:
    """How galaxies are counted.

    Parameters
    ----------
    draws : int, at least 20
        Draws of each galaxy's fractions.
    level : float in (0, 1)
        Of the intervals.
    seed : int, at least 0

    Raises
    ------
    PopulationError
        If a value is out of its range.
    """

    draws: int = 200
    level: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 20 or self.seed < 0 or not 0 < self.level < 1:
            raise PopulationError(
                f"draws = {self.draws}, level = {self.level}, seed = {self.seed}: at least 20 draws, a level between "
                "0 and 1 and a seed of at least 0 are needed"
            )


@dataclass(frozen=True, eq=False)
class GalaxyBlock:
    """Some rows of a prediction table.

    Parameters
    ----------
    ids : n texts
    fractions : (n, A) float64 in [0, 1]
        Predicted conditional fractions; NaN where nobody would reach the question, or there is no prediction.
    values : (n,) of floats or texts, or None
        The column to count by; NaN or "" where it is blank.
    out_of_domain : (n,) bool
    """

    ids: Sequence[str]
    fractions: Floats
    values: NDArray[Any] | None
    out_of_domain: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PopulationCount:
    """How many galaxies of a bin fulfil a rule.

    Parameters
    ----------
    rule : str
    bin : str
        In words; "all" without bins.
    low, high : float or None
        Edges of the bin.
    galaxies : int
        With a prediction, in the bin.
    thresholded : int
        Those whose predicted fractions fulfil the rule: biased, for comparison.
    count : float
        Mean over the draws.
    count_interval : (float, float) or None
        Error of the classification: quantiles of the counts of the draws. None without galaxies.
    fraction : float or None
    classification_interval, sampling_interval, total_interval : (float, float) or None
        Of the fraction: by the classification alone; by the sampling alone, if these galaxies were drawn at random
        from a large population; by both.
    """

    rule: str
    bin: str
    low: float | None
    high: float | None
    galaxies: int
    thresholded: int
    count: float
    count_interval: tuple[float, float] | None
    fraction: float | None
    classification_interval: tuple[float, float] | None
    sampling_interval: tuple[float, float] | None
    total_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Population:
    """Counts for each rule and bin, and what was left out of them.

    Parameters
    ----------
    counts : tuple of PopulationCount
        All bins of the first rule, then of the second, …
    level : float
    draws : int
    galaxies : int
        Rows with a prediction that are counted.
    left_out : mapping of reason → rows
    notes : texts
        What to know of the counted rows.
    """

    counts: tuple[PopulationCount, ...]
    level: float
    draws: int
    galaxies: int
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "level": self.level,
            "draws": self.draws,
            "galaxies": self.galaxies,
            "left_out": self.left_out,
            "notes": list(self.notes),
            "counts": self.to_table().to_pylist(),
        }

    def to_table(self) -> pa.Table:
        """Return a row for each rule and bin."""
        names = ("rule", "bin", "low", "high", "galaxies", "thresholded", "count", "fraction")
        columns: dict[str, list[Any]] = {name: [getattr(each, name) for each in self.counts] for name in names}
        columns |= {"level": [self.level] * len(self.counts)}
        for name in ("count", "classification", "sampling", "total"):
            pairs = [getattr(each, f"{name}_interval") or (None, None) for each in self.counts]
            columns[f"{name}_low"], columns[f"{name}_high"] = (list(ends) for ends in zip(*pairs, strict=True))
        schema = _schema()
        return pa.table([columns[name] for name in schema.names], schema=schema)


def count_population(
    blocks: Iterable[GalaxyBlock],
    posterior: VotePosterior,
    rules: Sequence[Rule],
    bins: Bins,
    options: PopulationOptions = PopulationOptions(),
) -> Population:
    """Count the galaxies that fulfil each rule, from draws of their fractions.

    A threshold on predicted fractions is biased, since a prediction is nearer to the mean than what it predicts. Here
    each galaxy counts in those draws of its fractions that fulfil the rule. The scatter of the counts over the draws
    is the error of the classification; it contains what is common to all galaxies. The error of the sampling is that of
    a binomial share, with Jeffreys' prior (Brown, Cai & DasGupta 2001, Stat. Sci. 16, 101).

    Parameters
    ----------
    blocks : iterable of GalaxyBlock
        One is in memory at a time.
    posterior : VotePosterior
        Of the model that predicted.
    rules : one or more Rule, of one tree
    bins : Bins
    options : PopulationOptions

    Raises
    ------
    PopulationError
        If there is no rule, or the posterior has not all questions of a rule.
    """
    tree, questions = _checked(posterior, rules)
    shape = (len(rules), len(bins.names))
    drawn = np.zeros((*shape, options.draws), np.int64)
    thresholded, galaxies = np.zeros(shape, np.int64), np.zeros(shape[1], np.int64)
    flagged, total = 0, 0
    left_out = {"without a prediction": 0, **dict.fromkeys(bins.left_out, 0)}
    keys: list[NDArray[np.uint64]] = []
    for block in blocks:
        predicted = ~np.isnan(block.fractions[:, tree.slices[0]]).any(1)
        place = bins.places(block.values, len(block.ids))
        left_out["without a prediction"] += int((~predicted).sum())
        for number, reason in enumerate(bins.left_out, 1):
            left_out[reason] += int((predicted & (place == -number)).sum())
        rows = np.flatnonzero(predicted & (place >= 0))
        ids, fractions, where = [block.ids[row] for row in rows.tolist()], block.fractions[rows], place[rows]
        flagged, total = flagged + int(block.out_of_domain[rows].sum()), total + len(rows)
        keys.append(np.array(id_keys(ids), np.uint64))
        galaxies += np.bincount(where, minlength=shape[1])
        draws = posterior.draws(fractions, ids, tree, options.draws, options.seed, questions=questions)
        cumulative = cumulative_from_conditional(fractions, tree)
        for number, rule in enumerate(rules):
            thresholded[number] += np.bincount(where[rule.fits(cumulative) == 1], minlength=shape[1])
            fits = rule.fits(draws) == 1
            for bin_ in np.unique(where):
                drawn[number, bin_] += fits[:, where == bin_].sum(1)
    counts = [
        _count(rule.text, bins, bin_, int(galaxies[bin_]), int(thresholded[number, bin_]), drawn[number, bin_], options)
        for number, rule in enumerate(rules)
        for bin_ in range(shape[1])
    ]
    repeated = total - len(np.unique(np.concatenate(keys))) if keys else 0
    notes = []
    if flagged:
        notes.append(f"{flagged} of the {total} counted are flagged as out of domain; their fractions may mean nothing")
    if repeated:
        notes.append(f"{repeated} rows have the ID of an earlier row; they are counted again")
    return Population(
        tuple(counts), options.level, options.draws, total, {k: n for k, n in left_out.items() if n}, tuple(notes)
    )


def _checked(posterior: VotePosterior, rules: Sequence[Rule]) -> tuple[DecisionTree, set[str]]:
    if not rules:
        raise PopulationError("no rule to count by; such as: smooth >= 0.8")
    tree = rules[0].tree
    for rule in rules:
        for key in sorted(with_parents(tree, rule.questions) & set(posterior.missing)):
            raise PopulationError(
                f"rule {rule.text!r} needs draws of {key}, which the model has not ({posterior.missing[key]})"
            )
    return tree, {key for rule in rules for key in rule.questions}


def _count(
    rule: str,
    bins: Bins,
    place: int,
    galaxies: int,
    thresholded: int,
    drawn: NDArray[np.int64],
    options: PopulationOptions,
) -> PopulationCount:
    name, (low, high) = bins.names[place], bins.edges[place]
    if not galaxies:
        return PopulationCount(rule, name, low, high, 0, 0, 0.0, None, None, None, None, None)

    def interval(values: Floats | NDArray[np.int64]) -> tuple[float, float]:
        ends = np.quantile(values, [(1 - options.level) / 2, (1 + options.level) / 2])
        return float(ends[0]), float(ends[1])

    mean, count_interval = float(drawn.mean()), interval(drawn)
    rng = np.random.default_rng([options.seed, place])
    sampling = rng.beta(mean + 0.5, galaxies - mean + 0.5, options.draws * _RESAMPLES)
    both = rng.beta(drawn + 0.5, galaxies - drawn + 0.5, (_RESAMPLES, options.draws))
    return PopulationCount(
        rule,
        name,
        low,
        high,
        galaxies,
        thresholded,
        mean,
        count_interval,
        mean / galaxies,
        (count_interval[0] / galaxies, count_interval[1] / galaxies),
        interval(sampling),
        interval(both),
    )


def _schema() -> pa.Schema:
    share = "of the fraction of galaxies that fulfil the rule, by"
    texts = {
        "classification": f"{share} the error of the classification",
        "sampling": f"{share} the error of sampling from a large population",
        "total": f"{share} both errors",
    }
    bounds = (("low", "Lower", ucd.LEAST), ("high", "Upper", ucd.GREATEST))
    columns = [
        Column("rule", pa.string(), "Rule on the vote fractions", ucd=ucd.NOTE),
        Column("bin", pa.string(), "Bin of the column that is counted by", ucd=ucd.NOTE),
        *(
            Column(end, pa.float64(), f"{word} edge of the bin; null: it has none", ucd=limit)
            for end, word, limit in bounds
        ),
        Column("galaxies", pa.int64(), "Galaxies with a prediction in the bin", "", ucd.COUNT),
        Column("thresholded", pa.int64(), "Those whose predicted fractions fulfil the rule: biased", "", ucd.COUNT),
        Column("count", pa.float64(), "Those that fulfil the rule, mean over draws of the fractions", "", ucd.COUNT),
        *(
            Column(
                f"count_{end}", pa.float64(), f"{word} bound of count, by the error of the classification", "", limit
            )
            for end, word, limit in bounds
        ),
        Column("fraction", pa.float64(), "count over galaxies; null without galaxies", "", ucd.VALUE),
        *(
            Column(f"{name}_{end}", pa.float64(), f"{word} bound {text}", "", limit)
            for name, text in texts.items()
            for end, word, limit in bounds
        ),
        Column("level", pa.float64(), "Share of cases that each interval is to hold", "", ucd.LEVEL),
    ]
    return arrow_schema(columns)
