"""Everything that was measured about trainings, in one table: paired where predictions of each galaxy exist.

    python studies/ablations.py training_solutions_rev1.csv [--log DONE/log.txt …]

Networks of `studies/folds` predicted each galaxy without having seen it; their differences are paired, with 95 %
bootstrap intervals. Trials of the GPU job, of which `--log` names the logs, have a figure for one fold and no
predictions: their differences from the trial before have no interval, and say little below one per cent.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tuningfork import load_tree, read_labels

Floats = NDArray[np.float64]
FOLDS = Path(__file__).parent / "folds"
#: Rows of the first table: what is compared with what.
PAIRS = (
    (
        "teacher",
        "default",
        "Lite2 at 176 px, 40 epochs, no teacher, against `default`: Lite2 at 144 px, taught",
    ),
    ("fast", "default", "Lite0 at 112 px against Lite2 at 144 px, both taught"),
    ("fast", "teacher", "Lite0 at 112 px, taught, against its teacher"),
)
RESAMPLES = 300
FIGURES = re.compile(r"^\s*[\d.]+ ([a-z]+)(?:-([a-z0-9]+))?-(\d): (\{.*\}); all")
TRIAL = re.compile(r"^\s*[\d.]+ trial (\{.*\}): ([\d.]+), (taken|not taken)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--log", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    tree, labels = load_tree("gz2"), read_labels(args.labels).votes
    tables = {name: pq.read_table(FOLDS / f"{name}.parquet") for name in ("teacher", "fast", "default")}
    known = labels.select([labels.row_of[str(id_)] for id_ in tables["default"]["id"].to_pylist()])
    predicted = {
        name: np.stack([table[column].to_numpy() for column in tree.columns], 1).astype(float)
        for name, table in tables.items()
    }
    print("| what | RMSE, complete rows | RMSE, known columns |")
    print("|---|---|---|")
    for first, second, what in PAIRS:
        cells = [
            difference(predicted[first], predicted[second], known.fractions, rows)
            for rows in (np.flatnonzero(known.complete), np.arange(len(known)))
        ]
        print(f"| {what} | {' | '.join(cells)} |")
    for log in args.log:
        lines = log.read_text("utf-8").splitlines()
        trials = [match for line in lines if (match := TRIAL.match(line))]
        if trials:
            print(f"\nTrials on one fold ({log.name}), one view, mean of both errors, no interval:\n")
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
            if not (match[2] or "").startswith("trial"):
                figures = json.loads(match[4])
                if "rmse 1" in figures:
                    rows.setdefault("-".join(filter(None, (match[1], match[2]))), []).append(figures)
        if rows:
            print(f"\nFolds ({log.name}), one view and eight, mean and standard deviation over folds:\n")
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
