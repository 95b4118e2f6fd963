"""Where should the class of a galaxy come from? Ways to name one of seven classes, or none, on galaxies left out.

    python studies/classes/compare.py LABELS [studies/folds/default.parquet ...] [--variants | --than as-trained]

LABELS is the challenge's label table. Each of the 4,050 galaxies is predicted by a network that did not see it, and
everything that is fitted here is fitted on the other four folds. Galaxies whose class is undecided, since the votes of
most questions are blank, are made up for by weights (`votes.clean_samples.decision_weights`).

`--variants` compares the way of the models with simpler ones: one slope, no offsets, no weights.

`--than` names a folder with other predictions of the same galaxies in files of the same names, such as those that
`scripts/gpu/folds.py --as-trained` writes; printed are then the differences of the scores from theirs, paired.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tuningfork import load_tree, read_labels, read_table
from tuningfork.evaluation import metrics
from tuningfork.evaluation.reliability import class_reliability
from tuningfork.model.class_calibration import LEAST_PROBABILITY, ClassCalibration, class_scores, contradictory
from tuningfork.model.class_calibration_fit import PRIOR, fit_classes
from tuningfork.model.posterior_fit import fit_posterior
from tuningfork.votes.clean_samples import Status, class_fits, classify, decision_weights, justified
from tuningfork.votes.fractions import conditional_from_cumulative
from tuningfork.votes.vote_table import VoteTable

Floats = NDArray[np.float64]
HERE = Path(__file__).parent
DRAWS = 200
TREE = load_tree("gz2")


@dataclass(frozen=True)
class Galaxies:
    """Predictions (N, A), the network's class outputs (N, C), volunteers' fractions (N, A), folds (N,)."""

    predicted: VoteTable
    network: Floats
    known: Floats
    fold: NDArray[np.int64]

    @property
    def classes(self) -> NDArray[np.int8]:
        return classify(self.known, TREE)

    @property
    def classes_and_none(self) -> NDArray[np.int64]:
        """(N,) 0…C − 1, and C of none; C of those undecided, too."""
        return np.where(self.classes < 0, len(TREE.classes), self.classes).astype(int)


#: Training rows → probability (N, C + 1) of all galaxies, calibrated on the training rows alone.
Method = Callable[[Galaxies, NDArray[np.bool_]], Floats]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("folds", type=Path, nargs="*", default=[HERE.parent / "folds" / "default.parquet"])
    parser.add_argument("--variants", action="store_true", help="compare the models' way with simpler ones")
    parser.add_argument("--than", type=Path, help="folder of other predictions to compare with")
    args = parser.parse_args()
    labels = read_labels(args.labels, TREE).votes
    for path in args.folds:
        if args.than:
            changes(path.stem, read(path, labels), read(args.than / path.name, labels))
        else:
            report(path.stem, read(path, labels), VARIANTS if args.variants else METHODS)


def read(path: Path, labels: VoteTable) -> Galaxies:
    table = read_table(path)
    ids = tuple(map(str, table["id"].to_pylist()))

    def columns(names: list[str]) -> Floats:
        return np.column_stack([table[name].to_numpy().astype(float) for name in names])

    network = columns([f"class_{c}_probability" for c in range(len(TREE.classes))])
    known = labels.select([labels.row_of[id_] for id_ in ids]).fractions
    predicted = VoteTable(TREE, ids, columns(list(TREE.columns)))
    return Galaxies(predicted, network / network.sum(1, keepdims=True), known, table["fold"].to_numpy())


def class_output(data: Galaxies, training: NDArray[np.bool_]) -> Floats:
    """The network's class output, of galaxies that have a class: no probability of none."""
    return np.column_stack([data.network, np.zeros(len(data.network))])


def margins_of_decided(data: Galaxies, training: NDArray[np.bool_]) -> Floats:
    """The rules' margins times a slope that is fitted on galaxies that have a class: no probability of none."""
    scores = class_scores(TREE, votes=data.predicted.fractions)
    scores[:, -1] = -np.inf
    classes = np.where(data.classes < 0, np.int8(Status.UNDECIDED), data.classes)
    return ClassCalibration(fit_classes(scores[training], classes[training]).slope)(scores)


def margins(data: Galaxies, training: NDArray[np.bool_]) -> Floats:
    """What the models do: a multinomial model of the margins, and none."""
    return calibrated(class_scores(TREE, votes=data.predicted.fractions), data, training)


