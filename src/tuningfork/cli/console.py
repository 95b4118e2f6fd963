"""What commands print: lines with control characters escaped, JSON, and tables on the terminal."""

from __future__ import annotations

import enum
import json
import os
import sys
from typing import IO, Any

from .._utils.text import escape_controls

__all__ = ["Verbosity", "echo", "has_colours", "print_detail", "print_json", "print_note", "print_result", "verbosity"]


class Verbosity(enum.IntEnum):
    """How much is printed beside results and errors."""

    quiet = -1
    normal = 0
    verbose = 1


_verbosity = Verbosity.normal


def verbosity(level: Verbosity | None = None) -> Verbosity:
    """How much the running command prints; set to `level` if that is not None."""
    global _verbosity
    if level is not None:
        _verbosity = level
    return _verbosity


def has_colours(stream: IO[str]) -> bool:
    """Whether colours may be printed to a stream: terminals, unless ``NO_COLOR`` is set; all with ``FORCE_COLOR``."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def echo(message: object, *, err: bool = False, lines: bool = False, colours: bool = False) -> None:
    """Print a line, with control characters escaped: names of files and answers of services are strangers' texts.

    Parameters
    ----------
    err : bool
        To stderr instead of stdout.
    lines : bool
        Whether the message has line breaks and tabs of its own.
    colours : bool
        Whether it has ANSI colours of its own; strangers' texts in it are escaped already.
    """
    stream = sys.stderr if err else sys.stdout
    print(
        escape_controls(str(message), ("\n\t" if lines else "") + ("\x1b" if colours else "")).rstrip("\n"),
        file=stream,
        flush=True,
    )


def print_note(line: str) -> None:
    """Print a line about the progress of the work to stderr, unless --quiet."""
    if verbosity() > Verbosity.quiet:
        echo(line, err=True)


def print_detail(line: str) -> None:
    """Print a line about how the work is done to stderr, with --verbose only."""
    if verbosity() is Verbosity.verbose:
        echo(line, err=True)


def print_result(line: str) -> None:
    """Print what a command has written, unless --quiet."""
    if verbosity() > Verbosity.quiet:
        echo(line)


def print_json(value: Any, indent: int | None = 1) -> None:
    """JSON on stdout; a number that JSON does not have is our mistake and raises."""
    echo(json.dumps(value, indent=indent, allow_nan=False), lines=True)
