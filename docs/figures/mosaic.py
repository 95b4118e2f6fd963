"""A mosaic of real galaxies (left) beside simulated ones (right), to see how alike they look."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from PIL import Image

from tuningfork.simulation import galaxies

COLUMNS, SIDE, GAP = 6, 160, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, required=True, help="a folder of 424 x 424 JPEG pictures")
    parser.add_argument("--n", type=int, default=36, help="galaxies of each kind (default 36)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation and of the choice (default 0)")
    parser.add_argument("--crop", type=int, default=424, help="side of the centre to show, pixels")
    parser.add_argument("--out", type=Path, required=True, help="the picture to write, such as mosaic.png")
    options = parser.parse_args()
    files = sorted(options.real.glob("*.jpg"))
    if len(files) < options.n:
        parser.error(f"{options.real}: {len(files)} JPEG pictures, but --n is {options.n}")
    real = (Image.open(file).convert("RGB") for file in random.Random(options.seed).sample(files, options.n))
    made = (Image.fromarray(picture) for _, picture, _ in galaxies(options.n, options.seed))
    rows = -(-options.n // COLUMNS)
    mosaic = Image.new("RGB", (2 * COLUMNS * SIDE + GAP, rows * SIDE), "white")
    for left, pictures in ((0, real), (COLUMNS * SIDE + GAP, made)):
        for i, picture in enumerate(pictures):
            edge, far = (picture.width - options.crop) // 2, (picture.width + options.crop) // 2
            tile = picture.crop((edge, edge, far, far)).resize((SIDE, SIDE))
            mosaic.paste(tile, (left + i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    mosaic.save(options.out)


if __name__ == "__main__":
    main()
