"""Predict images into tables on disk: streamed, on all cores or a cluster, resumable after any interruption."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .._utils.locks import lock
from .._utils.processes import WorkerError
from ..inputs import Columns, InputItem
from ..model.model import Model, load
from ..model.options import InferenceOptions
from .chunks import MEASURED_ROWS, Chunk
from .manifest import PredictionRun, has_run, open_run
from .merge import merge, run_outcome
from .options import ExecutionOptions, PredictError
from .part_table import ChunkResult, table_schema
from .summary import RunSummary, left_out_text, no_image_error
from .task import PredictionTask, run_folder

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ExecutionOptions",
    "InferenceOptions",
    "PredictError",
    "RunSummary",
    "is_begun",
    "left_out_text",
    "load",
    "predict_files",
    "run_folder",
]

#: Parts of one row group of a table that one worker takes, since it reads them on from where it stands.
GROUP = 8


def predict_files(
    model: Model,
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    inference: InferenceOptions = InferenceOptions(),
    execution: ExecutionOptions = ExecutionOptions(),
    *,
    layout: str = "words",
    columns: Columns = Columns(),
    progress: Callable[[int, int], None] | None = None,
) -> RunSummary:
    """Predict every image that `paths` name into the table `output`, one row per image.

    `output` with an extension is one table; its parts are in the folder ``OUTPUT.parts`` and joined at the end.
    Without one it is a folder of Parquet parts, which readers open as one data set, with ``_manifest.json``. The
    input is listed first, on disk. After an interruption `resume` goes on with the parts that are missing and
    gives the same table, byte for byte, as an uninterrupted run with the same batch size and threads on the same
    machine, with however many workers.

    Parameters
    ----------
    model : Model
    paths : sequence of paths or URLs
        Images, folders, catalogues, archives, or places in object stores.
    output : path
        A table (the extension decides the format) or a folder.
    inference : InferenceOptions
        Views, batch size, and whether embeddings, draws of the fractions, and structural parameters are columns, too.
        CSV does not hold embeddings, and draws are written to Parquet only. A galaxy that cannot be measured keeps its
        prediction; ``structure_error`` says why.
    execution : ExecutionOptions
        Engine, processes, threads, shard, and whether an interrupted run is continued, or the failed rows of a
        finished one are predicted again.
    layout : "words" or "kaggle"
        Named fractions and class, or GalaxyID and the cumulative columns in the campaign's order.
    columns : Columns
        Of catalogues.
    progress : function of (rows done, rows in all), optional

    Raises
    ------
    PredictError, ManifestError, InputError
        If there is no image, another run is in the way, or the input changed since.
    StructureError
        If structural parameters are requested, and statmorph is not installed.
    OSError
        If the output cannot be written (checked before the work begins).

    Examples
    --------
    >>> import tempfile, tuningfork
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     images = tuningfork.simulate(f"{folder}/galaxies", n=2, workers=1) / "images_training_rev1"
    ...     summary = predict_files(tuningfork.load("fast"), [images], f"{folder}/votes.csv")
    ...     summary.rows, summary.failed
    (2, 0)
    """
    task = PredictionTask(model, tuple(paths), Path(output), inference, execution, layout, columns, progress)
    task.check()
    busy = PredictError(f"another run is writing {output}; wait for it, or name another output")
    if execution.retry_failed:
        with lock(task.beside("lock"), busy):
            return _retry(task)
    return _predict(task, busy)


def _predict(task: PredictionTask, busy: PredictError) -> RunSummary:
    """Predict what is missing of the run, or of one shard's part of it."""
    shard = task.execution.shard
    with ExitStack() as locks:
        locks.enter_context(lock(task.beside("lock"), busy, shared=shard is not None))
        if shard:
            locks.enter_context(lock(task.beside(f"{shard[0]}-{shard[1]}.lock"), busy))
        with lock(task.beside("listing.lock")):
            run = open_run(
                task.folder,
                task.identity(),
                task.items,
                resume=task.execution.resume,
                shards=shard[1] if shard else None,
                chunk_rows=task.execution.chunk_rows or (MEASURED_ROWS if task.inference.structure else None),
                left_out=task.left_out,
            )
        if not run.rows:
            raise no_image_error(task.inputs, task.left_out)
        mine = [n for n in range(run.parts) if shard is None or n % shard[1] == shard[0] - 1]
        missing = [n for n in mine if not run.is_complete(n)]
        total, todo = sum(map(run.rows_of, mine)), sum(map(run.rows_of, missing))
        results = task.predict(_groups(run.chunks_of(missing)), run.has_positions, total - todo, total)
        _write_parts(run, results)
        outcome = run_outcome(run, mine)
        complete = shard is None or all(run.is_complete(n) for n in range(run.parts))
        if task.is_one_table:
            merge(run, task.output)
            run.remove()
        elif complete:
            # Two shards may end at the same moment.
            with lock(task.beside("listing.lock")):
                run.finish()
            # No other needs it any more.
            task.beside("lock").unlink(missing_ok=True)
    return RunSummary(
        task.output,
        total,
        outcome.failed,
        total - todo,
        outcome.errors,
        outcome.out_of_domain if task.model.calibration.domain else None,
        complete,
        run.left_out,
        outcome.warnings,
        outcome.classes,
        outcome.not_measured if task.inference.structure else None,
    )


def _retry(task: PredictionTask) -> RunSummary:
    """Predict the failed rows of a finished run again."""
    from .retry import retry_failed

    def predict(chunks: list[Chunk], has_positions: bool) -> Iterator[ChunkResult]:
        rows = sum(len(chunk.items) for chunk in chunks)
        return task.predict(iter([[chunk] for chunk in chunks]), has_positions, 0, rows)

    def schema(has_positions: bool) -> pa.Schema:
        return table_schema(task.model.tree, task.table_layout(has_positions))

    summary = retry_failed(task.output, task.identity(), task.items(), schema, predict)
    return replace(summary, left_out=dict(task.left_out))


def is_begun(output: str | os.PathLike[str]) -> bool:
    """Whether there is a run of this output to go on with."""
    return has_run(run_folder(Path(output)))


def _groups(parts: Iterable[tuple[int, list[InputItem]]]) -> Iterator[list[Chunk]]:
    """Chunks that one worker should predict one after the other: those that read one row group of a table."""
    group: list[Chunk] = []
    previous = None
    for number, items in parts:
        first = items[0]
        table = (first.location, first.member) if first.kind == "row" else None
        if group and (table is None or table != previous or len(group) == GROUP):
            yield group
            group = []
        group.append(Chunk(number, items))
        previous = table
    if group:
        yield group


def _write_parts(run: PredictionRun, parts: Iterator[ChunkResult]) -> None:
    # This process alone writes, under its lock: what a killed run's workers still do reaches no file.
    try:
        for part in parts:
            run.write_part(part.number, part.data)
    except WorkerError as error:
        raise PredictError(f"{error}; finished parts stay") from None
