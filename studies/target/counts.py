"""Do concentrations that a network learned from counts cover the votes of galaxies that it did not learn from?

    python studies/target/counts.py RUN LABELS IMAGES --tree gz2_catalogue_weighted [--values-kind raw]

RUN is the folder of a training with ``--loss dirichlet``; the galaxies are those of its test part. Each answer's votes
are compared with the beta-binomial distribution that the Dirichlet-multinomial has for it: share within the central
90 %, and the probability integral transform (uniform if the distribution is right; its standard deviation is then
0.289). Beside them the binomial distribution with the same expected fractions, which has no scatter but that of few
volunteers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from scipy.stats import betabinom, binom

from tuningfork import read_image, read_labels
from tuningfork.model.bundle import open_bundle
from tuningfork.model.ensemble import INPUT, OUTPUT
from tuningfork.training.losses import LOG_CONCENTRATION
from tuningfork.votes.split_file import read_split

LEVEL, LEAST = 0.9, 8  # votes of a question


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--tree", default="gz2")
    parser.add_argument("--values-kind", default="")
    args = parser.parse_args()
    bundle = open_bundle(args.run / "bundle")
    (network,) = bundle.networks
    labels = read_labels(args.labels, args.tree, values_kind=args.values_kind).votes
    parts = read_split(args.run / "split.csv")
    rows = [row for row, id_ in enumerate(labels.ids) if parts.get(id_) == "test"]
    inputs = [
        network.preprocess.scaled(
            network.preprocess.resized(read_image(next(args.images.glob(f"{labels.ids[row]}.*"))).rgb)
        )
        for row in rows
    ]
    session = onnxruntime.InferenceSession(network.onnx, providers=["CPUExecutionProvider"])
    logits = np.concatenate([session.run([OUTPUT], {INPUT: image[None]})[0] for image in inputs])
    alpha = np.exp(np.clip(logits[:, : len(labels.tree.columns)].astype(float), *LOG_CONCENTRATION))
    counts = np.rint(labels.counts[rows])
    rng = np.random.default_rng(0)
    print(f"{len(rows)} galaxies of the test part; questions with {LEAST} votes or more, shares of 90 % intervals:\n")
    print("| question | galaxies | concentration, median | beta-binomial | PIT, mean and sd | binomial |")
    print("|---|---|---|---|---|---|")
    totals = []
    for question, part in zip(labels.tree.questions, labels.tree.slices, strict=True):
        own, a = counts[:, part], alpha[:, part]
        use = own.sum(1) >= LEAST
        if use.sum() < 20:
            continue
        n, total = own[use].sum(1)[:, None], a[use].sum(1)[:, None]
        learned = betabinom(n, a[use], np.maximum(total - a[use], 1e-9))
        simple = binom(n, a[use] / total)
        # Randomised, for counts: uniform between the probabilities of fewer and of no more votes.
        below, at = learned.cdf(own[use] - 1), learned.pmf(own[use])
        pit = below + rng.random(at.shape) * at
        held = [inside(distribution, own[use]) for distribution in (learned, simple)]
        totals.append([h.ravel() for h in held])
        print(
            f"| {question.key} | {use.sum()} | {np.median(total):.1f} | {held[0].mean():.3f} | "
            f"{pit.mean():.3f}, {pit.std():.3f} | {held[1].mean():.3f} |"
        )
    both = [np.concatenate(each).mean() for each in zip(*totals, strict=True)]
    print(f"| all | | | {both[0]:.3f} | | {both[1]:.3f} |")


def inside(distribution: object, votes: np.ndarray) -> np.ndarray:
    """Whether votes lie within the central interval; of counts it holds a little more than its level."""
    low, high = distribution.ppf((1 - LEVEL) / 2), distribution.ppf((1 + LEVEL) / 2)  # type: ignore[attr-defined]
    return (low <= votes) & (votes <= high)


if __name__ == "__main__":
    main()
