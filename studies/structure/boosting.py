"""What non-parametric morphology reaches: gradient boosting on structural parameters, beside the networks' folds.

    python studies/structure/measure.py images_training_rev1 training_solutions_rev1.csv structure
    python studies/structure/boosting.py training_solutions_rev1.csv structure/*.parquet

The folds are those of `studies/folds`: each galaxy is predicted by trees, and by networks, that did not see it. Then
what the parameters add to a network: trees that learn its errors on the other folds from its fractions, with and
without the parameters. Scored
are the measured galaxies only, all methods on the same; differences are paired, with 95 % bootstrap intervals. The
class is the rule with the least margin on the predicted votes, of galaxies whose own votes decide one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from tuningfork import load_tree, read_labels, read_table
from tuningfork.images.structure import QUANTITIES
from tuningfork.votes.clean_samples import class_margins
from tuningfork.votes.fractions import conditional_from_cumulative, cumulative_from_conditional
from tuningfork.votes.tree import DecisionTree

Floats = NDArray[np.float64]
FOLDS = Path(__file__).parents[1] / "folds"
RESAMPLES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("structure", type=Path, nargs="+", help="tables that `tuningfork measure` wrote")
    args = parser.parse_args()
    tree, labels = load_tree("gz2"), read_labels(args.labels).votes
    rows_of_tables = [row for file in args.structure for row in read_table(file).to_pylist()]
    measured = [row for row in rows_of_tables if not row["error"]]
    networks = {name: pq.read_table(FOLDS / f"{name}.parquet") for name in ("teacher", "fast", "default")}
    place = {str(id_): row for row, id_ in enumerate(networks["default"]["id"].to_pylist())}
    measured = [row for row in measured if str(row["id"]) in place]
    ids = [str(row["id"]) for row in measured]
    known = labels.select([labels.row_of[id_] for id_ in ids])
    truth, rows = known.fractions, np.array([place[id_] for id_ in ids])
    fold = np.array(networks["default"]["fold"].to_pylist())[rows]
    names = [quantity.name for quantity in QUANTITIES if quantity.name != "orientation_asymmetry"]
    features = np.array([[np.nan if row[name] is None else row[name] for name in names] for row in measured], float)

    predicted = {"mean of the other folds": np.empty_like(truth), "gradient boosting": np.empty_like(truth)}
    for number in np.unique(fold):
        out, rest = fold == number, fold != number
        predicted["mean of the other folds"][out] = np.nanmean(truth[rest], 0)
        for column in range(truth.shape[1]):
            use = rest & ~np.isnan(truth[:, column])
            model = HistGradientBoostingRegressor(max_iter=60, learning_rate=0.08, min_samples_leaf=10, random_state=0)
            model.fit(features[use], truth[use, column])
            predicted["gradient boosting"][out, column] = model.predict(features[out])
    predicted["gradient boosting"] = with_sums(predicted["gradient boosting"], tree)
    for name, each in networks.items():
        fractions = np.stack([each[column].to_numpy() for column in tree.columns], 1)[rows]
        predicted[f"network, {name}"] = fractions.astype(float)
    network = predicted["network, default"]
    both = np.hstack([network, features])
    predicted["network, default, its errors boosted on its fractions"] = corrected(network, network, truth, fold, tree)
    predicted["the same, and on structural parameters"] = corrected(network, both, truth, fold, tree)

    complete, decided = known.complete, known.classes >= 0
    flags = np.array([row["flag"] for row in measured])
    print(
        f"{len(ids)} galaxies measured ({int(complete.sum())} complete), {int((flags == 0).sum())} with flag 0, "
        f"{sum(bool(row['error']) for row in rows_of_tables)} not measured; {int(decided.sum())} have a class\n"
    )
    print("| method | RMSE, complete rows | RMSE, known columns | accuracy of the class |")
    print("|---|---|---|---|")
    best = predicted["network, default"]
    for name, each in predicted.items():
        cells = [
            paired(lambda r, p: rmse(p[r], truth[r]), each, best, np.flatnonzero(complete)),
            paired(lambda r, p: rmse(p[r], truth[r]), each, best, np.arange(len(ids))),
            paired(
                lambda r, p: float((class_margins(p[r], tree).argmax(-1) == known.classes[r]).mean()),
                each,
                best,
                np.flatnonzero(decided),
            ),
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\nBeside each figure: its difference from the network `default`, paired, 95 %.")


def corrected(network: Floats, features: Floats, truth: Floats, fold: NDArray[np.int64], tree: DecisionTree) -> Floats:
    """The network's fractions and what small trees, fitted on the other folds, say of their errors."""
    out = network.copy()
    for number in np.unique(fold):
        held, rest = fold == number, fold != number
        for column in range(truth.shape[1]):
            use = rest & ~np.isnan(truth[:, column])
            model = HistGradientBoostingRegressor(
                max_iter=40, learning_rate=0.05, max_leaf_nodes=6, min_samples_leaf=30, random_state=0
            )
            model.fit(features[use], truth[use, column] - network[use, column])
            out[held, column] += model.predict(features[held])
    return with_sums(out, tree)


def with_sums(cumulative: Floats, tree: DecisionTree) -> Floats:
    """The nearest fractions whose sums hold: shares of each question, multiplied down the tree."""
    conditional = conditional_from_cumulative(np.clip(cumulative, 1e-4, 1), tree)
    return cumulative_from_conditional(conditional, tree)


def rmse(predicted: Floats, truth: Floats) -> float:
    """Root mean square error over known cells."""
    return float(np.sqrt(np.nanmean(np.square(predicted - truth))))


def paired(
    score: Callable[[NDArray[np.int64], Floats], float], mine: Floats, other: Floats, rows: NDArray[np.int64]
) -> str:
    """A score, and its difference from another's with an interval over resampled galaxies."""
    rng = np.random.default_rng(0)
    value, draws = score(rows, mine), []
    for _ in range(RESAMPLES):
        drawn = rng.choice(rows, len(rows))
        draws.append(score(drawn, mine) - score(drawn, other))
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{value:.4f} ({value - score(rows, other):+.4f}: {low:+.4f}…{high:+.4f})"


if __name__ == "__main__":
    main()
