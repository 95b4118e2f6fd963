"""Everything that was measured about trainings, in one table: paired where predictions of each galaxy exist.

    python studies/ablations.py training_solutions_rev1.csv

Networks of `studies/folds` and `studies/fair` predicted each galaxy without having seen it; their differences are
paired, with 95 % bootstrap intervals, over the galaxies that both predicted. Trials of the GPU job, whose logs are in
`studies/folds/logs`, have a figure for each fold and no predictions: their differences from the trial before have no
interval, and say little below one per cent.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tuningfork import load_tree, read_labels

Floats = NDArray[np.float64]
FOLDS, FAIR = (Path(__file__).with_name(name) for name in ("folds", "fair"))
#: Rows of the first table: what is compared with what.
PAIRS = (
    (
        "teacher",
        "default",
        "Lite2 at 176 px, 40 epochs, no teacher, against `default`: Lite2 at 144 px, taught",
    ),
    ("first-fast", "default", "Lite0 at 112 px against Lite2 at 144 px, both taught, the latter by the former too"),
    ("first-fast", "teacher", "Lite0 at 112 px, taught, against its teacher"),
    (
        "stronger",
        "default",
        "stronger changes of the images, and 235,000 of them instead of 190,000; folds 0 to 3",
    ),
    (
        "longer",
        "default",
        "the same changes, 470,000 images instead of 190,000, `default` and the new `fast` as teachers",
    ),
    (
        "longer",
        "stronger",
        "470,000 images instead of 235,000, `default` and the new `fast` as teachers; folds 0 to 3",
    ),
    ("fast-340k", "fast-170k", "Lite0 at 112 px: 340,000 images instead of 170,000, the rest equal; folds 0 and 1"),
    (
        "fast",
        "first-fast",
        "`fast` against the one before: 340,000 images instead of 150,000, stronger changes, `default` a teacher too, "
        "1,000 weakly labelled galaxies more",
    ),
    ("fast", "default", "`fast` (Lite0 at 112 px) against `default` (Lite2 at 144 px, half as many images)"),
)
FAIR_PAIRS = (
    (
        "plain-recipe",
        "paper-recipe",
        "our recipe against the paper's: Lite0 at 112 px, both from ImageNet weights, 24 epochs, fold 0",
    ),
    (
        "plain-recipe",
        "../folds/fast",
        "our recipe on the labelled galaxies alone against `fast`: further images, teachers, and the last layer scaled",
    ),
    ("plain-144px", "plain-recipe", "our recipe on the labelled galaxies alone, Lite0: 144 px against 112 px"),
    ("plain-160px", "plain-recipe", "the same: 160 px against 112 px"),
    ("plain-lite1", "plain-recipe", "our recipe on the labelled galaxies alone, 112 px: Lite1 against Lite0"),
    ("plain-lite2", "plain-recipe", "the same: Lite2 against Lite0"),
    ("plain-other-seed", "plain-recipe", "the same, Lite0 at 112 px: another seed, and nothing else"),
    ("plain-sigmoid", "plain-recipe", "each fraction by itself against the exact tree"),
    ("plain-sigmoid-exact", "plain-recipe", "and its sums made those of the tree afterwards, against the exact tree"),
    (
        "plain-apart",
        "plain-recipe",
        "a second head in training, of each fraction by itself, against none",
    ),
    (
        "plain-pairs",
        "plain-recipe",
        "two views of half as many galaxies a batch, whose difference costs, against none",
    ),
    ("plain-plain-mean", "plain-recipe", "plain mean of the weights in the last quarter against their moving average"),
    ("plain-hart", "plain-recipe", "further images, a fifth of each batch: shares of Hart et al. 2016, against none"),
    ("plain-weak", "plain-recipe", "further images, 44 % of each batch: weakly labelled galaxies, against none"),
    ("plain-taught", "plain-recipe", "teachers fill in the unknown fractions of the labelled galaxies, against none"),
)
RESAMPLES = 300
FIGURES = re.compile(r"^\s*[\d.]+ ([a-z]+(?:-[a-z][a-z0-9]*)*)((?:-\d)+): (\{.*\}\})")
TRIAL = re.compile(r"^\s*[\d.]+ trial (\{.*\}): ([\d.]+), (taken|not taken)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    args = parser.parse_args()
    tree, labels = load_tree("gz2"), read_labels(args.labels).votes
    for folder, pairs in ((FOLDS, PAIRS), (FAIR, FAIR_PAIRS)):
        print("| what | galaxies | RMSE, complete rows | RMSE, known columns |")
        print("|---|---|---|---|")
        for first, second, what in pairs:
            # What was trained elsewhere may not be there yet.
            if not all((folder / f"{name}.parquet").exists() for name in (first, second)):
                print(f"| {what} | not there | | |")
                continue
            names, predicted = common(folder / f"{first}.parquet", folder / f"{second}.parquet", tree.columns)
            known = labels.select([labels.row_of[name] for name in names])
            cells = [
                difference(*predicted, known.fractions, rows)
                for rows in (np.flatnonzero(known.complete), np.arange(len(known)))
            ]
            print(f"| {what} | {len(names)} | {' | '.join(cells)} |")
        print()
    for log in sorted((FOLDS / "logs").glob("*.txt")):
        lines = log.read_text("utf-8").splitlines()
        trials = [match for line in lines if (match := TRIAL.match(line))]
        if trials:
            print(f"\nTrials ({log.stem}), one view, mean of both errors, no interval:\n")
            print("| change | error | beside the best before | kept |")
            print("|---|---|---|---|")
            best = None
            for change, text, taken in (match.groups() for match in trials):
                error = float(text)
                beside = "" if best is None else f"{100 * (error / best - 1):+.1f} %"
                print(f"| {change if change != '{}' else 'as the plan begins'} | {error:.4f} | {beside} | {taken} |")
                best = error if taken == "taken" else best
        rows: dict[str, list[dict[str, float]]] = {}
        for match in filter(None, map(FIGURES.match, lines)):
            if "trial" not in match[1]:
                rows.setdefault(match[1], []).append(json.loads(match[3]))
        if rows:
            print(f"\nFolds ({log.stem}), one view and eight, mean and standard deviation over folds:\n")
            print("| networks | folds | epochs | complete, 1 | known, 1 | complete, 8 | known, 8 |")
            print("|---|---|---|---|---|---|---|")
            for name, each in rows.items():
                cells = [
                    f"{np.mean(values):.4f} ± {np.std(values):.4f}"
                    for views in ("rmse 1", "rmse 8")
                    for kind in ("complete", "known")
                    for values in [[figures[views][kind] for figures in each]]  # type: ignore[index]
                ]
                print(f"| {name} | {len(each)} | {each[0]['epochs']:.0f} | {' | '.join(cells)} |")


def common(first: Path, second: Path, columns: Sequence[str]) -> tuple[list[str], list[Floats]]:
    """The IDs in both tables, and both tables' cumulative fractions (N, A) of them."""
    tables = [pq.read_table(path) for path in (first, second)]
    rows = [{str(id_): row for row, id_ in enumerate(table["id"].to_pylist())} for table in tables]
    names = [name for name in rows[0] if name in rows[1]]
    return names, [
        np.stack([table[column].to_numpy() for column in columns], 1).astype(float)[[at[name] for name in names]]
        for table, at in zip(tables, rows, strict=True)
    ]


def difference(first: Floats, second: Floats, truth: Floats, rows: NDArray[np.int64]) -> str:
    """How much larger the first error is, in per cent of the second, with a paired interval."""

    def error(predicted: Floats, drawn: NDArray[np.int64]) -> float:
        return float(np.sqrt(np.nanmean(np.square(predicted[drawn] - truth[drawn]))))

    rng = np.random.default_rng(0)
    draws = [
        100 * (error(first, drawn) / error(second, drawn) - 1)
        for drawn in (rng.choice(rows, len(rows)) for _ in range(RESAMPLES))
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    value = 100 * (error(first, rows) / error(second, rows) - 1)
    return f"{error(first, rows):.4f}, {value:+.1f} % ({low:+.1f}…{high:+.1f})"


if __name__ == "__main__":
    main()
