"""`tuningfork predict` beside the usual loop: a DataLoader, timm and Lightning's predict.

python benchmarks/peer.py [FOLDER] [--model fast] [--rows 1024] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from fresh import fresh_process

from tuningfork.evaluation.speed_images import linked_images, sample_images, simulated_images
from tuningfork.evaluation.speed_report import Spread, machine


def main() -> None:
    """Predict the same files with `tuningfork` and with the peer's loop, each in a fresh process, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?", help="folder; none: simulated galaxies")
    parser.add_argument("--model", default="fast")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = sample_images(args.images) if args.images else simulated_images(folder / "distinct", 200)
        files, output = str(linked_images(images, args.rows, folder / "files")), str(folder / "votes")
        for _ in range(args.repeats):
            seconds["ours"].append(
                fresh_process("memory.predict_folder", args.model, files, output + ".parquet").seconds
            )
            seconds["peer"].append(
                fresh_process("peer_loop.predict_folder", args.model, files, output + ".csv").seconds
            )
    rates = {who: [args.rows / each for each in many] for who, many in seconds.items()}
    rates["ratio"] = [ours / peers for ours, peers in zip(rates["ours"], rates["peer"], strict=True)]
    figures = {name: asdict(Spread.of(many)) for name, many in rates.items()}
    print(json.dumps({"machine": machine(), "images_per_second": figures}, indent=1))


if __name__ == "__main__":
    main()
