"""Merge the parts of a finished run into one table, streamed."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from .. import __version__
from .._utils.text import one_line
from ..tables import MAX_REPORTED, RowError, read_table, table_writer
from ..tables.columns import ABOUT_TABLE
from ..tables.hats import hats_partitions, read_hats
from .manifest import ManifestError, PredictionRun, read_run

__all__ = [
    "RunOutcome",
    "about_run",
    "merge",
    "part_tables",
    "read_part",
    "run_outcome",
    "table_of",
    "write_parts",
]

#: Rows that are written together: small row groups make slow readers.
WRITTEN_AT_ONCE = 50_000


@dataclass(frozen=True)
class RunOutcome:
    """What became of a run's rows: how many failed, the first of these by name, how many were flagged or warned of.

    `classes` counts the most probable classes by name, `not_measured` the galaxies without structural parameters.
    """

    failed: int
    errors: tuple[RowError, ...]
    out_of_domain: int
    warnings: int
    classes: Mapping[str, int] = field(default_factory=dict)
    not_measured: int = 0


def run_outcome(run: PredictionRun, numbers: Iterable[int]) -> RunOutcome:
    """The outcome of the parts of these numbers, which must be complete."""
    import pyarrow.parquet as pq

    failed = flagged = warned = not_measured = 0
    errors: list[RowError] = []
    classes: Counter[str] = Counter()
    for number in numbers:
        metadata = pq.read_metadata(run.part(number)).metadata
        reasons = json.loads(metadata[b"errors"])
        failed += len(reasons)
        flagged += int(metadata[b"out_of_domain"])
        warned += int(metadata[b"warnings"])
        not_measured += int(metadata.get(b"not_measured", 0))
        # Parts of earlier versions do not have them.
        classes.update(json.loads(metadata.get(b"classes", b"{}")))
        for row, (path, id_, reason) in list(reasons.items())[: MAX_REPORTED - len(errors)]:
            errors.append(RowError(path, number * run.part_rows + int(row) + 1, id_, "", reason))
    return RunOutcome(failed, tuple(errors), flagged, warned, dict(classes.most_common()), not_measured)


def merge(
    run: PredictionRun,
    output: str | os.PathLike[str],
    *,
    without: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write all parts of a run, in order, as one table; see `write_parts`.

    Parameters
    ----------
    without : sequence of str
        Columns that are left out.

    Raises
    ------
    ManifestError
        If a part is missing or damaged.
    """
    schema = _schema(run)
    schema = pa.schema([each for each in schema if each.name not in without], schema.metadata)
    write_parts(run, output, schema, progress)
    return Path(output)


def write_parts(
    run: PredictionRun,
    output: str | os.PathLike[str],
    schema: pa.Schema,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write these columns of all parts of a run, in order, as one table.

    At most `WRITTEN_AT_ONCE` rows and a part are in memory.

    Parameters
    ----------
    output : path
        The extension decides the format.
    schema : pyarrow.Schema
        The columns to write, with what they mean.
    progress : function of (parts done, parts in all), optional

    Raises
    ------
    ManifestError
        If a part is missing or damaged.
    """
    with table_writer(output, schema) as write:
        tables: list[pa.Table] = []
        for number in range(run.parts):
            tables.append(read_part(run, number).select(schema.names).cast(schema))
            if sum(map(len, tables)) >= WRITTEN_AT_ONCE or number == run.parts - 1:
                write(pa.concat_tables(tables).combine_chunks())
                tables.clear()
            if progress:
                progress(number + 1, run.parts)


def table_of(path: str | os.PathLike[str], *, text: bool = False, problems: dict[int, str] | None = None) -> pa.Table:
    """A table of any format, the parts of a run's folder in order, or a HATS catalogue, in memory.

    Parameters
    ----------
    path : path-like
    text, problems
        Of a CSV, as `read_table` has them.

    Raises
    ------
    CatalogError, ManifestError
        If it cannot be read, is no run, or a part is missing or damaged.
    """
    if not Path(path).is_dir():
        return read_table(path, text=text, problems=problems)
    if partitions := hats_partitions(path):
        return read_hats(partitions)
    return pa.concat_tables(part_tables(path))


def part_tables(folder: str | os.PathLike[str]) -> Iterator[pa.Table]:
    """The parts of a run's folder in order, one at a time, each with what the whole table says of itself.

    Raises
    ------
    ManifestError
        If the folder is no run, or a part is missing or damaged.
    """
    run = read_run(Path(folder))
    schema = _schema(run)
    for number in range(run.parts):
        yield read_part(run, number).cast(schema)


def _schema(run: PredictionRun) -> pa.Schema:
    import pyarrow.parquet as pq

    schema = pq.read_schema(run.part(0)) if run.is_complete(0) else pa.schema([])
    # A part's metadata on its own rows do not apply to the table.
    return schema.with_metadata(about_run(run.identity))


def about_run(identity: Mapping[str, Any]) -> dict[str, str]:
    """What the table of a run of this identity says of itself."""
    model = {key: str(identity[key]) for key in ABOUT_TABLE if identity.get(key) not in (None, "")}
    about = "Morphology of galaxies, predicted from their images by a trained model"
    measured = f", statmorph {identity['structure']}" if identity.get("structure") else ""
    return {"description": about, "creator": f"tuningfork {__version__}{measured}", **model}


def read_part(run: PredictionRun, number: int) -> pa.Table:
    """A part of a run, checked; ManifestError if it is missing or damaged."""
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(run.part(number), page_checksum_verification=True).read()
    except FileNotFoundError:
        raise ManifestError(f"{run.part(number)} is missing; go on with --resume") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ManifestError(
            f"{run.part(number)} is damaged ({one_line(error)}); delete it and go on with --resume"
        ) from None
    if len(table) != run.rows_of(number):
        raise ManifestError(
            f"{run.part(number)} has {len(table)} rows instead of {run.rows_of(number)}; delete it and go on "
            "with --resume"
        )
    return table
