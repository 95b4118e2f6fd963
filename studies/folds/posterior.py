"""Print how intervals, posterior and counts of populations hold on galaxies that neither network nor fit saw.

    python studies/folds/posterior.py studies/folds/default.parquet training_solutions_rev1.csv

Each galaxy was predicted by the network that was trained without its fold; intervals and posterior are fitted on the
other four folds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuningfork import load_tree, read_labels
from tuningfork._utils.binomial import binomial_interval
from tuningfork.evaluation.calibrate import held_out_bounds
from tuningfork.evaluation.reliability import coverage
from tuningfork.model.conformal import bound
from tuningfork.model.intervals import fit_intervals
from tuningfork.model.posterior_fit import fit_posterior
from tuningfork.tables import read_table
from tuningfork.votes.fractions import reach_probability
from tuningfork.votes.rules import parse_rule
from tuningfork.votes.vote_table import VoteTable

Floats = NDArray[np.float64]
LEVELS = (0.5, 0.8, 0.9)
#: Half of the smallest difference of votes that is resolved; a fraction within it of a draw is as well above as below.
TIE = 0.01
RULES = (
    "smooth >= 0.8",
    "features >= 0.43 and edge_on_yes >= 0.602",
    "odd_yes >= 0.42",
    "class:completely_round",
    "class:barred_spiral",
    "spiral_yes >= 0.5",
    "class:irregular",
    "odd_yes >= 0.42 and odd_feature_merger_fraction >= 0.5",
)
SUBSETS, SUBSET = 200, 400
#: Least cumulative fractions of every answer that are counted, too, where so many galaxies reach them and do not.
GRID, LEAST_COUNT = (0.15, 0.25, 0.35, 0.5), 8
WORST = 8
#: Answers whose errors are compared, and the share of the volunteers who must be asked.
CORRELATED = (
    ("smooth_or_features_features_or_disk", "bar_yes"),
    ("smooth_or_features_features_or_disk", "spiral_yes"),
    ("bar_yes", "spiral_yes"),
    ("odd_yes", "odd_feature_merger"),
    ("smooth_or_features_smooth", "odd_yes"),
    ("smooth_or_features_smooth", "edge_on_yes"),
)
ASKED = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--draws", type=int, default=200)
    args = parser.parse_args()
    tree = load_tree("gz2")
    table = read_table(args.predictions)
    ids, fold = tuple(table["id"].to_pylist()), table["fold"].to_numpy()
    cumulative = np.stack([table[column].to_numpy() for column in tree.columns], 1).astype(np.float64)
    labels = read_labels(args.labels, tree).votes
    predicted, known = VoteTable(tree, ids, cumulative), labels.select([labels.row_of[id_] for id_ in ids])
    print_intervals(predicted, known, fold)
    draws = held_out_draws(predicted, known, fold, args.draws)
    print_posterior(draws, known)
    print_correlations(draws, known)
    print_counts(draws, predicted, known, fold)
    print_grid(draws, known)


def answer_by_answer(predicted: VoteTable, known: VoteTable, fold: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Bounds (N, A) as they were: each answer's error by itself, whatever the reach."""
    tree, level = predicted.tree, 0.9
    fractions, true = predicted.conditional, known.conditional
    half = np.full(fractions.shape, np.nan)
    for k in np.unique(fold):
        held, rest = fold == k, fold != k
        fitted = fit_intervals(predicted.fractions[rest], known.fractions[rest], tree, n_views=1, level=level)
        for number, (question, part) in enumerate(zip(tree.questions, tree.slices, strict=True)):
            reaching = fitted.voters * reach_probability(predicted.fractions, tree, number)
            error = fitted.questions[question.key].expected_error(fractions[:, part], reaching)
            rows = rest & ~np.isnan(true[:, part]).any(1)
            scaled = np.abs(fractions[rows, part] - true[rows, part]) / error[rows]
            half[held, part] = bound(scaled, level) * error[held]
    return np.clip(fractions - half, 0, 1), np.clip(fractions + half, 0, 1)


