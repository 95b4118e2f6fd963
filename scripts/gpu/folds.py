"""What `job.py` brought back, joined and judged: each galaxy by the network that did not see it.

    python scripts/gpu/folds.py done --pack .gpu/pack.npz --output studies/folds \
        --baseline default.parquet --split first/split.csv

Writes, for each family, the predictions of all labelled galaxies (cumulative fractions and class probabilities in 16
bits, with the fold; no labels) and prints errors and classes, with 95 % bootstrap intervals. The last layer is scaled
as `ship.py` scales it (`out_of_fold.py`), each fold by a fit on the other four. `--baseline` names a
table that `tuningfork predict` wrote of the same pictures with an older model; families are then also compared with it,
galaxy by galaxy, on the part of `--split` that its training did not see.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from out_of_fold import read, scaled
from trainer.views import VIEWS

from tuningfork import DecisionTree, load_tree
from tuningfork.votes.fractions import conditional_from_cumulative, cumulative_from_conditional

#: Softness of the class that votes imply, in votes: measured once on galaxies that no training saw.
TEMPERATURE = 0.08
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("done", type=Path)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--families", nargs="+", default=["teacher", "fast", "default"])
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--as-trained", action="store_true", help="do not scale the last layer")
    parser.add_argument("--exact", action="store_true", help="make the sums those of the tree; NAME-exact.parquet")
    parser.add_argument("--views", type=int, default=1, help="that are written")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--part", default="test")
    args = parser.parse_args()
    with np.load(args.pack) as file:
        pack = {key: file[key] for key in file.files}
    here = (pack["source"] == "labelled") & np.isin(pack["fold"], args.folds)
    ids, fold, known = pack["ids"][here], pack["fold"][here], pack["cumulative"][here].astype(np.float64)
    rules, tree = json.loads(str(pack["rules"])), load_tree("gz2")
    columns = pack["columns"].tolist()
    truth = votes_class(known, columns, rules)[0]
    told: dict[str, Floats] = {}
    for family in args.families:
        views = raw = read(args.done, family, fold)
        if args.exact:
            views = raw = exact(raw, tree)
        if not args.as_trained:
            views = scaled(raw, known, fold, tree)
            told[f"{family}, not scaled, 1 view(s)"] = raw[0]
        for count in VIEWS:
            told[f"{family}, {count} view(s)"] = views[VIEWS[count]].mean(0)
        if args.output:
            args.output.mkdir(parents=True, exist_ok=True)
            name = f"{family}-exact" if args.exact else family
            write(args.output / f"{name}.parquet", ids, fold, views[VIEWS[args.views]].mean(0), columns, rules)
    print("all labelled galaxies, each by the network that did not see it:")
    for name, said in told.items():
        print(f"  {name}: {judged(said, known, truth, columns, rules)}")
    print("RMSE less than, %, paired on all labelled galaxies:")
    for family in args.families:
        for name, than in (
            (f"{family}, 8 view(s)", f"{family}, 1 view(s)"),
            (f"{family}, 1 view(s)", f"{family}, not scaled, 1 view(s)"),
            (f"{family}, 1 view(s)", "fast, 1 view(s)"),
        ):
            if name != than and name in told and than in told:
                print(f"  {name} than {than}: {compared(told[name], told[than], known)}")
    if args.baseline and args.split:
        with args.split.open(newline="") as rows:
            part = {row["id"] for row in csv.DictReader(rows) if row["part"] == args.part}
        old = baseline(args.baseline, ids, columns, rules)
        rows_ = np.flatnonzero([i in part for i in ids])
        print(f"{args.part} part of the baseline's split, {len(rows_)} galaxies, "
              f"{int((~np.isnan(known[rows_]).any(1)).sum())} complete:")  # fmt: skip
        print(f"  baseline: {judged(old[rows_], known[rows_], truth[rows_], columns, rules)}")
        for name, said in told.items():
            print(f"  {name}: {judged(said[rows_], known[rows_], truth[rows_], columns, rules)}")
            print(f"    less than the baseline, %: {compared(said[rows_], old[rows_], known[rows_])}")


def exact(views: Floats, tree: DecisionTree) -> Floats:
    """Return `views` (V, N, A + C) with the answers of each question scaled to the fraction that reaches it."""
    answers, out = len(tree.columns), views.copy()
    for view in out:
        conditional = np.nan_to_num(conditional_from_cumulative(view[:, :answers], tree))
        view[:, :answers] = cumulative_from_conditional(conditional, tree)
    return out


def votes_class(cumulative: Floats, columns: Sequence[str], rules: list) -> tuple[NDArray[np.int64], Floats]:
    """The class by the rules' least margin over their thresholds (−1 where none is met), and all margins (N, C)."""
    at = {column: i for i, column in enumerate(columns)}
    margins = []
    for _, all_of, any_of in rules:
        least = np.min([cumulative[:, at[c]] - t for c, t in all_of], 0)
        if any_of:
            least = np.minimum(least, np.max([cumulative[:, at[c]] - t for c, t in any_of], 0))
        margins.append(least)
    margin = np.stack(margins, 1)
    met = np.nan_to_num(margin, nan=-1) >= 0
    return np.where(met.any(1), met.argmax(1), -1), margin


