"""What it takes to begin: the command line's help, its version, a first prediction, and the imports behind it.

python benchmarks/start_up.py [--model fast] [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tuningfork._utils.environment import child_environment, python_command
from tuningfork.evaluation.speed_images import simulated_images
from tuningfork.evaluation.speed_report import Spread


def main() -> None:
    """Run each command once so that the system has read its files, then in turn so many times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (image,) = simulated_images(Path(folder) / "images", 1)
        commands = {
            "--help": ["--help"],
            "--version": ["--version"],
            "predict, one image": ["predict", str(image), "--model", args.model],
        }
        for words in commands.values():
            timed(words)
        times = {name: [] for name in commands}
        for _ in range(args.repeats):
            for name, words in commands.items():
                times[name].append(timed(words))
        imports = costly_imports(commands["predict, one image"])
    seconds = {
        name: {
            "wall": asdict(Spread.of(wall for wall, _ in pairs)),
            "processor": asdict(Spread.of(own for _, own in pairs)),
        }
        for name, pairs in times.items()
    }
    print(json.dumps({"seconds": seconds, "imports": imports}, indent=1))


def costly_imports(words: list[str], most: int = 8) -> dict[str, float]:
    """The packages whose own modules take longest to import when a command runs: seconds, longest first."""
    seconds: Counter[str] = Counter()
    for line in run("-X", "importtime", "-m", "tuningfork", *words).stderr.splitlines():
        own, _, name = line.removeprefix("import time:").rpartition("|")
        microseconds = own.split("|")[0].strip()
        if line.startswith("import time:") and microseconds.isdecimal():
            seconds[name.strip().partition(".")[0]] += int(microseconds) / 1e6
    return dict(seconds.most_common(most))


def timed(words: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of processor time."""
    before, started = os.times(), time.perf_counter()
    run("-m", "tuningfork", *words)
    wall, after = time.perf_counter() - started, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """A child of this Python; SystemExit with its last words if it fails."""
    # As installed, with compiled modules: whoever forbids Python to write them would measure its compiler.
    environment = {name: value for name, value in child_environment().items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(python_command(*words), capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {done.stderr[-300:]}")
    return done


if __name__ == "__main__":
    main()
