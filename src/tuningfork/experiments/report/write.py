"""`tuningfork report`: a run or a study on one self-contained page, and all its numbers beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._utils.files import check_writable, write_text
from ...display.html import Markup, whole_page
from ..runs import RecordError, read_study
from . import gallery, sections
from .map_section import mapped
from .network_section import inside
from .numbers import gather

__all__ = ["METRICS", "Report", "write_report"]

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


def write_report(
    folder: str | Path,
    output: str | Path,
    *,
    part: str = "test",
    resamples: int = 1000,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Read a run or study folder, score it, draw it, and write `output` and metrics.json beside it.

    Raises
    ------
    RecordError
        If there is no whole run, or none has galaxies of the part.
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
        raise RecordError(f"{folder}: no run has galaxies of the {part} part; try --part {_other(part)}")
    numbers = gather(study, part, resamples=resamples, say=say)
    say("drawing")
    shown = [
        sections.data(numbers, study.tree),
        sections.networks(numbers, "votes"),
        sections.networks(numbers, "classes"),
        sections.errata_table(numbers),
        gallery.examples(numbers, study),
        gallery.learning_curves(numbers, study),
        gallery.fractions(numbers, study),
        gallery.questions(numbers),
        gallery.confusions(numbers, study),
        sections.per_class(numbers, study.tree),
        gallery.ensembles(numbers),
    ]
    say("looking into a network")
    look, seen = inside(numbers, study)
    numbers["look"] = seen
    say("mapping the galaxies")
    drawn, numbers["map"] = mapped(study)
    shown += [look, drawn, gallery.mosaics(numbers, study), gallery.tree(numbers, study), sections.runs_list(numbers)]
    name = study.folder.resolve().name
    page = whole_page(f"Galaxy morphologies: {name}", sections.about(numbers), shown)
    numbers = _plain(numbers)
    write_text(metrics, json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    write_text(output, page)
    return Report(output, metrics, numbers, tuple((each.name, each.reason) for each in study.broken))


def _other(part: str) -> str:
    return next(each for each in _PARTS if each != part)


def _plain(value: Any) -> Any:
    """As JSON has it: what is not finite is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Markup) else value
