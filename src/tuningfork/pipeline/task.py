"""A prediction as it was requested: its input, the identity of its rows, its columns, and the engine that predicts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._utils.environment import available_cores
from .._utils.files import check_output, check_writable
from .._utils.processes import WorkerCrash, WorkerError
from .._utils.urls import is_url
from ..images.structure import version_of_statmorph
from ..inputs import Columns, InputItem, find_items
from ..inputs.stores import REMOTE_THREADS
from ..model.batch_size import tune_batch_size
from ..model.embeddings import Embedder
from ..model.model import Model
from ..model.options import InferenceOptions
from ..tables import check_format
from . import local
from .chunks import BATCH, Chunk
from .optional_columns import check_optional_columns
from .options import ExecutionOptions, PredictError
from .part_table import ChunkResult, TableLayout
from .repeated_ids import count_repeated_ids, distinct_ids
from .summary import RowProgress

__all__ = ["MIN_ROWS_TO_TUNE", "PredictionTask", "chosen_batch_size", "run_folder"]

LAYOUTS = ("words", "kaggle")
MIN_ROWS_TO_TUNE = 10_000


def run_folder(output: Path) -> Path:
    """Where the parts of a run are: beside a table, or the output itself."""
    return output.with_name(output.name + ".parts") if output.suffix else output


@dataclass(frozen=True)
class PredictionTask:
    """What `predict.predict_files` was called with; see there.

    Parameters
    ----------
    left_out : what the inputs hold beside images, by kind; filled while `items` lists them
    """

    model: Model
    inputs: tuple[str | os.PathLike[str], ...]
    output: Path
    inference: InferenceOptions
    execution: ExecutionOptions
    layout: str
    columns: Columns
    progress: Callable[[int, int], None] | None
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def is_kaggle(self) -> bool:
        """Whether the table has the columns of Kaggle's challenge."""
        return self.layout == "kaggle"

    @property
    def is_one_table(self) -> bool:
        """Whether the parts are joined into one table at the end."""
        return bool(self.output.suffix)

    @property
    def folder(self) -> Path:
        """The folder of the parts."""
        return run_folder(self.output)

    @property
    def embedder(self) -> Embedder | None:
        """Whose embeddings are a column; None: there is none."""
        return self.model.embedder(self.inference.n_views) if self.inference.embeddings else None

    def beside(self, ending: str) -> Path:
        """A hidden file beside the folder of the parts, such as a lock."""
        return self.folder.with_name(f".{self.folder.name}.{ending}")

    def check(self) -> None:
        """Refuse, before any work begins, what cannot be predicted or written; raises what `predict_files` does."""
        if self.layout not in LAYOUTS:
            raise PredictError(f"layout {self.layout!r} is none of {', '.join(LAYOUTS)}")
        if self.execution.shard and self.is_one_table:
            raise PredictError("shards write one folder of parts: name an output without extension")
        check_optional_columns(self.model, self.output, self.inference, is_kaggle=self.is_kaggle)
        _ = self.embedder
        if self.is_one_table:
            check_format(self.output)
        else:
            check_writable(self.output / ".probe" if self.output.is_dir() else self.output)
        check_output(self.output, self.inputs, overwrite=True, is_folder=not self.is_one_table)

    def identity(self) -> dict[str, Any]:
        """What decides the rows beside the input, as the manifest stores it."""
        model, inference = self.model, self.inference
        identity: dict[str, Any] = {
            "model": model.bundle.name,
            "model_sha256": model.bundle.sha256,
            "values_kind": model.tree.values_kind,
            "values_kind_source": model.tree.values_kind_source,
            "views": inference.n_views or model.n_views,
            "precision": model.running["precision"],
            "layout": "words and embeddings" if inference.embeddings else self.layout,
        }
        if inference.draws:
            identity["draws"] = inference.draws
        if inference.structure:
            identity["structure"] = version_of_statmorph()
        if framing := model.framing.to_dict():
            identity["framing"] = framing
        if self.columns.carried:
            identity["carried"] = [column.name for _, column in self.columns.carried]
        return identity

    def items(self) -> Iterable[InputItem]:
        """List the input; what is left out is counted anew."""
        self.left_out.clear()
        items = find_items(self.inputs, self.columns, self.left_out)
        if self.is_kaggle:
            return distinct_ids(items, lambda: find_items(self.inputs, self.columns))
        return count_repeated_ids(items)

    def table_layout(self, has_positions: bool) -> TableLayout:
        """The columns of the table."""
        return TableLayout(
            self.is_kaggle,
            has_positions and not self.is_kaggle,
            self.embedder,
            () if self.is_kaggle else tuple(column for _, column in self.columns.carried),
            temporary=self.is_one_table,
            draws=self.inference.draws,
            structure=self.inference.structure,
        )

    def predict(
        self, groups: Iterator[list[Chunk]], has_positions: bool, done: int, total: int
    ) -> Iterator[ChunkResult]:
        """Predict groups of chunks with the engine that was chosen.

        Parameters
        ----------
        done, total : int
            Rows that an interrupted run has already, and all of them, for the progress.
        """
        layout, count = self.table_layout(has_positions), RowProgress(self.progress, done, total)
        execution, rows = self.execution, total - done
        batch = self.inference.batch_size or chosen_batch_size(
            self.model, self.inference.n_views, execution.threads or 1, rows
        )
        inference = replace(self.inference, batch_size=batch)
        if execution.engine == "ray":
            from .ray import engine as ray

            return ray.predict_chunks(self.model, groups, layout, inference, execution, on_rows=count)
        workers = execution.workers or local.worker_count(rows, structure=inference.structure)
        is_remote = any(is_url(str(path)) for path in self.inputs)
        return local.predict_chunks(
            self.model,
            groups,
            layout,
            inference,
            replace(execution, workers=workers),
            readers=REMOTE_THREADS if is_remote else available_cores() if workers == 1 else 1,
            on_rows=count,
            spool=None if execution.retry_failed else self.folder,
        )


def chosen_batch_size(model: Model, views: int | None, threads: int, rows: int) -> int:
    """The batch size that is fast on this machine, measured for runs that are worth the seconds that it takes."""
    if rows < MIN_ROWS_TO_TUNE or model.batch_size != BATCH:
        # What a GPU takes at a time is large, and says nothing in a process of its own beside this one.
        return model.batch_size
    try:
        return tune_batch_size(model, n_views=views, threads=threads).batch
    except (WorkerCrash, WorkerError):
        # It is slower, perhaps, and no reason not to predict.
        return BATCH
