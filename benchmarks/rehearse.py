"""The challenge at its full size on simulated galaxies: every step's time and peak memory, as a Markdown table.

    python benchmarks/rehearse.py FOLDER [--train 61578] [--test 79975] [--network mobilenetv3_small_100] [--size 64]

Simulates the training and the test pictures (gone on with, if they are there, as is the packed cache), then lint,
classes, one short training (split and packed cache included), predictions of the test pictures in Kaggle's layout, and
their score.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

STEP = "| {:<28} | {:>9} | {:>9} | {} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=61_578)
    parser.add_argument("--test", type=int, default=79_975)
    parser.add_argument("--network", default="mobilenetv3_small_100")
    parser.add_argument("--size", default="64")
    parser.add_argument("--epochs", default="1")
    args = parser.parse_args()
    folder: Path = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("run", "submission.csv.parts"):
        shutil.rmtree(folder / name, ignore_errors=True)
    labels = str(folder / "train/training_solutions_rev1.csv")
    images = str(folder / "train/images_training_rev1")
    submission = str(folder / "submission.csv")
    print(STEP.format("step", "seconds", "peak MB", "what it says last"))
    print("|---|---|---|---|")
    step("simulate, training", "simulate", str(folder / "train"), "--n", str(args.train), "--seed", "1")
    step("simulate, test", "simulate", str(folder / "test"), "--n", str(args.test), "--seed", "2")
    step("lint", "lint", labels)
    step("classes", "classes", labels, "-o", str(folder / "classes.csv"))
    step(
        f"cache, split, {args.epochs} epoch", "train", "--recipe", "fair/votes", "--network", args.network,
        "--size", args.size, "--epochs", args.epochs, "--batch", "128", "--images", images, "--labels", labels,
        "--cache", str(folder / "cache"), "-o", str(folder / "run"),
    )  # fmt: skip
    step(
        "predict, Kaggle's layout", "predict", str(folder / "test/images_training_rev1"),
        "--model", str(folder / "run/bundle"), "--format", "kaggle", "-o", submission,
    )  # fmt: skip
    step("score", "score", submission, str(folder / "test/training_solutions_rev1.csv"))


def step(name: str, *arguments: str) -> None:
    """Run one command of ours; print its time, its own and its children's peak memory, what it said."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "tuningfork", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines = [line.strip() for line in process.stdout if line.strip()]
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    words = ("galaxies:", "pictures:", "epoch 1/", "broken sums", "completely round", "Kaggle's score", "0 failed")
    told = [line.strip("│ ") for line in lines if any(word in line for word in words)] or lines[-1:]
    print(STEP.format(name, f"{seconds:.1f}", f"{usage.ru_maxrss * 1024 / 1e6:.0f}", "; ".join(dict.fromkeys(told))))
    sys.stdout.flush()
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        sys.exit("\n".join(lines))


if __name__ == "__main__":
    main()
