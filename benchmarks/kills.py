"""Interrupts commands at random moments, goes on, and compares the end with an undisturbed run's.

    python benchmarks/kills.py --kills 50 --terms 20

Each trial runs one command in a folder of its own, sends SIGKILL (one in three to a worker, if there are some) or
SIGTERM after a random time, waits until no process of it is left, looks for what lies about, and gives the command
again: with --resume where there is one. The output must be the undisturbed run's to the last byte, and the folder must
hold the same files; a command that was interrupted behind its end may refuse to begin anew. A tiny network is trained
first.
"""

from __future__ import annotations

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
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from tuningfork._utils.environment import child_environment, python_command
from tuningfork.simulation import simulate
from tuningfork.tables import read_table, write_table

MARK = "TUNINGFORK_KILLS"
#: Seconds after which the processes of an interrupted command count as left over.
PATIENCE = 20.0
NETWORK = ("--network", "test_efficientnet", "--size", "64", "--epochs", "2", "--batch", "8", "--threads", "1")
#: Files that say how long something took, and when, or are not the result: their presence alone is compared.
VARIABLE = (".ckpt", ".csv", ".json", ".sqlite", ".md", "events")
#: Columns of times.
TIMES = ("time",)


@dataclass(frozen=True)
class Command:
    """A command, what is added to give it again after an interruption, and its output in the working folder."""

    words: str
    again: str
    output: str
    exit_code: int = 0


COMMANDS = {
    "predict": Command(
        "predict {in}/many -o votes.parquet --model {in}/model --workers 2", "--resume", "votes.parquet"
    ),
    "cutouts": Command(
        "cutouts {in}/positions.csv --source {in}/tiles --size 12 --pixels 64 -o cut", "--resume", "cut"
    ),
    "match": Command(
        "match {in}/a.parquet {in}/b.parquet --radius 2arcsec -o pairs.parquet", "--overwrite", "pairs.parquet"
    ),
    "merge": Command("merge {in}/parts -o all.parquet", "--overwrite", "all.parquet"),
    "index": Command("index {in}/embeddings.parquet -o galaxies.index", "--overwrite", "galaxies.index"),
    "train": Command(
        "train --images {in}/images --labels {in}/votes.csv -o run --workers 0 --cache cache " + " ".join(NETWORK),
        "--resume",
        "run",
    ),
    "calibrate": Command(
        "calibrate {in}/model --images {in}/images --labels {in}/votes.csv --include-training -o calibrated",
        "--overwrite",
        "calibrated",
        3,  # too few galaxies for every question
    ),
}


@dataclass
class Outcome:
    """What the trials of one command gave."""

    trials: int = 0
    ended_before: int = 0
    signals: Counter[str] = field(default_factory=Counter)
    equal: int = 0
    problems: list[str] = field(default_factory=list)


def start(words: list[str], folder: Path, mark: str) -> subprocess.Popen[bytes]:
    """Start a command in a folder, whose temporary files are in ``tmp`` beside it."""
    temporary = folder.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = child_environment() | {MARK: mark, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    with open(folder.parent / "log", "ab") as log:
        return subprocess.Popen(
            python_command("-m", "tuningfork", *words), cwd=folder, env=environment, stdout=log, stderr=log
        )


def processes_of(mark: str) -> list[psutil.Process]:
    """Processes that were started, by whomever, under this mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def interrupt(process: subprocess.Popen[bytes], number: int, chance: random.Random) -> str:
    """Send a signal to a command, or SIGKILL to one of its workers; says whom it hit."""
    victim = process.pid
    if number == signal.SIGKILL and chance.random() < 1 / 3:
        with suppress(psutil.Error):
            victim = chance.choice([*psutil.Process(process.pid).children(), psutil.Process(process.pid)]).pid
    with suppress(ProcessLookupError):
        os.kill(victim, number)
    return signal.Signals(number).name + ("" if victim == process.pid else " of a worker")


def digest(path: Path) -> dict[str, str]:
    """SHA-256 of each file; those that name times by their presence alone."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {
        str(file.relative_to(path)): "" if any(word in file.name for word in VARIABLE) else sha256(file)
        for file in files
    }