def draws(data: Galaxies, training: NDArray[np.bool_]) -> Floats:
    """How often draws of the posterior pass each rule, and none; calibrated in the same way."""
    predicted = data.predicted
    posterior = fit_posterior(predicted.fractions[training], data.known[training], TREE, n_views=1)
    shares = conditional_from_cumulative(predicted.fractions, TREE)
    passed = np.zeros((len(shares), len(TREE.classes)))
    for seed in range(DRAWS // 20):
        passed += (class_fits(posterior.draws(shares, predicted.ids, TREE, 20, seed), TREE) == 1).sum(0)
    none = np.maximum(DRAWS - passed.sum(1, keepdims=True), 0)
    scores = np.log((passed + 0.5) / (none + 0.5))
    return calibrated(np.column_stack([scores, np.zeros(len(scores))]), data, training)


def margins_of_one_slope(data: Galaxies, training: NDArray[np.bool_]) -> Floats:
    """One slope for margins below and above 0, and the offsets: the most probable ones with the models' prior."""
    scores, contradictions = class_scores(TREE, votes=data.predicted.fractions), contradictions_of(data)
    rows = np.flatnonzero(training & (data.classes > Status.UNDECIDED))
    weights, true = decision_weights(data.known, TREE)[rows], data.classes_and_none[rows]

    def calibration(parameters: Floats) -> ClassCalibration:
        slope, *offsets = parameters.tolist()
        return ClassCalibration(min(max(slope, 0.01), 100.0), tuple(offsets))

    def cost(parameters: Floats) -> float:
        probability = calibration(parameters)(scores[rows], contradictions[rows])[np.arange(len(rows)), true]
        loss = -(weights * np.log(np.maximum(probability, LEAST_PROBABILITY))).sum()
        return float(loss + ((parameters - prior_mean) ** 2).sum() / (2 * PRIOR**2))

    prior_mean = np.array([1.0] + [0.0] * len(TREE.classes))
    return calibration(minimize(cost, prior_mean).x)(scores, contradictions)


def margins_without_offsets(data: Galaxies, training: NDArray[np.bool_]) -> Floats:
    """The fitted slopes alone."""
    scores = class_scores(TREE, votes=data.predicted.fractions)
    return replace(fitted(scores, data, training), offsets=())(scores, contradictions_of(data))


def margins_without_weights(data: Galaxies, training: NDArray[np.bool_]) -> Floats:
    """As if the galaxies that are decided were a fair sample."""
    scores = class_scores(TREE, votes=data.predicted.fractions)
    return fitted(scores, data, training, weighted=False)(scores, contradictions_of(data))


def calibrated(scores: Floats, data: Galaxies, training: NDArray[np.bool_]) -> Floats:
    return fitted(scores, data, training)(scores, contradictions_of(data))


def fitted(scores: Floats, data: Galaxies, training: NDArray[np.bool_], *, weighted: bool = True) -> ClassCalibration:
    weights = decision_weights(data.known, TREE)[training] if weighted else None
    return fit_classes(scores[training], data.classes[training], contradictions_of(data)[training], weights)


def contradictions_of(data: Galaxies) -> NDArray[np.bool_]:
    contradictions = contradictory(data.predicted.fractions, TREE)
    assert contradictions is not None
    return contradictions


SHIPPED = "margins, with none"
SAMPLED = f"{DRAWS} draws, with none"
METHODS: dict[str, Method] = {
    "class output of the network": class_output,
    "margins, without none": margins_of_decided,
    SHIPPED: margins,
    SAMPLED: draws,
}
VARIANTS: dict[str, Method] = {
    SHIPPED: margins,
    "one slope": margins_of_one_slope,
    "no offsets": margins_without_offsets,
    "no weights": margins_without_weights,
}


def out_of_fold(method: Method, data: Galaxies) -> Floats:
    """Probabilities (N, C + 1), each galaxy's calibrated on the other folds."""
    probability = np.empty((len(data.fold), len(TREE.classes) + 1))
    for k in np.unique(data.fold):
        probability[data.fold == k] = method(data, data.fold != k)[data.fold == k]
    return probability


def changes(name: str, data: Galaxies, than: Galaxies) -> None:
    """Print the differences of the shipped way's scores from those of other predictions, paired."""
    if data.predicted.ids != than.predicted.ids:
        raise SystemExit(f"{name}: the two tables are not of the same galaxies in the same order")
    true = data.classes_and_none
    weights = decision_weights(data.known, TREE)
    new, old = (out_of_fold(margins, each) for each in (data, than))
    print(f"\n{name}, margins, with none: more than the other predictions (paired, 95 %)\n")
    print("| galaxies | accuracy | macro F1 |\n|---|---|---|")
    for what, rows, count in (
        ("of a class, or of none", np.flatnonzero(data.classes > Status.UNDECIDED), len(TREE.classes) + 1),
        ("of a class, among the seven", np.flatnonzero(data.classes >= 0), len(TREE.classes)),
    ):
        # Those of a class count once each, as in the other tables' columns "of seven".
        each = weights if count > len(TREE.classes) else np.ones(len(true))
        scores = partial(accuracy_and_f1, true=true, weights=each, count=count)
        cells = []
        for which in (0, 1):
            interval = metrics.bootstrap(partial(difference, which, scores, (new, old), rows), len(rows))
            cells.append(f"{interval.value:+.4f} ({interval.low:+.4f}…{interval.high:+.4f})")
        print(f"| {what} | {' | '.join(cells)} |")


def accuracy_and_f1(
    probability: Floats, rows: NDArray[np.int64], *, true: NDArray[np.int64], weights: Floats, count: int
) -> tuple[float, float]:
    """Of these rows, whose class is the most probable of the first `count`."""
    matrix = metrics.confusion_matrix(true[rows], probability[rows, :count].argmax(1), count, weights[rows])
    return metrics.accuracy(matrix), metrics.macro(matrix)["f1"]


def difference(
    which: int,
    scores: Callable[[Floats, NDArray[np.int64]], tuple[float, float]],
    predictions: tuple[Floats, Floats],
    rows: NDArray[np.int64],
    drawn: NDArray[np.int64],
) -> float:
    """By how much one score of the first predictions is above that of the second, of the drawn ones of `rows`."""
    first, second = (scores(probability, rows[drawn])[which] for probability in predictions)
    return first - second


def report(name: str, data: Galaxies, methods: Mapping[str, Method]) -> None:
    """Print the scores of each way to name a class, and how many galaxies of each class it names and expects."""
    names = [*(rule.name for rule in TREE.classes), "none"]
    true = data.classes_and_none
    weights = decision_weights(data.known, TREE)
    known, decided = data.classes > Status.UNDECIDED, data.classes >= 0
    blank = np.isnan(data.known).any(1).mean()
    print(
        f"\n{name}: {len(true)} galaxies, {int(decided.sum())} of a class, {int((~known).sum())} undecided; "
        f"{blank:.0%} have blank votes\n"
    )
    columns = ("way", "ms a galaxy, fit included", "log loss", "calibration error", "accuracy", "macro F1")
    header = (*columns, "accuracy of seven", "macro F1 of seven", "contradictions")
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    counts, losses = {}, {}
    for way, method in methods.items():
        begin = perf_counter()
        probability = out_of_fold(method, data)
        seconds = (perf_counter() - begin) / len(np.unique(data.fold))
        p, y, w = probability[known], true[known], weights[known]
        losses[way] = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-4))
        matrix = metrics.confusion_matrix(y, p.argmax(1), len(names), w)
        seven = metrics.confusion_matrix(true[decided], probability[decided, :-1].argmax(1), len(names) - 1)
        error = metrics.calibration_error(p.max(1), p.argmax(1) == y, weights=w)
        named = probability.argmax(1)
        rows = np.flatnonzero(named < len(TREE.classes))
        against = int((~justified(data.predicted.fractions, TREE))[rows, named[rows]].sum())
        figures = (np.average(losses[way], weights=w), error, metrics.accuracy(matrix), metrics.macro(matrix)["f1"])
        of_seven = (metrics.accuracy(seven), metrics.macro(seven)["f1"])
        cells = " | ".join(f"{value:.4f}" for value in (*figures, *of_seven))
        print(f"| {way} | {1e3 * seconds / len(true):.3f} | {cells} | {against} |")
        if way == SHIPPED:
            perfect = class_reliability(p, y, w)["if_perfect"]
        counts[way] = [(w * (p.argmax(1) == c)).sum() for c in range(len(names))], (w[:, None] * p).sum(0)
    print("\n| class | galaxies | weighted | " + " | ".join(f"named, expected by {way}" for way in methods) + " |")
    print("|---|---|---|" + "---|" * len(methods))
    for c, class_ in enumerate(names):
        cells = " | ".join(f"{named[c]:.0f}, {expected[c]:.0f}" for named, expected in counts.values())
        rows = known & (true == c)
        print(f"| {class_} | {int(rows.sum())} | {weights[rows].sum():.0f} | {cells} |")
    print(f"\ncalibration error of a perfect model: {perfect['mean']:.3f}, 95 % quantile {perfect['quantile_95']:.3f}")
    if SAMPLED not in losses:
        return
    excess = losses[SAMPLED] - losses[SHIPPED]
    interval = metrics.bootstrap(lambda r: float(np.average(excess[r], weights=weights[known][r])), int(known.sum()))
    bounds = f"{interval.low:.4f}…{interval.high:.4f}"
    print(f"\nlog loss of the draws above that of the margins: {interval.value:.4f} ({bounds})")


if __name__ == "__main__":
    main()
