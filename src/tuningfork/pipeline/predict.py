"""Predict images into tables on disk: streamed, on all cores or a cluster, resumable after any interruption."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from .._utils.files import atomic_file, check_output, check_writable, lock
from .._utils.processes import WorkerCrash, WorkerError, available_cores
from .._utils.urls import is_url
from ..images.structure import version_of_statmorph
from ..inputs import Columns, InputItem, find_items
from ..inputs.stores import REMOTE_THREADS
from ..model.batch_size import tune_batch_size
from ..model.model import Model, load
from ..model.options import InferenceOptions
from ..tables import check_format
from . import local
from .chunks import BATCH, MEASURED_ROWS, Chunk, ChunkResult, TableLayout, table_schema
from .manifest import MANIFEST, PredictionRun, open_run
from .merge import merge, run_outcome
from .optional_columns import check_optional_columns
from .options import ExecutionOptions, PredictError
from .repeated_ids import count_repeated_ids, distinct_ids
from .summary import RowProgress, RunSummary, left_out_text, no_image_error

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

LAYOUTS = ("words", "kaggle")
#: Parts of one row group of a table that one worker takes, since it reads them on from where it stands.
GROUP = 8
MIN_ROWS_TO_TUNE = 10_000


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
    output = Path(output)
    one_table = bool(output.suffix)
    if layout not in LAYOUTS:
        raise PredictError(f"layout {layout!r} is none of {', '.join(LAYOUTS)}")
    kaggle, shard, views = layout == "kaggle", execution.shard, inference.n_views
    if shard and one_table:
        raise PredictError("shards write one folder of parts: name an output without extension")
    check_optional_columns(model, output, inference, is_kaggle=kaggle)
    embedder = model.embedder(views) if inference.embeddings else None
    inputs = list(paths)
    if one_table:
        check_format(output)
    else:
        check_writable(output / ".probe" if output.is_dir() else output)
    check_output(output, inputs, overwrite=True, is_folder=not one_table)
    folder = run_folder(output)
    left_out: Counter[str] = Counter()
    identity = {
        "model": model.bundle.name,
        "model_sha256": model.bundle.sha256,
        "values_kind": model.tree.values_kind,
        "values_kind_source": model.tree.values_kind_source,
        "views": views or model.n_views,
        "precision": model.running["precision"],
        "layout": "words and embeddings" if inference.embeddings else layout,
        **({"draws": inference.draws} if inference.draws else {}),
        **({"structure": version_of_statmorph()} if inference.structure else {}),
        **({"framing": framing} if (framing := model.framing.to_dict()) else {}),
        **({"carried": [column.name for _, column in columns.carried]} if columns.carried else {}),
    }

    def items() -> Iterable[InputItem]:
        left_out.clear()
        listed = find_items(inputs, columns, left_out)
        return distinct_ids(listed, lambda: find_items(inputs, columns)) if kaggle else count_repeated_ids(listed)

    busy = PredictError(f"another run is writing {output}; wait for it, or name another output")
    beside, listing = (folder.with_name(f".{folder.name}.{end}") for end in ("lock", "listing.lock"))
    carried = () if kaggle else tuple(column for _, column in columns.carried)

    def table_layout(has_positions: bool) -> TableLayout:
        return TableLayout(
            kaggle,
            has_positions and not kaggle,
            embedder,
            carried,
            temporary=one_table,
            draws=inference.draws,
            structure=inference.structure,
        )

    def predicted(groups: Iterator[list[Chunk]], has_positions: bool, done: int, total: int) -> Iterator[ChunkResult]:
        table, count = table_layout(has_positions), RowProgress(progress, done, total)
        batch = inference.batch_size or _batch(model, views, execution.threads or 1, total - done)
        chosen = replace(inference, batch_size=batch)
        if execution.engine == "ray":
            from .ray import engine as ray

            return ray.predict_chunks(model, groups, table, chosen, execution, on_rows=count)
        workers = execution.workers or local.worker_count(total - done, structure=inference.structure)
        local_ = replace(execution, workers=workers)
        readers = REMOTE_THREADS if any(map(_is_remote, inputs)) else available_cores() if workers == 1 else 1
        spool = None if execution.retry_failed else folder
        return local.predict_chunks(model, groups, table, chosen, local_, readers=readers, on_rows=count, spool=spool)

    if execution.retry_failed:
        from .retry import retry_failed

        def again(chunks: list[Chunk], has_positions: bool) -> Iterator[ChunkResult]:
            rows = sum(len(chunk.items) for chunk in chunks)
            return predicted(iter([[chunk] for chunk in chunks]), has_positions, 0, rows)

        with lock(beside, busy):
            summary = retry_failed(
                output, identity, items(), lambda positions: table_schema(model.tree, table_layout(positions)), again
            )
        return replace(summary, left_out=dict(left_out))
    with ExitStack() as locks:
        locks.enter_context(lock(beside, busy, shared=shard is not None))
        shards = shard[1] if shard else None
        if shard:
            locks.enter_context(lock(folder.with_name(f".{folder.name}.{shard[0]}-{shard[1]}.lock"), busy))
        with lock(listing):
            run = open_run(
                folder,
                identity,
                items,
                resume=execution.resume,
                shards=shards,
                chunk_rows=execution.chunk_rows or (MEASURED_ROWS if inference.structure else None),
                left_out=left_out,
            )
        if not run.rows:
            raise no_image_error(inputs, left_out)
        mine = [n for n in range(run.parts) if shard is None or n % shard[1] == shard[0] - 1]
        missing = [n for n in mine if not run.is_complete(n)]
        total, todo = sum(map(run.rows_of, mine)), sum(map(run.rows_of, missing))
        groups = _groups(run.chunks_of(missing))
        parts = predicted(groups, run.has_positions, total - todo, total)
        _write_parts(run, parts)
        outcome = run_outcome(run, mine)
        complete = shard is None or all(run.is_complete(n) for n in range(run.parts))
        if one_table:
            merge(run, output)
            run.remove()
        elif complete:
            # Two shards may end at the same moment.
            with lock(listing):
                run.finish()
            # No other needs it any more.
            beside.unlink(missing_ok=True)
    flagged = outcome.out_of_domain if model.calibration.domain else None
    resumed = total - todo
    return RunSummary(
        output,
        total,
        outcome.failed,
        resumed,
        outcome.errors,
        flagged,
        complete,
        run.left_out,
        outcome.warnings,
        outcome.classes,
        outcome.not_measured if inference.structure else None,
    )


def is_begun(output: str | os.PathLike[str]) -> bool:
    """Whether there is a run of this output to go on with."""
    return (run_folder(Path(output)) / MANIFEST).exists()


def run_folder(output: Path) -> Path:
    """Where the parts of a run are: beside a table, or the output itself."""
    return output.with_name(output.name + ".parts") if output.suffix else output


def _batch(model: Model, views: int | None, threads: int, rows: int) -> int:
    """The batch size that is fast on this machine, measured for runs that are worth the seconds that it takes."""
    if rows < MIN_ROWS_TO_TUNE or model.batch_size != BATCH:
        # What a GPU takes at a time is large, and says nothing in a process of its own beside this one.
        return model.batch_size
    try:
        return tune_batch_size(model, n_views=views, threads=threads).batch
    except (WorkerCrash, WorkerError):
        # It is slower, perhaps, and no reason not to predict.
        return BATCH


def _is_remote(path: str | os.PathLike[str]) -> bool:
    return is_url(str(path))


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
            with atomic_file(run.part(part.number)) as file:
                file.write_bytes(part.data)
    except WorkerError as error:
        raise PredictError(f"{error}; finished parts stay") from None
