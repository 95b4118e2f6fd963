"""What writing a table of predictions takes of memory and time, in one format; for example .vot.

python benchmarks/table_memory.py ENDING [ROWS]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from tuningfork.model.prediction_columns import output_schema
from tuningfork.tables import table_writer
from tuningfork.votes.tree_files import load_tree

#: Rows that are handed over together.
TOGETHER = 10_000


def some_rows() -> pa.Table:
    """A table of made-up predictions."""
    rng = np.random.default_rng(0)

    def column(kind: pa.DataType) -> pa.Array:
        if pa.types.is_string(kind):
            return pa.array(["galaxy_12345"] * TOGETHER)
        return pa.array(rng.random(TOGETHER)).cast(kind, safe=False)

    schema = output_schema(load_tree("gz2"))
    return pa.table([column(field.type) for field in schema], schema=schema)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    ending, rows = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 80_000
    table = some_rows()
    before, started = peak_mb(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, table_writer(Path(folder) / f"t{ending}", table.schema) as write:
        for _ in range(rows // TOGETHER):
            write(table)
    print(
        f"{ending}: {rows} rows, peak {before:.0f} → {peak_mb():.0f} MB, {time.process_time() - started:.1f} s of CPU"
    )


if __name__ == "__main__":
    main()
