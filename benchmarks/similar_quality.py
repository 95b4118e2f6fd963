"""How good neighbours are: do galaxies that a model sees alike share their class, and does a turned one find itself?

    python benchmarks/similar_quality.py votes.parquet training_solutions_rev1.csv --split run/split.csv --turn 200

`votes.parquet` comes from `tuningfork predict images_training_rev1 -o votes.parquet --embeddings`. Each galaxy of the
split's part whose votes decide a class asks for its 10 nearest among all other galaxies whose votes decide theirs. By
chance they would share its class as often as two galaxies drawn at random do. Pictures are turned by any angle.
"""

import argparse

import numpy as np
from PIL import Image

from tuningfork.evaluation.metrics import bootstrap
from tuningfork.images.read import read_image
from tuningfork.model.embeddings import COLUMN, embedder_of
from tuningfork.model.model import load
from tuningfork.similarity.pca import fit_axes
from tuningfork.tables import read_table
from tuningfork.tables.arrow import vectors
from tuningfork.votes.label_table import read_labels
from tuningfork.votes.split_file import read_split
from tuningfork.votes.tree_files import load_tree

NEAREST = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions")
    parser.add_argument("labels")
    parser.add_argument("--split", required=True)
    parser.add_argument("--part", default="test")
    parser.add_argument("--turn", type=int, default=0, help="pictures of the part to turn and look for")
    args = parser.parse_args()
    tree, table = load_tree("gz2"), read_table(args.predictions)
    table = table.filter(table[COLUMN].is_valid())
    ids, parts = table["id"].to_pylist(), read_split(args.split)
    embeddings = vectors(table[COLUMN])
    fitted = np.array([parts.get(id_) != args.part for id_ in ids])
    axes = fit_axes(embeddings[fitted])
    unit = axes.vectors(embeddings)
    asked = np.flatnonzero(~fitted)
    shares(unit, classes_of(ids, args.labels, tree), asked, tree)
    if args.turn:
        embedder = embedder_of(table.schema, args.predictions)
        turned(unit, axes, table, asked[: args.turn], load(embedder.model), embedder.n_views)


def classes_of(ids, labels, tree):
    """(N,) the class that each galaxy's votes decide, -1 where they decide none."""
    votes = read_labels(labels, tree).votes
    known = dict(zip(votes.ids, votes.classes.tolist(), strict=True))
    return np.array([max(known.get(id_, -1), -1) for id_ in ids])


def shares(unit, classes, asked, tree):
    """Print the share of the nearest that have the class of the galaxy that asks, with 95 % bootstrap intervals."""
    judged, among = asked[classes[asked] >= 0], np.flatnonzero(classes >= 0)
    cosine = unit[judged] @ unit[among].T
    cosine[judged[:, None] == among] = -2
    near = among[np.argsort(-cosine, 1)[:, :NEAREST]]
    same = (classes[near] == classes[judged][:, None]).mean(1)
    chance = np.bincount(classes[among], minlength=len(tree.classes)) / len(among)
    interval = bootstrap(lambda rows: float(same[rows].mean()), len(same))
    expected = chance[classes[judged]]
    print(
        f"{len(judged)} galaxies among {len(among)}: of the {NEAREST} nearest {interval.value:.3f} "
        f"({interval.low:.3f}…{interval.high:.3f}) have their class, by chance {expected.mean():.3f}"
    )
    for number, rule in enumerate(tree.classes):
        rows = classes[judged] == number
        if rows.any():
            print(f"  {rule.name}: {rows.sum()} galaxies, {same[rows].mean():.3f}, by chance {chance[number]:.3f}")


def turned(unit, axes, table, rows, model, views):
    """Print how often a picture that is turned by any angle finds its galaxy first among all."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 360, len(rows))
    paths = [table["path"][int(row)].as_py() for row in rows]
    for name, kept in (("by quarters", 90 * np.round(angles / 90)), ("by any angle", angles)):
        pictures = [
            np.asarray(Image.fromarray(read_image(path).rgb).rotate(angle, Image.Resampling.BICUBIC))
            for path, angle in zip(paths, kept, strict=True)
        ]
        told = axes.vectors(model.predict(pictures, n_views=views, embeddings=True).embeddings)
        cosine = told @ unit.T
        place = (cosine > np.take_along_axis(cosine, rows[:, None], 1)).sum(1)
        print(
            f"{len(rows)} pictures turned {name}: {np.mean(place == 0):.3f} find themselves first of {len(unit)}, "
            f"{np.mean(place < NEAREST):.3f} among the first {NEAREST}"
        )


if __name__ == "__main__":
    main()
