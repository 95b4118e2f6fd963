"""Kills a prediction again and again at random moments, goes on each time, and compares the end with a calm run's.

    python benchmarks/kills.py FOLDER --rows 20000 --kills 50

Two kills of three hit the run itself, one hits one of its workers.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from tuningfork.images.find import find_images
from tuningfork.pipeline.manifest import read_run
from tuningfork.pipeline.merge import merge


def linked(folder: Path, rows: int, into: Path) -> Path:
    """A folder of so many names for the pictures of another."""
    pictures = list(find_images([folder]))
    into.mkdir()
    for row in range(rows):
        picture = pictures[row % len(pictures)]
        try:
            os.link(picture, into / f"{row:07d}{picture.suffix}")
        except OSError:
            shutil.copy(picture, into / f"{row:07d}{picture.suffix}")
    return into


def workers_of(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


def command(pictures: Path, output: Path, model: str) -> list[str]:
    """One prediction, begun or gone on with."""
    words = ["predict", pictures, "-o", output, "--model", model, "--batch", "8", "--resume"]
    return [sys.executable, "-m", "tuningfork", *map(str, words)]


def sha256(run: Path, scratch: Path) -> str:
    """Digest of all rows, in order."""
    return hashlib.sha256(merge(read_run(run), scratch).read_bytes()).hexdigest()


def interrupted(options: argparse.Namespace, pictures: Path, output: Path, kills: dict[str, int]) -> int:
    """Run once, dealing kills at random moments until one hits the run itself, all are dealt, or it ends."""
    chance: random.Random = options.chance
    process = subprocess.Popen(command(pictures, output, options.model), stdout=subprocess.DEVNULL)
    while sum(kills.values()) < options.kills:
        try:
            return process.wait(chance.expovariate(1 / options.mean))
        except subprocess.TimeoutExpired:
            workers = workers_of(process.pid)
            victim = chance.choice(workers) if workers and chance.random() < 1 / 3 else process.pid
            os.kill(victim, signal.SIGKILL)
            kills["run" if victim == process.pid else "worker"] += 1
            if victim == process.pid:
                return process.wait()
    return process.wait()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--mean", type=float, default=5.0, help="seconds between two kills, on average")
    parser.add_argument("--model", default="fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="where to work; links need the pictures' file system")
    options = parser.parse_args()
    options.chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir=options.scratch) as place:
        home = Path(place)
        pictures = linked(options.folder, options.rows, home / "in")
        calm, rough = home / "calm", home / "rough"
        started = time.monotonic()
        wanted = subprocess.run(command(pictures, calm, options.model), stdout=subprocess.DEVNULL).returncode
        seconds_calm = time.monotonic() - started
        expected = sha256(calm, home / "calm.parquet")
        kills = {"run": 0, "worker": 0}
        equal, runs = True, 1
        started = time.monotonic()
        while interrupted(options, pictures, rough, kills) != wanted or sum(kills.values()) < options.kills:
            if (rough / "_manifest.json").exists() and json.loads((rough / "_manifest.json").read_text())["complete"]:
                # It ended before all kills were dealt: the others go to a further run, which must end alike too.
                equal &= sha256(rough, home / "rough.parquet") == expected
                shutil.rmtree(rough)
                runs += 1
        ids = pq.read_table(rough, columns=["id"])["id"].to_pylist()
        told = {
            "rows": len(ids),
            "rows_twice": len(ids) - len(set(ids)),
            "rows_lost": options.rows - len(set(ids)),
            "kills": kills,
            "runs": runs,
            "seconds_calm": round(seconds_calm, 1),
            "seconds_with_kills": round(time.monotonic() - started, 1),
            "equal": equal and sha256(rough, home / "rough.parquet") == expected,
        }
    print(json.dumps(told, indent=1))
    sys.exit(0 if told["equal"] and not told["rows_lost"] and not told["rows_twice"] else 1)


if __name__ == "__main__":
    main()
