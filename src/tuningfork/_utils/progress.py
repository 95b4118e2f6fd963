"""Progress of long work on stderr: a bar with the rate and the time left on a terminal, a line a minute in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["ProgressLog", "duration", "progress_bar", "progress_of"]

#: Seconds between two lines of a log.
INTERVAL = 60.0


def duration(seconds: float) -> str:
    """A time in words, such as ``2 h 05 min``, ``1 min 43 s`` or ``12 s``."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"


class ProgressLog:
    """Progress as lines, one a minute at most: for stderr that is a file.

    Parameters
    ----------
    what, unit : str
        What is done, and to what: ``predicting``, ``galaxies``.
    clock : function
        Gives seconds.
    """

    def __init__(self, what: str, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._unit, self._clock = what, unit, clock
        self._start: tuple[float, int] | None = None
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Print a line if a minute has passed since the last one."""
        now = self._clock()
        if self._start is None or done < self._start[1]:
            self._start, self._last = (now, done), now
        began, first = self._start
        if now - self._last < INTERVAL or done >= total:
            return
        self._last = now
        rate = (done - first) / (now - began)
        left = f", {duration((total - done) / rate)} left" if rate else ""
        share = f"{100 * done / total:.0f} %"
        counted = f"{done:,} of {total:,} {self._unit} ({share}), {rate:,.3g} {self._unit}/s"
        print(f"{self._what}: {counted}{left}", file=sys.stderr, flush=True)


@contextmanager
def progress_bar(what: str, unit: str = "galaxies") -> Iterator[Callable[[int, int], None]]:
    """Progress on stderr, from the first call to that which says all is done.

    A call after all was done begins another pass, with a bar of its own. Where stderr is no terminal, it is a line a
    minute.

    Parameters
    ----------
    what, unit : str
        What is done, and to what: ``predicting``, ``galaxies``.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield ProgressLog(what, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Galaxies per second over the last half minute."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.3g} {unit}/s" if speed < 1000 else f"{speed:,.0f} {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    bar = Progress(*columns, console=Console(stderr=True), expand=True)
    task = bar.add_task(what, total=1)

    def show(done: int, total: int) -> None:
        if done < total and not bar.live.is_started:
            bar.reset(task, total=total, completed=done)
            bar.start()
        bar.update(task, completed=done, total=total)
        if done >= total:
            # At rest, so that what comes next may print lines of its own and start processes.
            bar.stop()

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def progress_of(
    progress: bool | Callable[[int, int], None] | None, what: str = "predicting", unit: str = "galaxies"
) -> Iterator[Callable[[int, int], None] | None]:
    """What the parameter `progress` of a public function asks for.

    Parameters
    ----------
    progress : bool, callable or None
        A function of what is done and of all; True: `progress_bar`; None, False: nothing.
    what, unit : str
        As in `progress_bar`.
    """
    if progress is True:
        with progress_bar(what, unit) as report:
            yield report
    else:
        yield progress or None
