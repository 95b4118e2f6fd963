"""How long `tuningfork match` takes for two catalogues of N galaxies, and how much memory.

python benchmarks/match.py [N]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 1_000_000


def catalogue(path: Path, rows: int, seed: int) -> None:
    """A table of galaxies all over the sky, with ten columns of numbers."""
    rng = np.random.default_rng(seed)
    columns = {"ra": rng.uniform(0, 360, rows), "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, rows)))}
    columns |= {f"magnitude_{n}": rng.random(rows) for n in range(10)}
    pq.write_table(pa.table({"id": np.arange(rows), **columns}), path)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        first, second, joined = (Path(folder) / name for name in ("a.parquet", "b.parquet", "joined.parquet"))
        for seed, path in enumerate((first, second)):
            catalogue(path, rows, seed)
        words = ["match", first, second, "--radius", "10arcsec", "-o", joined]
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tuningfork", *map(str, words)], check=True)
        took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{rows} × {rows} galaxies, 13 columns each: {took:.0f} s, peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