def print_intervals(predicted: VoteTable, known: VoteTable, fold: NDArray[np.integer]) -> None:
    """Coverage and widths before and after: of all answers to a question, and of the shown one."""
    tree = predicted.tree
    before, after = (
        coverage(*bounds, predicted.fractions, known.fractions, tree)
        for bounds in (answer_by_answer(predicted, known, fold), held_out_bounds(predicted, known, 1, 0.9, fold))
    )
    print("| question | all answers: before | after | mean width | shown answer: before | after | mean width |")
    print("|---|---|---|---|---|---|---|")
    for question in tree.questions:
        old, new = before[question.key], after[question.key]
        cells = [_share(old, "joint"), _share(new, "joint"), f"{old['mean_width']:.2f} → {new['mean_width']:.2f}"]
        old, new = old["shown"], new["shown"]
        cells += [_share(old, "coverage"), _share(new, "coverage")]
        cells += [f"{old['mean_width']:.2f} → {new['mean_width']:.2f}"]
        print(f"| {question.key.replace('_', ' ')} | {' | '.join(cells)} |")
    print()


def _share(each: dict[str, Any], name: str) -> str:
    return f"{each[name]:.3f} ({each['low']:.3f}…{each['high']:.3f})"


def held_out_draws(predicted: VoteTable, known: VoteTable, fold: NDArray[np.integer], k: int) -> NDArray[np.float32]:
    """(k, N, A) draws of cumulative fractions, each galaxy's from a posterior that was fitted without its fold."""
    out = np.empty((k, *predicted.fractions.shape), np.float32)
    for number in np.unique(fold):
        held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        posterior = fit_posterior(predicted.fractions[rest], known.fractions[rest], predicted.tree, n_views=1)
        part = predicted.select(held)
        out[:, held] = posterior.draws(part.conditional, part.ids, part.tree, k)
    return out


