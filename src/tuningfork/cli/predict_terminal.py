"""Predictions printed: one galaxy as a tree, many as a table, or JSON for another program; and how a run ended."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .._utils.progress import duration
from .._utils.text import counted
from .console import Verbosity, echo, print_json, print_note, print_result, verbosity
from .errors import print_rows, report_rows, row_error
from .terminal import Counts, GalaxyTable, Style, galaxy_tree, terminal_width

if TYPE_CHECKING:
    from ..inputs import Columns
    from ..model.model import Model
    from ..model.options import InferenceOptions
    from ..model.predictions import Predictions
    from ..pipeline.summary import RunSummary
    from ..tables import RowError

__all__ = ["predict_to_terminal", "print_galaxies", "print_left_out", "print_summary"]


def predict_to_terminal(
    model: Model,
    paths: Sequence[str],
    columns: Columns,
    inference: InferenceOptions,
    as_json: bool,
    json_array: bool,
    began: float,
) -> None:
    """Predict and print; the rows that failed are reported at the end, with exit code 3.

    Parameters
    ----------
    began : float
        When the command began, by `time.monotonic`.
    """
    from ..pipeline.in_process import predict_inputs
    from ..tables import MAX_REPORTED

    errors: list[RowError] = []
    warnings: list[RowError] = []
    left_out: Counter[str] = Counter()
    counts = Counts()

    def predicted() -> Iterator[Predictions]:
        for part in predict_inputs(model, paths, inference, columns, left_out):
            counts.add(part)
            errors.extend(row_error(part.paths[row], reason) for row, reason in enumerate(part.errors) if reason)
            if len(warnings) < MAX_REPORTED:
                warnings.extend(row_error(part.paths[row], text) for row, text in enumerate(part.warnings) if text)
            yield part

    if as_json or json_array:
        _print_json(predicted(), json_array)
    else:
        print_galaxies(predicted(), Style.of(sys.stdout))
        if counts.galaxies > 1:
            print_note(counts.text(time.monotonic() - began))
            if verbosity() > Verbosity.quiet:
                # The table has no room for them; the tree of a single galaxy has.
                print_rows("warning", warnings, counts.warnings)
    print_left_out(left_out)
    report_rows(errors)


def _print_json(parts: Iterator[Predictions], json_array: bool) -> None:
    before = "[\n" if json_array else ""
    for part in parts:
        for values in part.to_table().to_pylist():
            if json_array:
                # Printed as they come: an array of a million galaxies is never held whole.
                sys.stdout.write(before)
                before = ","
            print_json(values, indent=None)
    if json_array:
        sys.stdout.write("]\n" if before == "," else "[]\n")
        sys.stdout.flush()


def print_galaxies(parts: Iterator[Predictions], style: Style) -> None:
    """Print one galaxy as a tree, several as a table."""
    width = terminal_width()
    table = GalaxyTable(width, style)
    first = next(parts, None)
    if first is None:
        return
    second = next(parts, None)
    if second is None and len(first) == 1:
        if not first.errors[0]:
            for line in galaxy_tree(first[0], width, style):
                echo(line, lines=True, colours=True)
        return
    for part in (first, *([] if second is None else [second])):
        _print_rows(table, part)
    for part in parts:
        _print_rows(table, part)


def _print_rows(table: GalaxyTable, part: Predictions) -> None:
    for line in table.lines(part):
        echo(line, colours=True)


def print_summary(summary: RunSummary, output: Path, seconds: float, as_json: bool, is_retried: bool) -> None:
    """Print how a prediction into a table ended, in words or as JSON."""
    if as_json:
        counts = {"rows": summary.rows, "failed": summary.failed, "out_of_domain": summary.out_of_domain}
        if summary.not_measured is not None:
            counts["not_measured"] = summary.not_measured
        left_out = {"warnings": summary.warnings, "left_out": dict(summary.left_out)}
        print_json({"output": str(output), **counts, **left_out, "complete": summary.complete})
    else:
        before = "as they were" if is_retried else "predicted before"
        again = f" ({summary.resumed} of them {before})" if summary.resumed else ""
        flagged = "" if summary.out_of_domain is None else f", {summary.out_of_domain} out of domain"
        rest = "" if summary.complete else "; other shards have not ended yet"
        galaxies = counted(summary.rows, "galaxy", "galaxies")
        warned = f", {summary.warnings} with a warning (column `warning`)" if summary.warnings else ""
        unmeasured = f", {summary.not_measured} not measured (column `structure_error`)" if summary.not_measured else ""
        done = summary.rows - summary.resumed
        rate = f" ({done / seconds:,.{0 if done >= 10 * seconds else 1}f}/s)" if done else ""
        time_ = f" in {duration(seconds)}{rate}"
        print_result(f"{output}: {galaxies}{again}{time_}, {summary.failed} failed{flagged}{warned}{unmeasured}{rest}")
        if by_class := ", ".join(f"{count:,} {name}" for name, count in summary.classes.items()):
            print_result(f"classes: {by_class}")
    print_left_out(summary.left_out)


def print_left_out(left_out: Mapping[str, int]) -> None:
    """Print what the inputs hold beside images."""
    from ..pipeline.summary import left_out_text

    if left_out:
        print_note(f"left out: {left_out_text(left_out)}")
