"""Our own end to end: files to a Parquet table with `predict_files`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..model.model import load
from ..model.options import InferenceOptions
from ..pipeline.predict import predict_files

__all__ = ["predict_folder"]


def predict_folder(model: str, folder: str, output: str, views: int | None, precision: str) -> dict[str, Any]:
    """Predict all pictures of `folder` into `output`, as ``tuningfork predict`` does.

    Returns
    -------
    dict
        `rows`; `first`, the rows of the first report of progress, and `first_at`, when it came;
        `ended_at`, when the table was whole; `failed`, rows without a prediction. Times are
        ``time.perf_counter()``'s.
    """
    first: list[tuple[int, float]] = []

    def note(done: int, total: int) -> None:
        if not first and done:
            first.append((done, time.perf_counter()))

    summary = predict_files(
        load(model, precision=precision), [Path(folder)], output, InferenceOptions(views), progress=note
    )
    ended = time.perf_counter()
    rows, at = first[0] if first else (summary.rows, ended)
    return {"rows": summary.rows, "first": rows, "first_at": at, "ended_at": ended, "failed": summary.failed}
