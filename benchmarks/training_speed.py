"""Training beside the plain PyTorch loop: images per second of each variant, each in a fresh process, in turn.

    python benchmarks/training_speed.py [FOLDER] [--recipe efficientnet_b0] [--size 64] [--repeats 3] [--seconds 8]

What the images show decides nothing here: votes are random, and weights too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fresh import fresh_process

from tuningfork.evaluation.speed_images import sample_images, simulated_images
from tuningfork.evaluation.speed_report import Spread, machine
from tuningfork.training.recipe import load_recipe

#: What is measured, beginning with the loop that the others are compared with.
VARIANTS = {
    "plain": "DataLoader from JPEG files, NCHW, the system's allocator",
    "ours": "packed images, channels-last, freed memory kept",
    "ours, bf16": "the same in bfloat16",
    "ours, compiled": "the same in float32, torch.compile",
}


def main() -> None:
    """Measure each of `VARIANTS`; every other repeat backwards, so that a drift of the machine favours none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?", help="folder; none: simulated galaxies")
    parser.add_argument("--recipe", default="efficientnet_b0")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--distinct", type=int, default=512, help="simulated galaxies")
    parser.add_argument("--compile", action="store_true", help="torch.compile too; takes minutes")
    args = parser.parse_args()
    recipe = load_recipe(args.recipe).changed(size=args.size, batch=args.batch)
    names = [name for name in VARIANTS if args.compile or name != "ours, compiled"]
    repeats: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = sample_images(args.images) if args.images else simulated_images(folder / "distinct", args.distinct)
        paths = [str(path) for path in images]
        for number in range(args.repeats):
            for name in names if number % 2 == 0 else reversed(names):
                options = (name, recipe.to_dict(), paths, str(folder / "cache"), args.seconds, args.workers)
                repeats[name].append(fresh_process("training_steps.steps", *options).result)
    settings = {"recipe": args.recipe, "size": recipe.size, "batch": recipe.batch, "workers": args.workers}
    print(json.dumps({"machine": machine(), "settings": settings, "figures": figures(repeats)}, indent=1))


def figures(repeats: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
    """Of each variant: images per second, ratio to the plain loop of the same repeat, wait for data, warm-up."""
    plain = [each["rate"] for each in repeats["plain"]]
    return {
        name: {
            "rate": asdict(Spread.of(each["rate"] for each in many)),
            "ratio": asdict(Spread.of(each["rate"] / of for each, of in zip(many, plain, strict=True))),
            "data_wait": asdict(Spread.of(each["data_wait"] for each in many)),
            "warm_up": asdict(Spread.of(each["warm_up"] for each in many)),
        }
        for name, many in repeats.items()
    }


if __name__ == "__main__":
    main()