def judged(said: Floats, known: Floats, truth: NDArray[np.int64], columns: Sequence[str], rules: list) -> str:
    answers = known.shape[1]
    wrong = (said[:, :answers] - known) ** 2
    complete = ~np.isnan(known).any(1)
    decided = truth >= 0
    from_votes = votes_class(said[:, :answers], columns, rules)[1].argmax(1)
    from_output = said[:, answers:].argmax(1)
    out = [
        "RMSE complete " + interval(lambda r: np.sqrt(wrong[complete][r].mean()), int(complete.sum())),
        "known " + interval(lambda r: np.sqrt(np.nanmean(wrong[r])), len(wrong)),
    ]
    for name, classes in (("votes", from_votes), ("output", from_output)):
        right = classes[decided] == truth[decided]
        out.append(f"class by {name}: accuracy {interval(lambda r, right=right: right[r].mean(), len(right))}, "
                   f"macro F1 {macro_f1(truth[decided], classes[decided]):.4f}")  # fmt: skip
    return "; ".join(out)


def compared(new: Floats, old: Floats, known: Floats) -> str:
    """By how much less the error is, paired."""
    answers = known.shape[1]
    a, b = (new[:, :answers] - known) ** 2, (old[:, :answers] - known) ** 2
    complete = ~np.isnan(known).any(1)

    def less(rows: NDArray[np.int64]) -> float:
        return 100 * (1 - np.sqrt(np.nanmean(a[rows]) / np.nanmean(b[rows])))

    whole = np.flatnonzero(complete)
    return f"complete {interval(lambda r: less(whole[r]), len(whole), 2)}; known {interval(less, len(a), 2)}"


def macro_f1(truth: NDArray[np.int64], told: NDArray[np.int64]) -> float:
    scores = []
    for c in np.unique(truth):
        hits = ((truth == c) & (told == c)).sum()
        scores.append(2 * hits / ((truth == c).sum() + (told == c).sum()))
    return float(np.mean(scores))


def interval(score: Callable[[NDArray[np.int64]], float], count: int, digits: int = 4, resamples: int = 1000) -> str:
    rng = np.random.default_rng(0)
    values = [score(rng.integers(0, count, count)) for _ in range(resamples)]
    low, high = np.percentile(values, [2.5, 97.5])
    return f"{score(np.arange(count)):.{digits}f} ({low:.{digits}f}…{high:.{digits}f})"


def baseline(path: Path, ids: NDArray[np.str_], columns: Sequence[str], rules: list) -> Floats:
    """(N, A + C) of a table with the campaign's columns and class probabilities."""
    table = pq.read_table(path)
    names = [*columns, *(f"class_{c}_probability" for c in range(len(rules)))]
    place = {i: row for row, i in enumerate(table["id"].to_pylist())}
    values = np.stack([table[name].to_numpy() for name in names], 1).astype(np.float64)
    return np.stack([values[place[i]] if i in place else np.full(len(names), np.nan) for i in ids])


def write(
    path: Path, ids: NDArray[np.str_], fold: NDArray[np.int8], said: Floats, columns: Sequence[str], rules: list
) -> None:
    names = [*columns, *(f"class_{c}_probability" for c in range(len(rules)))]
    arrays = [pa.array(ids.tolist()), pa.array(fold, pa.int8())]
    arrays += [pa.array(said[:, i].astype(np.float16), pa.float16()) for i in range(said.shape[1])]
    pq.write_table(pa.table(arrays, names=["id", "fold", *names]), path, compression="zstd")


if __name__ == "__main__":
    main()