def sha256(file: Path) -> str:
    """Of a file's bytes; of a table without its columns of times."""
    if file.suffix == ".parquet":
        table = read_table(file)
        if times := [name for name in TIMES if name in table.column_names]:
            return hashlib.sha256(str(table.drop_columns(times).to_pylist()).encode()).hexdigest()
    return hashlib.sha256(file.read_bytes()).hexdigest()


def names(folder: Path) -> set[str]:
    """All files below a folder."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir()}


def trial(
    command: Command, inputs: Path, place: Path, number: int, after: float, calm: tuple[dict[str, str], set[str]],
    outcome: Outcome, chance: random.Random,
) -> float:  # fmt: skip
    """Interrupt a command once, go on, and compare; how long it took if it ended before, else 0."""
    folder, mark = place / "work", uuid.uuid4().hex
    folder.mkdir(parents=True)
    words = command.words.replace("{in}", str(inputs)).split()
    began = time.monotonic()
    process = start(words, folder, mark)
    try:
        process.wait(after)
        outcome.ended_before += 1
        # It ended before its turn came: the next one comes earlier.
        return time.monotonic() - began
    except subprocess.TimeoutExpired:
        outcome.trials += 1
        outcome.signals[interrupt(process, number, chance)] += 1
        process.wait(120)
    until = time.monotonic() + PATIENCE
    while (left := processes_of(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    where = f"{words[0]} {signal.Signals(number).name} after {after:.2f} s"
    if left:
        outcome.problems.append(f"{where}: {len(left)} processes left")
        for each in left:
            each.kill()
    output = folder / command.output
    is_refused = number == signal.SIGTERM and command.again != "--resume" and process.returncode
    if is_refused and (more := sorted(names(folder) - calm[1])):
        outcome.problems.append(f"{where}: left {more[:4]}")
    if names(place / "tmp"):
        outcome.problems.append(f"{where}: temporary files {sorted(names(place / 'tmp'))[:4]}")
        shutil.rmtree(place / "tmp")
    if process.returncode == command.exit_code and output.exists():
        code = process.returncode
    else:
        again = [] if command.again == "--overwrite" and not output.exists() else [command.again]
        second = start([*words, *again], folder, mark)
        code = second.wait(600)
    found = (digest(output) if output.exists() else {}, names(folder))
    # A command that was interrupted at its very end has written its output, and refuses to begin anew.
    is_complete = found == calm and "exists" in (place / "log").read_text(errors="replace")
    if code != command.exit_code and not is_complete:
        outcome.problems.append(f"{where}: exit code {code} when it was given again")
    elif found[0] != calm[0]:
        other = sorted(name for name in calm[0].keys() | found[0].keys() if calm[0].get(name) != found[0].get(name))
        outcome.problems.append(f"{where}: another output: {other[:4]}")
    elif found[1] != calm[1]:
        outcome.problems.append(f"{where}: other files: {sorted(found[1] ^ calm[1])[:4]}")
    else:
        outcome.equal += 1
    return 0.0


def prepare(inputs: Path, rows: int) -> None:
    """Make small inputs of all commands: galaxies, a network, tables, tiles, parts."""
    simulate(inputs / "simulated", n=rows, workers=1)
    (inputs / "simulated" / "images_training_rev1").rename(inputs / "images")
    shutil.copy(inputs / "simulated" / "training_solutions_rev1.csv", inputs / "votes.csv")
    (inputs / "many").mkdir()
    for number, image in enumerate(sorted((inputs / "images").iterdir()) * 12):
        os.link(image, inputs / "many" / f"{number:04d}{image.suffix}")
    from astropy.io import fits

    rng = np.random.default_rng(0)
    (inputs / "tiles").mkdir()
    header = fits.Header(
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 300.5, "CRPIX2": 300.5}
        | {"CD1_1": -0.4 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.4 / 3600}
    )
    fits.PrimaryHDU(rng.normal(1, 1, (600, 600)).astype(np.float32), header).writeto(inputs / "tiles" / "tile.fits")
    at = rng.uniform(-0.02, 0.02, (2 * rows, 2)) + np.array([150, 2])
    write_table(
        inputs / "positions.csv", pa.table({"id": [f"g{n}" for n in range(len(at))], "ra": at[:, 0], "dec": at[:, 1]})
    )
    many = rng.uniform(0, 20, (200_000, 2))
    for name, shift in (("a", 0.0), ("b", 1e-4)):
        columns = {"id": [f"{name}{n}" for n in range(len(many))], "ra": many[:, 0] + shift, "dec": many[:, 1]}
        write_table(inputs / f"{name}.parquet", pa.table(columns))
    for words in (
        f"train --images {inputs}/images --labels {inputs}/votes.csv -o {inputs}/run --workers 0 --no-cache "
        + " ".join(NETWORK),
        f"predict {inputs}/images -o {inputs}/embeddings.parquet --embeddings --model {inputs}/run/bundle",
        f"predict {inputs}/images -o {inputs}/parts --model {inputs}/run/bundle",
    ):
        subprocess.run(
            python_command("-m", "tuningfork", *words.split()), env=child_environment(), check=True, capture_output=True
        )
    shutil.copytree(inputs / "run" / "bundle", inputs / "model")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", default=list(COMMANDS), help=", ".join(COMMANDS))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--terms", type=int, default=20)
    parser.add_argument("--rows", type=int, default=48, help="galaxies")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="where to work")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    signals = [signal.SIGKILL] * options.kills + [signal.SIGTERM] * options.terms
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        inputs = Path(scratch) / "inputs"
        inputs.mkdir()
        prepare(inputs, options.rows)
        calm: dict[str, tuple[float, dict[str, str], set[str]]] = {}
        for name in options.commands:
            command, folder = COMMANDS[name], Path(scratch) / "calm" / name / "work"
            folder.mkdir(parents=True)
            began = time.monotonic()
            code = start(command.words.replace("{in}", str(inputs)).split(), folder, "calm").wait()
            if code != command.exit_code:
                sys.exit(f"{name}: exit code {code} undisturbed:\n{(folder.parent / 'log').read_text()}")
            calm[name] = time.monotonic() - began, digest(folder / command.output), names(folder)
        outcomes = {name: Outcome() for name in options.commands}
        with suppress(KeyboardInterrupt):
            for number, signal_ in enumerate(signals):
                name = options.commands[number % len(options.commands)]
                print(f"{number + 1} of {len(signals)}: {name}", file=sys.stderr, flush=True)
                place, seconds = Path(scratch) / "trial", 1.0
                while seconds:
                    expected, files, folder_names = calm[name]
                    after, undisturbed = chance.uniform(0.05, 1) * expected, (files, folder_names)
                    seconds = trial(COMMANDS[name], inputs, place, signal_, after, undisturbed, outcomes[name], chance)
                    calm[name] = min(expected, seconds or expected), files, folder_names
                    shutil.rmtree(place)
    print(f"seed {options.seed}")
    print("| command | seconds | trials | signals | ended before | equal | problems |\n|---|---|---|---|---|---|---|")
    for name, outcome in outcomes.items():
        sent = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.signals.items()))
        row = (
            name,
            f"{calm[name][0]:.1f}",
            outcome.trials,
            sent,
            outcome.ended_before,
            outcome.equal,
            len(outcome.problems),
        )
        print("| " + " | ".join(map(str, row)) + " |")
    for outcome in outcomes.values():
        for problem in outcome.problems:
            print(problem)
    print(
        json.dumps(
            {
                "trials": sum(outcome.trials for outcome in outcomes.values()),
                "equal": sum(outcome.equal for outcome in outcomes.values()),
            }
        )
    )
    sys.exit(1 if any(outcome.problems for outcome in outcomes.values()) else 0)


if __name__ == "__main__":
    main()
