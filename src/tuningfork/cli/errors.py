"""How commands fail: one clear line, an exit code, and the rows that could not be done."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .._utils.errors import TuningforkError
from .._utils.extras import install_hint
from .._utils.urls import is_url
from .console import echo

if TYPE_CHECKING:
    from ..tables import RowError

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "SOME_ROWS_FAILED",
    "Terminated",
    "failure",
    "libraries",
    "must_exist",
    "print_rows",
    "report_rows",
    "print_rest",
    "row_error",
    "trouble",
]

#: Exit codes; 2, wrong usage, is Typer's own.
FAILED, SOME_ROWS_FAILED, INTERRUPTED = 1, 3, 130
#: Row errors that are printed one by one; the rest is counted.
SHOWN_ERRORS = 20
#: Of rows with the same reason.
SAME_REASON = 3


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM or SIGHUP; temporary files and children go as at an interrupt."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@contextmanager
def trouble(again: str = "") -> Iterator[None]:
    """Turn what can go wrong into one clear line and an exit code; `again` says how to go on after it."""
    again = f"; {again}" if again else ""
    try:
        yield
    except typer.Exit:
        raise
    except Terminated as signal_:
        echo(f"terminated{again}", err=True)
        raise typer.Exit(signal_.exit_code) from None
    except KeyboardInterrupt:
        echo(f"interrupted{again}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno == errno.ENOSPC:
            raise failure(f"{where}no space left on the disk; make room{again}") from None
        raise failure(f"{where}{error.strerror or error}") from None
    except (ValueError, TuningforkError) as error:  # with a message for people
        raise failure(str(error)) from None


def failure(message: str) -> typer.Exit:
    """Print an error message; raise what this returns."""
    echo(f"error: {message}", err=True)
    return typer.Exit(FAILED)


@contextmanager
def libraries(what: str, extra: str) -> Iterator[None]:
    """Wrap imports: if one fails, report which extra `what` needs."""
    try:
        yield
    except ImportError as error:
        raise failure(f"{what} needs more libraries ({error.name}): {install_hint(extra)}") from None


def must_exist(paths: Sequence[str | Path]) -> None:
    """Wrong usage (exit code 2) if a path is not there; addresses are not asked."""
    for path in paths:
        if not is_url(str(path)) and not Path(path).exists():
            raise typer.BadParameter(f"{path}: no such file or folder")


def row_error(path: str, reason: str) -> RowError:
    """A file that failed, for `report_rows`."""
    from ..tables import RowError

    return RowError(path, 0, "", "", reason)


def report_rows(errors: Sequence[RowError], total: int | None = None) -> None:
    """Print the rows that failed, and leave with exit code 3 if there are any."""
    if not errors:
        return
    print_rows("failed", errors, len(errors) if total is None else total)
    raise typer.Exit(SOME_ROWS_FAILED)


def print_rows(what: str, rows: Sequence[RowError], total: int) -> None:
    """Print rows and what is the matter with them to stderr; of many for one reason the first ones, and how many."""
    alike: dict[str, list[RowError]] = {}
    for row in rows:
        alike.setdefault(row.reason, []).append(row)
    lines = SHOWN_ERRORS
    for group in alike.values():
        # One more line would be no shorter than the row itself.
        shown = len(group) if len(group) <= SAME_REASON + 1 else SAME_REASON
        if lines < shown:
            break
        for row in group[:shown]:
            echo(f"{what}: {row}", err=True)
        if shown < len(group):
            echo(f"  … and {len(group) - shown} more for this reason", err=True)
        lines -= shown
        total -= len(group)
    if total:
        echo(f"  … and {total} more", err=True)


def print_rest(total: int) -> None:
    """Print how many lines were not shown."""
    if total > SHOWN_ERRORS:
        echo(f"  … and {total - SHOWN_ERRORS} more")