def print_posterior(draws: NDArray[np.float32], known: VoteTable) -> None:
    """How often the volunteers' fraction is in the middle half, 80 and 90 % of its draws, and the CRPS.

    The share in 90 % is also given with each galaxy counting for the share of the volunteers who were asked.
    """
    tree, rng = known.tree, np.random.default_rng(0)
    print(
        "| question | galaxies | in 50 % | in 80 % | in 90 % | in 90 %, by volunteers asked "
        "| deciles of the rank, least and most | CRPS |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for question, part in zip(tree.questions, tree.slices, strict=True):
        rows = np.flatnonzero(~np.isnan(known.conditional[:, part]).any(1))
        true = known.conditional[rows, part]
        drawn = _conditional(draws[:, rows, part])
        rank = _ranks(drawn, true, rng)
        deciles = np.histogram(rank, 10, (0, 1))[0] / rank.size
        inside = [f"{(np.abs(rank - 0.5) < level / 2).mean():.3f}" for level in LEVELS]
        weights = known.fractions[rows][:, part].sum(1)
        inside.append(f"{np.average((np.abs(rank - 0.5) < LEVELS[-1] / 2).mean(1), weights=weights):.3f}")
        name = question.key.replace("_", " ")
        cells = [*inside, f"{deciles.min():.3f}…{deciles.max():.3f}", f"{_crps(drawn, true):.4f}"]
        print(f"| {name} | {len(rows)} | {' | '.join(cells)} |")
    print()


def _conditional(drawn: NDArray[np.float32]) -> Floats:
    return drawn.astype(np.float64) / np.maximum(drawn.sum(-1, keepdims=True, dtype=np.float64), 1e-12)


def _ranks(drawn: Floats, true: Floats, rng: np.random.Generator) -> Floats:
    """Share of the draws below the truth (probability integral transform); ties are drawn by lot."""
    below, upto = (drawn < true - TIE).mean(0), (drawn <= true + TIE).mean(0)
    return below + (upto - below) * rng.random(below.shape)


def print_correlations(draws: NDArray[np.float32], known: VoteTable) -> None:
    """How errors of different questions go together: rank correlation of the ranks, where a fifth is asked or more."""
    tree, rng = known.tree, np.random.default_rng(2)
    names = tree.fraction_names
    print("| errors of | and of | galaxies | rank correlation |")
    print("|---|---|---|---|")
    for pair in CORRELATED:
        ranks, rows = [], np.ones(len(known), bool)
        for place in (names.index(f"{name}_fraction") for name in pair):
            number = next(n for n, part in enumerate(tree.slices) if part.start <= place < part.stop)
            part = tree.slices[number]
            drawn = _conditional(draws[:, :, part])[..., place - part.start]
            ranks.append(_ranks(drawn, known.conditional[:, place], rng))
            rows &= ~np.isnan(known.conditional[:, part]).any(1)
            rows &= reach_probability(known.fractions, tree, number) >= ASKED
        first, second = (rank[rows].argsort().argsort() for rank in ranks)
        words = (name.replace("_", " ") for name in pair)
        print(f"| {' | '.join(words)} | {rows.sum()} | {np.corrcoef(first, second)[0, 1]:.2f} |")
    print()


def _crps(drawn: Floats, true: Floats) -> float:
    """Continuous ranked probability score (Gneiting & Raftery 2007, JASA 102, 359) of (k, N, K) draws."""
    k, ordered = len(drawn), np.sort(drawn, 0)
    weights = (2 * np.arange(1, k + 1) - k - 1) / k**2
    return float((np.abs(drawn - true).mean(0) - np.einsum("k,kna->na", weights, ordered)).mean())


def print_counts(draws: NDArray[np.float32], predicted: VoteTable, known: VoteTable, fold: NDArray[np.integer]) -> None:
    """Counts of populations: true, by threshold, from draws; how often the 90 % interval holds the true one."""
    print("| rule | galaxies | true | by threshold | from draws | held in subsets | in folds |")
    print("|---|---|---|---|---|---|---|")
    rng, held_in_all = np.random.default_rng(1), []
    for text in RULES:
        rule = parse_rule(text, known.tree)
        true = rule.fits(known.fractions)
        # Where some rows do not decide it, only complete ones are a fair sample.
        rows = np.flatnonzero(known.complete if (true == -1).any() else np.ones(len(true), bool))
        truth, fits = true[rows] == 1, rule.fits(draws[:, rows]) == 1
        low, high = np.quantile(fits.sum(1), (0.05, 0.95))
        size = min(SUBSET, len(rows) // 2)
        held = [_is_held(fits[:, at], truth[at]) for at in (rng.permutation(len(rows))[:size] for _ in range(SUBSETS))]
        held_in_all.append(np.mean(held))
        folds = sum(_is_held(fits[:, fold[rows] == k], truth[fold[rows] == k]) for k in np.unique(fold))
        threshold = int((rule.fits(predicted.fractions[rows]) == 1).sum())
        drawn = f"{fits.sum(1).mean():.0f} ({low:.0f}…{high:.0f})"
        wilson = "…".join(f"{end:.2f}" for end in binomial_interval(sum(held), SUBSETS))
        cells = (text, len(rows), truth.sum(), threshold, drawn, f"{np.mean(held):.2f} ({wilson})", f"{folds}/5")
        print(f"| {' | '.join(map(str, cells))} |")
    print(f"\nheld on average over the rules: {np.mean(held_in_all):.3f} of {SUBSETS} subsets of up to {SUBSET}")


def print_grid(draws: NDArray[np.float32], known: VoteTable) -> None:
    """Counts of all galaxies that reach a fraction of an answer: how often they are held, and the least so."""
    rng, rows_of, of_all = np.random.default_rng(1), [], []
    for place, name in enumerate(known.tree.fraction_names):
        rows = np.flatnonzero(~np.isnan(known.fractions[:, place]))
        size = min(SUBSET, len(rows) // 2)
        for least in GRID:
            truth, fits = known.fractions[rows, place] >= least, draws[:, rows, place] >= least
            if min(truth.sum(), (~truth).sum()) < LEAST_COUNT:
                continue
            held = [_is_held(fits[:, at], truth[at]) for at in (rng.permutation(len(rows))[:size] for _ in range(50))]
            counts = fits.sum(1)
            off = (truth.sum() - counts.mean()) / counts.std()
            of_all.append(_is_held(fits, truth))
            rows_of.append((off, np.mean(held), name, least, int(truth.sum()), counts.mean(), len(rows)))
    in_subsets = np.mean([row[1] for row in rows_of])
    print(
        f"\nOf {len(rows_of)} counts of galaxies that reach {', '.join(map(str, GRID))} of an answer: held in "
        f"{in_subsets:.3f} of 50 subsets, of all galaxies {np.mean(of_all):.3f}; the least so:\n"
    )
    print("| cumulative fraction | galaxies | true | from draws | off by, in standard deviations | held in subsets |")
    print("|---|---|---|---|---|---|")
    for off_, held_, name, least, true, mean, count in sorted(rows_of, key=lambda row: -abs(row[0]))[:WORST]:
        shown = name.removesuffix("_fraction").replace("_", " ")
        print(f"| {shown} >= {least} | {count} | {true} | {mean:.0f} | {off_:+.1f} | {held_:.2f} |")


def _is_held(fits: NDArray[np.bool_], truth: NDArray[np.bool_]) -> bool:
    low, high = np.quantile(fits.sum(1), (0.05, 0.95))
    return bool(low <= truth.sum() <= high)


if __name__ == "__main__":
    main()
