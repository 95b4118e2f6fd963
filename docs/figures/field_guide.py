"""Draws the pictures of docs/guide.md: for each answer and each class the galaxies that show it most clearly.

Simulated galaxies, or with --images and --labels your own: those of the label table with the highest fractions.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import tuningfork
from tuningfork.images.find import find_images
from tuningfork.simulation import render
from tuningfork.simulation.examples import answer_examples, class_examples
from tuningfork.tables.identifiers import file_id
from tuningfork.votes.clean_samples import class_margins

SIDE, GAP, HEAD = 150, 6, 24
#: The middle of the frame that is shown: 4.8 petroR90 wide.
CROP = 0.57


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of your own images")
    parser.add_argument("--labels", type=Path, help="their label table")
    parser.add_argument("--rows", type=int, default=2, help="galaxies of each answer")
    parser.add_argument("--out", type=Path, default=Path("docs/guide"))
    args = parser.parse_args()
    if (args.images is None) != (args.labels is None):
        parser.error("--images and --labels belong together")
    tree = tuningfork.load_tree("gz2")
    if args.images:
        choose = _own(args.images, tuningfork.read_labels(args.labels, tree), args.rows)
    else:
        choose = _simulated(args.rows)
    args.out.mkdir(parents=True, exist_ok=True)
    for question in tree.questions:
        columns = [(answer.text, choose("answer", answer.column)) for answer in question.answers]
        _sheet(columns, args.rows).save(args.out / f"{question.key}.jpg", quality=82, optimize=True)
    columns = [(rule.name, choose("class", number)) for number, rule in enumerate(tree.classes)]
    _sheet(columns, args.rows).save(args.out / "classes.jpg", quality=82, optimize=True)


def _simulated(count):
    def choose(kind, which):
        galaxies = answer_examples(which, count) if kind == "answer" else class_examples(which, count)
        return [render(galaxy) for galaxy in galaxies]

    return choose


def _own(folder, labels, count):
    """From images that are there, by the highest fraction or margin; fewer where the table has fewer."""
    files = {file_id(path.name): path for path in find_images([folder])}
    votes, tree = labels.votes, labels.votes.tree
    margins = class_margins(votes.fractions, tree)

    def choose(kind, which):
        values = votes.fractions[:, tree.columns.index(which)] if kind == "answer" else margins[:, which]
        order = np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")
        rows = [row for row in order if votes.ids[row] in files and (kind == "answer" or values[row] >= 0)][:count]
        return [tuningfork.read_image(files[votes.ids[row]]).rgb for row in rows]

    return choose


def _sheet(columns, rows):
    """A grid: a column for each answer, its name above it."""
    width = len(columns) * (SIDE + GAP) - GAP
    sheet = Image.new("RGB", (width, HEAD + rows * (SIDE + GAP) - GAP), (16, 18, 24))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for n, (name, images) in enumerate(columns):
        left = n * (SIDE + GAP)
        pen.text((left + 4, 3), name, (225, 229, 236), font)
        for row, rgb in enumerate(images):
            edge = round(min(rgb.shape[:2]) * (1 - CROP) / 2)
            middle = Image.fromarray(rgb[edge : rgb.shape[0] - edge, edge : rgb.shape[1] - edge])
            sheet.paste(middle.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, HEAD + row * (SIDE + GAP)))
    return sheet


if __name__ == "__main__":
    main()
