"""Which kind of vote fractions are Kaggle's labels: raw, weighted or debiased?

    python studies/target/compare.py LABELS CATALOGUE [--images FOLDER] [--model default]

LABELS is the challenge's label table, CATALOGUE rows of the Galaxy Zoo 2 catalogue of Hart et al. 2016 (shares of those
who were asked), with the challenge's ID in `kaggle_id` where there is one. With the catalogue's images, named by its
`asset_id`, also how a model's predictions of the first question stand to each kind, over the whole catalogue.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from tuningfork import load, load_tree, read_labels, read_table
from tuningfork.experiments.scores import wilson
from tuningfork.votes.label_table import labels_from_table

SMOOTH = "t01_smooth_or_features_a01_smooth_{}"
KINDS = {"raw": "fraction", "weighted": "weighted_fraction", "debiased": "debiased"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--model", default="default")
    args = parser.parse_args()
    labels, table = read_labels(args.labels).votes, read_table(args.catalogue, text=True)
    challenge_ids = [cell or "" for cell in table["kaggle_id"].to_pylist()]
    rows = np.array([row for row, id_ in enumerate(challenge_ids) if id_ in labels.row_of])
    known = labels.select([labels.row_of[challenge_ids[row]] for row in rows])
    smooth = {kind: numbers(table, SMOOTH.format(end)) for kind, end in KINDS.items()}

    print(f"{len(rows)} galaxies are in both tables\n")
    print("| fraction of smooth in the catalogue | minus the challenge's, mean | mean size | Wilcoxon, p |")
    print("|---|---|---|---|")
    for kind, values in smooth.items():
        difference = values[rows] - known.fractions[:, 0]
        p = wilcoxon(difference).pvalue
        print(f"| {kind} | {difference.mean():+.3f} | {np.abs(difference).mean():.3f} | {p:.1g} |")

    print("\nRoot mean square difference of the shares of those who were asked:\n")
    print("| question | galaxies | from the weighted | from the debiased |")
    print("|---|---|---|---|")
    trees = [load_tree(f"gz2_catalogue_{kind}") for kind in ("weighted", "debiased")]
    shares = [labels_from_table(table, tree, args.catalogue).votes.conditional[rows] for tree in trees]
    for question, part in zip(known.tree.questions, known.tree.slices, strict=True):
        both = [(each - known.conditional)[:, part] for each in shares]
        use = ~np.isnan(np.concatenate(both, 1)).any(1)
        if use.any():
            rms = [f"{np.sqrt(np.square(each[use]).mean()):.3f}" for each in both]
            print(f"| {question.key} | {use.sum()} | {rms[0]} | {rms[1]} |")

    if args.images:
        predicted = load(args.model).predict(
            [args.images / f"{id_}.jpg" for id_ in table["asset_id"].to_pylist()]
        )  # as many rows as the catalogue has
        low, high = predicted.low[:, 0], predicted.high[:, 0]
        print(f"\n{args.model} on all {len(smooth['raw'])} images of the catalogue, fraction of smooth:\n")
        print("| kind | prediction minus it, mean | root mean square | within the 90 % interval |")
        print("|---|---|---|---|")
        for kind, values in smooth.items():
            difference = predicted.cumulative[:, 0] - values
            held = (low <= values) & (values <= high)
            bounds = wilson(int(held.sum()), len(held))
            print(
                f"| {kind} | {difference.mean():+.3f} | {np.sqrt(np.square(difference).mean()):.3f} | "
                f"{held.mean():.3f} ({bounds['low']:.3f}…{bounds['high']:.3f}) |"
            )


def numbers(table: object, name: str) -> NDArray[np.float64]:
    """A column as (N,) float64."""
    return np.array([float(cell) for cell in table[name].to_pylist()])  # type: ignore[index]


if __name__ == "__main__":
    main()
