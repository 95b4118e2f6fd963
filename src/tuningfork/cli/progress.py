"""Progress of commands, unless --quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .._utils import progress
from .console import Verbosity, verbosity

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(what: str, unit: str = "galaxies") -> Iterator[Callable[[int, int], None] | None]:
    """Progress on stderr, see `_utils.progress.progress_bar`; None with --quiet."""
    if verbosity() is Verbosity.quiet:
        yield None
        return
    with progress.progress_bar(what, unit) as show:
        yield show
