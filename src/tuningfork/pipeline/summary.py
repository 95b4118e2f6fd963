"""Summary and progress of a prediction run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..tables import RowError, has_format
from .options import PredictError

__all__ = ["RowProgress", "RunSummary", "left_out_text", "no_image_error"]


@dataclass(frozen=True)
class RunSummary:
    """How a prediction ended: rows in the table, how many of them failed, the first of these by name.

    `out_of_domain` rows were flagged; None if the model cannot tell. Of a shard, only its own rows count;
    `complete` says whether the others are there too. `left_out` counts what the inputs hold beside images, by kind:
    hidden files, links to folders, other extensions. `warnings` rows have a text in the column `warning`.
    `classes` counts the most probable classes by name, the most frequent first. `not_measured` rows have no structural
    parameters, with the reason in the column `structure_error`; None if none were to be measured.
    """

    output: Path
    rows: int
    failed: int
    resumed: int
    errors: tuple[RowError, ...]
    out_of_domain: int | None
    complete: bool = True
    left_out: Mapping[str, int] = field(default_factory=dict)
    warnings: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    not_measured: int | None = None


def left_out_text(left_out: Mapping[str, int]) -> str:
    """What inputs hold beside images, in words: ``hidden 2, linked folders 1, .txt 3``."""
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(left_out.items()))


def no_image_error(paths: Iterable[str | os.PathLike[str]], left_out: Mapping[str, int]) -> PredictError:
    """The error of inputs that hold no image; what else they hold is counted in it."""
    others = f"; left out: {left_out_text(left_out)}" if left_out else ""
    names = [str(path) for path in paths]
    where = ", ".join(names)
    if names and all(map(has_format, names)):
        return PredictError(f"{where}: no rows below the columns' names")
    return PredictError(f"no image in {where} (JPEG, PNG, WebP, TIFF, FITS or .npy); is it the right folder?{others}")


class RowProgress:
    """Counts predicted rows; reports never run backwards, though a crashed worker's rows are predicted again."""

    def __init__(self, progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
        self._progress, self._done, self._total, self._reported = progress, done, total, -1
        self(0)

    def __call__(self, rows: int) -> None:
        self._done += rows
        if self._progress and self._done > self._reported:
            self._reported = self._done
            self._progress(self._done, self._total)
