"""`tuningfork report`: a run or a study on one self-contained page, and all its numbers beside it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._utils.files import check_writable, write_text
from ..runs import RecordError, read_study
from .galaxy_map import map_galaxies
from .network import look_inside
from .numbers import gather
from .page import report_page

__all__ = ["METRICS", "Report", "write_report"]

logger = logging.getLogger(__name__)

#: The file of numbers beside the page.
METRICS = "metrics.json"
_PARTS = ("test", "validation")


@dataclass(frozen=True)
class Report:
    """What was written: the page, its numbers, and the runs that could not be used, as (name, reason)."""

    page: Path
    metrics: Path
    numbers: Mapping[str, Any]
    broken: tuple[tuple[str, str], ...]


def write_report(folder: str | Path, output: str | Path, *, part: str = "test", resamples: int = 1000) -> Report:
    """Read the folder of a run or a study, score it, and write `output`, with metrics.json beside it.

    Parameters
    ----------
    folder : path
        As `tuningfork train` or `tuningfork study paper` wrote it.
    output : path
        The page.
    part : "test" or "validation"
        The subset of galaxies to judge.
    resamples : int
        Bootstrap resamples of the intervals.

    Raises
    ------
    RecordError
        If there is no complete run, or none has galaxies of the part.
    OSError
        If a file cannot be written; checked before the work.
    """
    output = Path(output)
    metrics = output.with_name(METRICS)
    if part not in _PARTS:
        raise RecordError(f"part {part!r} is none of {', '.join(_PARTS)}")
    if output.name == METRICS:
        raise RecordError(f"{output}: the numbers are written there; name the page report.html")
    for path in (output, metrics):
        check_writable(path)
    study = read_study(folder)
    if not any(len(run.rows(part)) for run in study.everything):
        other = next(each for each in _PARTS if each != part)
        raise RecordError(f"{folder}: no run has galaxies of the {part} part; try --part {other}")
    numbers = gather(study, part, resamples=resamples)
    logger.info("drawing feature maps and Grad-CAM")
    network, numbers["look"] = look_inside(numbers, study)
    logger.info("mapping the galaxies")
    galaxy_map, numbers["map"] = map_galaxies(study)
    logger.info("drawing figures")
    page = report_page(numbers, study, network, galaxy_map)
    numbers = _finite(numbers)
    write_text(metrics, json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    write_text(output, page)
    return Report(output, metrics, numbers, tuple((each.name, each.reason) for each in study.broken))


def _finite(value: Any) -> Any:
    """The value as JSON has it: what is not finite is null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
