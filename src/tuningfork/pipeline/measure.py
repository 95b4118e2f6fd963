"""Measurement of structural parameters: as a prediction run is, in parts, resumable, by several processes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from .. import __version__
from .._utils.environment import available_cores
from .._utils.files import check_output
from .._utils.locks import lock
from .._utils.processes import Worker, run_tasks
from ..images.fits.framing import Framing
from ..images.flux import read_flux
from ..images.structure import check_statmorph, structure_row, version_of_statmorph
from ..inputs import Columns, InputItem, ItemReader, find_items
from ..model.structure_columns import STRUCTURE_COLUMNS, structure_arrays
from ..tables import Column, arrow_schema, check_format, ucd
from ..tables.arrow import text_array
from .chunks import MEASURED_ROWS, Chunk
from .local import drive_chunks
from .manifest import PredictionRun, open_run
from .merge import run_outcome, write_parts
from .options import ExecutionOptions, PredictError
from .part_table import ChunkResult, part_bytes
from .repeated_ids import count_repeated_ids
from .summary import RowProgress, RunSummary, no_image_error
from .task import run_folder

__all__ = ["measure_files", "structure_schema"]


@lru_cache(maxsize=1)
def structure_schema() -> pa.Schema:
    """The columns of the table, with units, descriptions and UCDs."""
    columns = [
        Column(
            "id", pa.string(), "Identifier of the galaxy: the image file's name without extension", ucd=ucd.IDENTIFIER
        ),
        Column("path", pa.string(), "Image file", ucd=ucd.FILE),
        *STRUCTURE_COLUMNS,
        Column("warning", pa.string(), "Empty, or what to know of the image", ucd=ucd.NOTE),
        Column("error", pa.string(), "Empty, or why this row was not measured", ucd=ucd.NOTE),
    ]
    return arrow_schema(columns)


@dataclass(frozen=True)
class MeasureJob:
    """What a worker needs to measure chunks; see `processes.Job`."""

    framing: Framing

    def open(self) -> Callable[[Chunk, Callable[[Any], None]], ChunkResult]:
        """Called in the worker."""
        reader = ItemReader()

        def answer(chunk: Chunk, send_message: Callable[[Any], None]) -> ChunkResult:
            return _measure_chunk(
                chunk,
                reader,
                self.framing,
                on_rows=lambda rows: send_message(("rows", rows)),
                on_row=lambda row: send_message(("row", row)) if chunk.row_by_row else None,
            )

        return answer


def measure_files(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    framing: Framing = Framing(),
    execution: ExecutionOptions = ExecutionOptions(),
    columns: Columns = Columns(),
    progress: Callable[[int, int], None] | None = None,
) -> RunSummary:
    """Measure the structure of the galaxy in the middle of every image; one row per image.

    Parameters
    ----------
    paths : sequence of paths or URLs
        As `predict_files` takes them.
    output : path
        A table; the extension decides the format. Its parts are in ``OUTPUT.parts`` until all are there.
    framing : Framing
        Which image, bands and mask of a FITS file.
    execution : ExecutionOptions
        Number of processes, and whether an interrupted run is continued.
    columns : Columns
        Of catalogues.
    progress : function of (rows done, rows in all), optional

    Raises
    ------
    StructureError
        If statmorph is not installed.
    PredictError, ManifestError, InputError
        If there is no image, another run is in the way, or the input changed since.
    """
    check_statmorph()
    output, inputs = Path(output), list(paths)
    if not output.suffix:
        raise PredictError(f"{output}: name a table: .csv, .parquet, .fits, .vot or .ecsv")
    check_format(output)
    check_output(output, inputs, overwrite=True)
    folder, left_out = run_folder(output), Counter[str]()
    identity = {"structure": version_of_statmorph(), "framing": framing.to_dict()}

    def items() -> Iterable[InputItem]:
        left_out.clear()
        return count_repeated_ids(find_items(inputs, columns, left_out))

    busy = PredictError(f"another run is writing {output}; wait for it, or name another output")
    beside = folder.with_name(f".{folder.name}.lock")
    with lock(beside, busy):
        run = open_run(folder, identity, items, resume=execution.resume, chunk_rows=MEASURED_ROWS, left_out=left_out)
        if not run.rows:
            raise no_image_error(inputs, left_out)
        missing = [number for number in range(run.parts) if not run.is_complete(number)]
        todo = sum(map(run.rows_of, missing))
        count = RowProgress(progress, run.rows - todo, run.rows)
        chunks = (Chunk(number, chunk_items) for number, chunk_items in run.chunks_of(missing))
        workers = min(execution.workers or available_cores(), max(len(missing), 1))
        for part in _parts(chunks, framing, workers, count):
            run.write_part(part.number, part.data)
        outcome = run_outcome(run, range(run.parts))
        _merge(run, output)
        run.remove()
    return RunSummary(
        output, run.rows, outcome.failed, run.rows - todo, outcome.errors, None, True, run.left_out, outcome.warnings
    )


def _parts(
    chunks: Iterator[Chunk], framing: Framing, workers: int, on_rows: Callable[[int], None]
) -> Iterator[ChunkResult]:
    if workers == 1:
        with ItemReader() as reader:
            for chunk in chunks:
                yield _measure_chunk(chunk, reader, framing, on_rows=on_rows, on_row=lambda _: None)
        return
    groups = ([chunk] for chunk in chunks)
    for answer in run_tasks(groups, [Worker(MeasureJob(framing)) for _ in range(workers)], drive_chunks):
        if isinstance(answer, ChunkResult):
            yield answer
        else:
            on_rows(answer)


def _measure_chunk(
    chunk: Chunk,
    reader: ItemReader,
    framing: Framing,
    *,
    on_rows: Callable[[int], None],
    on_row: Callable[[int], None],
) -> ChunkResult:
    """Measure one chunk; a row that cannot be measured says why."""
    rows: list[dict[str, Any]] = []
    for number, item in enumerate(chunk.items):
        on_row(number)
        if number in chunk.known_failures:
            item = replace(item, error=chunk.known_failures[number])
        rows.append(_row(item, reader.prepare(item), framing))
        on_rows(1)
    errors = {str(n): [row["path"], row["id"], row["error"]] for n, row in enumerate(rows) if row["error"]}
    metadata = {
        "errors": json.dumps(errors),
        "out_of_domain": "0",
        "warnings": str(sum(bool(row["warning"]) for row in rows)),
    }
    return ChunkResult(chunk.number, part_bytes(_table(rows).replace_schema_metadata(metadata)), len(rows), len(errors))


def _row(item: InputItem, fetch: Callable[[], bytes], framing: Framing) -> dict[str, Any]:
    return {"id": item.id, "path": item.path, **structure_row(lambda: read_flux(fetch(), framing))}


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    schema = structure_schema()
    arrays = {name: text_array([row[name] for row in rows]) for name in ("id", "path", "warning", "error")}
    arrays |= structure_arrays(rows)
    return pa.Table.from_arrays([arrays[field.name] for field in schema], schema=schema)


def _merge(run: PredictionRun, output: Path) -> None:
    about = {
        "description": "Structure of galaxies, measured in their images by statmorph",
        "creator": f"tuningfork {__version__}, statmorph {version_of_statmorph()}",
    }
    write_parts(run, output, structure_schema().with_metadata(about))
