"""How often do 95 % bootstrap intervals of accuracy and macro F1 hold the population's score?

    python studies/classes/intervals.py LABELS [studies/folds/default.parquet]

The population is the confusion matrix of the seven classes, by the rules' margins, of a model's out-of-fold
predictions; samples of it are drawn, and of each sample intervals by four ways. BCa is Efron's
(1987, J. Am. Stat. Assoc. 82, 171).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuningfork import load_tree, read_labels, read_table
from tuningfork.evaluation.metrics import Interval, confusion_matrix
from tuningfork.votes.clean_samples import class_margins, classify

Floats = NDArray[np.float64]
SAMPLES, RESAMPLES = 3000, 800
TREE = load_tree("gz2")
DEFAULT = Path(__file__).parents[1] / "folds" / "default.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("folds", type=Path, nargs="?", default=DEFAULT)
    args = parser.parse_args()
    labels, table = read_labels(args.labels, TREE).votes, read_table(args.folds)
    known = labels.select([labels.row_of[str(id_)] for id_ in table["id"].to_pylist()]).fractions
    predicted = np.column_stack([table[name].to_numpy().astype(float) for name in TREE.columns])
    classes, decided = classify(known, TREE), classify(known, TREE) >= 0
    nearest = class_margins(predicted, TREE).argmax(1)
    matrix = confusion_matrix(classes[decided], nearest[decided], len(TREE.classes))
    rng = np.random.default_rng(0)
    print("| galaxies | score | percentiles | stratified, percentiles | BCa | BCa, stratified |")
    print("|---|---|---|---|---|---|")
    for count in (150, 395, int(matrix.sum())):
        for name, score in (("accuracy", accuracy), ("macro F1", macro_f1)):
            cells = " | ".join(f"{share:.3f}" for share in coverage(score, matrix / matrix.sum(), count, rng))
            print(f"| {count} | {name} | {cells} |")


def coverage(
    score: Callable[[Floats], Floats], share: Floats, count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Share of the samples whose interval holds the score of the population, by the four ways."""
    held = np.zeros(4)
    true, (rows, columns) = float(score(share)), share.shape
    for _ in range(SAMPLES):
        sample = rng.multinomial(count, share.ravel()).reshape(share.shape).astype(float)
        value = float(score(sample))
        plain = score(rng.multinomial(count, sample.ravel() / count, RESAMPLES).reshape(-1, rows, columns) * 1.0)
        stratified = np.zeros((RESAMPLES, rows, columns))
        for row, total in enumerate(sample.sum(1)):
            if total:
                stratified[:, row] = rng.multinomial(int(total), sample[row] / total, RESAMPLES)
        by_class = score(stratified)
        # Leave-one-out: each galaxy of a cell has the same influence.
        cells = np.repeat(np.arange(sample.size), sample.astype(int).ravel())
        left_out = score(sample - np.eye(sample.size).reshape(-1, rows, columns))[cells]
        intervals = (
            Interval.of(value, plain),
            Interval.of(value, by_class),
            Interval.of(value, plain, left_out=left_out),
            Interval.of(value, by_class, left_out=left_out),
        )
        held += [interval.low <= true <= interval.high for interval in intervals]
    return held / SAMPLES


def accuracy(matrices: Floats) -> Floats:
    return np.trace(matrices, axis1=-2, axis2=-1) / matrices.sum((-2, -1))


def macro_f1(matrices: Floats) -> Floats:
    """As `metrics.macro`, of many matrices at once."""
    total = matrices.sum(-1) + matrices.sum(-2)
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    return np.nanmean(np.divide(2 * hits, total, out=np.full(total.shape, np.nan), where=total > 0), -1)


if __name__ == "__main__":
    main()
