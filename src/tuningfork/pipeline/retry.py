"""Retry: predict the failed rows of a finished prediction again, and put the results in their places."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..inputs import InputItem
from ..model.structure_columns import REASON
from ..tables import RowError, read_table, table_writer
from ..tables.columns import about_table
from .chunks import Chunk
from .manifest import ManifestError, PredictionRun, check_identity, read_run
from .merge import about_run, read_part, run_outcome
from .part_table import ChunkResult, part_bytes
from .summary import RunSummary

__all__ = ["retry_failed"]

#: Rows of a chunk where the table has no parts.
CHUNK_ROWS = 512
#: Rows by their numbers from 0: ID and path, "" where the table has no paths.
_Rows = dict[int, tuple[str, str]]
_Predict = Callable[[list[Chunk], bool], Iterator[ChunkResult]]


def retry_failed(
    output: Path,
    identity: Mapping[str, Any],
    items: Iterable[InputItem],
    schema: Callable[[bool], pa.Schema],
    predict: _Predict,
) -> RunSummary:
    """Predict the failed rows of a finished prediction again; all others stay as they are.

    Where structure is measured, so are galaxies that were predicted and not measured; they stay as they are if they
    cannot be predicted now.
    Rows are found in the input by ID and path, else by an ID of its own. One that is no longer there stays failed.

    Parameters
    ----------
    output : Path
        A table, or a folder of parts; a table is held in memory.
    identity : mapping
        What decides the rows beside the input; must be that of the prediction.
    items : iterable of InputItem
        The input as it is now.
    schema : function
        The table's columns, with positions or without.
    predict : function
        Predicts chunks, with positions or without.

    Raises
    ------
    ManifestError
        If there is no finished prediction, or it is of another model or of other columns.
    """
    if not output.exists():
        raise ManifestError(f"{output}: no such prediction, so that no row of it failed; leave out --retry-failed")
    task = _Task(output, identity, items, schema, predict)
    return _retry_parts(task) if output.is_dir() else _retry_table(task)


@dataclass(frozen=True)
class _Task:
    """What `retry_failed` was called with; see there."""

    output: Path
    identity: Mapping[str, Any]
    items: Iterable[InputItem]
    schema: Callable[[bool], pa.Schema]
    predict: _Predict

    @property
    def is_measured(self) -> bool:
        return "structure" in self.identity


def _retry_table(task: _Task) -> RunSummary:
    output, identity = task.output, task.identity
    table = read_table(output)
    for key in ("model_sha256", "views"):
        before, wanted = about_table(table.schema).get(key), str(identity[key])
        if before not in (None, wanted):
            raise ManifestError(f"{output} is of another {key} ({before}, not {wanted}); predict it anew")
    has_positions = "ra" in table.column_names
    expected = task.schema(has_positions)
    if table.column_names != expected.names:
        raise ManifestError(f"{output} has other columns than this command writes; predict it anew")
    table = table.cast(expected).replace_schema_metadata(about_run(identity))
    failed = _failed_rows(table)
    unmeasured = _unmeasured_rows(table, failed) if task.is_measured else {}
    matches = _match_items(failed | unmeasured, task.items)
    rows = sorted(matches)
    blocks = [rows[first : first + CHUNK_ROWS] for first in range(0, len(rows), CHUNK_ROWS)]
    chunks = [Chunk(number, [matches[row] for row in block]) for number, block in enumerate(blocks)]
    # Chunks come in any order.
    parts = {result.number: _table_of(result) for result in task.predict(chunks, has_positions)}
    if rows:
        new = pa.concat_tables([parts[number].cast(table.schema) for number in range(len(blocks))])
        table = _replace_rows(table, rows, new, failed)
        with table_writer(output, table.schema) as write:
            write(table)
    names = table.column_names
    left = _failed_rows(table)
    reasons = table["error"].to_pylist() if "error" in names else ["no fractions"] * len(table)
    errors = tuple(RowError(path, row + 1, id_, "", str(reasons[row])) for row, (id_, path) in left.items())
    flagged = _count(table, "out_of_domain") if "out_of_domain" in names else None
    warned = _count(table, "warning") if "warning" in names else 0
    not_measured = _count(table, REASON.name) if task.is_measured else None
    others = len(table) - len(matches)
    return RunSummary(
        output, len(table), len(left), others, errors, flagged, warnings=warned, not_measured=not_measured
    )


def _retry_parts(task: _Task) -> RunSummary:
    folder = task.output
    run = read_run(folder)
    check_identity(run, task.identity)
    if any(not run.is_complete(number) for number in range(run.parts)):
        raise ManifestError(f"{folder} lacks parts; go on with --resume first")
    unmeasured = dict(_unmeasured_of_parts(run)) if task.is_measured else {}
    matches = _match_items(dict(_failed_of_parts(run)) | unmeasured, task.items)
    numbered = {n: list(rows) for n, rows in groupby(sorted(matches), lambda row: row // run.part_rows)}
    chunks = [Chunk(number, [matches[row] for row in rows]) for number, rows in numbered.items()]
    for result in task.predict(chunks, run.has_positions):
        rows = [row % run.part_rows for row in numbered[result.number]]
        _rewrite_part(run, result, rows)
    if chunks:
        run.finish()
    outcome = run_outcome(run, range(run.parts))
    others = run.rows - len(matches)
    return RunSummary(
        folder,
        run.rows,
        outcome.failed,
        others,
        outcome.errors,
        outcome.out_of_domain,
        warnings=outcome.warnings,
        not_measured=outcome.not_measured if task.is_measured else None,
    )


def _failed_of_parts(run: PredictionRun) -> Iterator[tuple[int, tuple[str, str]]]:
    for number in range(run.parts):
        errors = json.loads(pq.read_metadata(run.part(number)).metadata[b"errors"])
        for row, (path, id_, _) in errors.items():
            yield number * run.part_rows + int(row), (id_, path)


def _unmeasured_of_parts(run: PredictionRun) -> Iterator[tuple[int, tuple[str, str]]]:
    for number in range(run.parts):
        metadata = pq.read_metadata(run.part(number)).metadata
        errors = json.loads(metadata[b"errors"])
        # Rows that failed are counted, too.
        if int(metadata[b"not_measured"]) > len(errors):
            rows = _unmeasured_rows(read_part(run, number), set(map(int, errors)))
            yield from ((number * run.part_rows + row, names) for row, names in rows.items())


def _rewrite_part(run: PredictionRun, result: ChunkResult, rows: list[int]) -> None:
    """Replace rows of a part, and what its metadata say of them."""
    old, new = read_part(run, result.number), _table_of(result)
    before, fresh = old.schema.metadata, new.schema.metadata
    failed = {int(row): error for row, error in json.loads(before[b"errors"]).items()}
    again = {rows[int(row)]: error for row, error in json.loads(fresh[b"errors"]).items()}
    errors = failed | {row: again.get(row) for row in failed.keys() & set(rows)}
    table = _replace_rows(old, rows, new, failed)
    if "error" in table.column_names:
        counts = {b"out_of_domain": _count(table, "out_of_domain"), b"warnings": _count(table, "warning")}
        names = table["class_name"].to_pylist() if "class_name" in table.column_names else ()
        classes = Counter(filter(None, names))
    else:
        # Kaggle's layout, in which only rows that failed are predicted again, and none of them was counted.
        counts = {name: int(before[name]) + int(fresh[name]) for name in (b"out_of_domain", b"warnings")}
        classes = sum((Counter(json.loads(each.get(b"classes", b"{}"))) for each in (before, fresh)), Counter())
    if b"not_measured" in before:
        counts[b"not_measured"] = _count(table, REASON.name)
    metadata = {
        **before,
        **{name: str(count) for name, count in counts.items()},
        b"errors": json.dumps({str(row): error for row, error in sorted(errors.items()) if error}),
        b"classes": json.dumps(dict(classes.most_common())),
    }
    run.write_part(result.number, part_bytes(table.replace_schema_metadata(metadata)))


def _table_of(result: ChunkResult) -> pa.Table:
    return pq.read_table(io.BytesIO(result.data))


def _failed_rows(table: pa.Table) -> _Rows:
    ids = table[0].to_pylist()
    if "error" in table.column_names:
        errors, paths = table["error"].to_pylist(), table["path"].to_pylist()
        return {row: (ids[row], paths[row]) for row, error in enumerate(errors) if error}
    # Kaggle's layout: no fraction is known.
    unknown = table[1].is_null(nan_is_null=True).to_pylist()
    return {row: (ids[row], "") for row, is_unknown in enumerate(unknown) if is_unknown}


def _unmeasured_rows(table: pa.Table, failed: Collection[int]) -> _Rows:
    """Rows that were predicted, and whose structure was not measured."""
    ids, paths, reasons = (table[name].to_pylist() for name in (table.column_names[0], "path", REASON.name))
    return {row: (ids[row], paths[row]) for row, reason in enumerate(reasons) if reason and row not in failed}


def _count(table: pa.Table, name: str) -> int:
    return sum(map(bool, table[name].to_pylist()))


def _match_items(rows: _Rows, items: Iterable[InputItem]) -> dict[int, InputItem]:
    """The items of rows: by ID and path, else by an ID that one row alone has."""
    by_path: dict[tuple[str, str], list[int]] = {}
    by_id: dict[str, list[int]] = {}
    for row, (id_, path) in rows.items():
        by_path.setdefault((id_, path), []).append(row)
        by_id.setdefault(id_, []).append(row)
    matches: dict[int, InputItem] = {}
    of_other_path: dict[int, InputItem] = {}
    for item in items:
        if rows_of_path := by_path.get((item.id, item.path)):
            matches[rows_of_path.pop(0)] = item
        elif len(rows_of_id := by_id.get(item.id, [])) == 1:
            of_other_path.setdefault(rows_of_id[0], item)
    return of_other_path | matches


def _replace_rows(table: pa.Table, rows: list[int], new: pa.Table, failed: Collection[int]) -> pa.Table:
    """A table with new rows in these places, but for those that were predicted and now failed."""
    worse = {place for place in _failed_rows(new) if rows[place] not in failed}
    order = np.arange(len(table))
    for place, row in enumerate(rows):
        if place not in worse:
            order[row] = len(table) + place
    both = pa.concat_tables([table, new.cast(table.schema)])
    return both.take(pa.array(order)).replace_schema_metadata(table.schema.metadata)
