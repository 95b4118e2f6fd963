"""What all commands share: the app, exit codes, how errors and progress are shown."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from .. import __version__
from .._utils.errors import TuningforkError
from .._utils.text import escape_controls

if TYPE_CHECKING:
    from ..tables import RowError

__all__ = [
    "app",
    "cache_folder",
    "counted",
    "echo",
    "failed",
    "libraries",
    "main",
    "must_exist",
    "print_json",
    "progress_bar",
    "report_rows",
    "rest",
    "row_error",
    "say",
    "screen",
    "standard_input",
    "trouble",
    "writing",
]

#: Exit codes; 2, wrong usage, is Typer's own.
FAILED, SOME_ROWS_FAILED, INTERRUPTED = 1, 3, 130
#: Row errors that are printed one by one; the rest is counted.
SHOWN_ERRORS = 20

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Predict the morphology of galaxies from images.\n\n"
    "Exit codes: 0 all well, 1 failed, 2 wrong usage, 3 done but some rows failed.",
)


OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
TreeOption = Annotated[
    str, typer.Option("--tree", help="Decision tree: gz2, gz_decals, gz1, a TOML file, or a model's folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for another program.")]
ImagesOption = Annotated[list[Path], typer.Option("--images", help="Folder of images named by ID; may be repeated.")]
LabelsOption = Annotated[Path, typer.Option("--labels", help="Table of votes: CSV, Parquet, FITS, VOTable or ECSV.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of the image cache, shared by all trainings.")]
NoCacheOption = Annotated[bool, typer.Option("--no-cache", help="Read the images each time.")]
WorkersOption = Annotated[int, typer.Option(min=0, help="Processes that read images.")]
ModelOfTableOption = Annotated[
    str | None,
    typer.Option(
        "--model", help="Name or folder of the model that predicted, for what it was trained on [default: as named]."
    ),
]
IncludeTrainingOption = Annotated[
    bool,
    typer.Option("--include-training", help="Keep galaxies that the model was trained, validated or calibrated on."),
]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads of the network; 0: all cores.")]
LabelsArgument = Annotated[Path, typer.Argument(help="Table of votes: CSV, Parquet, FITS, VOTable or ECSV.")]


def main() -> None:
    """Entry point of the `tuningfork` command."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows only ASCII shows × as \\xd7 rather than nothing at all.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _show_log()
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
            signal.signal(getattr(signal, name), _terminate)
    try:
        app()
    except SystemExit:
        # Outside of `trouble` Typer takes it for an interrupt at a prompt.
        if _signals:
            raise SystemExit(128 + _signals[0]) from None
        raise


#: The signals that have come, if any.
_signals: list[int] = []


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM or SIGHUP; temporary files and children go as at an interrupt."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def _terminate(number: int, frame: object) -> None:
    _signals.append(number)
    raise Terminated(number)


class _Stderr(logging.Handler):
    """Log records as plain lines on whatever stderr is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        echo(record.getMessage(), err=True)


def _show_log() -> None:
    """Show what the package logs, once: progress and warnings as lines on stderr."""
    logger = logging.getLogger("tuningfork")
    if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
        logger.addHandler(_Stderr())
        logger.setLevel(logging.INFO)


def _version(value: bool) -> None:
    if value:
        echo(f"tuningfork {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    _show_log()


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
            raise failed(f"{where}no space left on the disk; make room{again}") from None
        raise failed(f"{where}{error.strerror or error}") from None
    except (ValueError, TuningforkError) as error:  # with a message for people
        raise failed(str(error)) from None


def failed(message: str) -> typer.Exit:
    """Print an error message; raise what this returns."""
    echo(f"error: {message}", err=True)
    return typer.Exit(FAILED)


@contextmanager
def libraries(what: str, extra: str) -> Iterator[None]:
    """Wrap imports: if one fails, report which extra `what` needs."""
    try:
        yield
    except ImportError as error:
        raise failed(f"{what} needs more libraries ({error.name}): pip install 'tuningfork[{extra}]'") from None


def echo(message: object, *, err: bool = False, lines: bool = False) -> None:
    """Print a line, with control characters escaped: names of files and answers of services are strangers' texts.

    Parameters
    ----------
    err : bool
        To stderr instead of stdout.
    lines : bool
        Whether the message has line breaks and tabs of its own.
    """
    stream = sys.stderr if err else sys.stdout
    print(escape_controls(str(message), "\n\t" if lines else "").rstrip("\n"), file=stream, flush=True)


def say(line: str) -> None:
    """Print a line about the progress of the work, to stderr."""
    echo(line, err=True)


def cache_folder(cache: Path | None, no_cache: bool) -> Path | None:
    """Return the folder of the image cache: the one named, else the user's; None: no cache."""
    from ..training.image_cache import default_folder

    return None if no_cache else cache or default_folder()


def must_exist(paths: Sequence[str | Path]) -> None:
    """Wrong usage (exit code 2) if a path is not there; addresses are not asked."""
    for path in paths:
        if "://" not in str(path) and not Path(path).exists():
            raise typer.BadParameter(f"{path}: no such file or folder")


def row_error(path: str, reason: str) -> RowError:
    """A file that failed, for `report_rows`."""
    from ..tables import RowError

    return RowError(path, 0, "", "", reason)


def report_rows(errors: Sequence[RowError], total: int | None = None) -> None:
    """Print the rows that failed, and leave with exit code 3 if there are any."""
    if not errors:
        return
    for error in errors[:SHOWN_ERRORS]:
        echo(f"failed: {error}", err=True)
    rest(len(errors) if total is None else total, err=True)
    raise typer.Exit(SOME_ROWS_FAILED)


def rest(total: int, *, err: bool = False) -> None:
    """Print how many lines were not shown."""
    if total > SHOWN_ERRORS:
        echo(f"  … and {total - SHOWN_ERRORS} more", err=err)


@contextmanager
def writing(
    output: Path | None,
    inputs: Iterable[str | Path | None] = (),
    overwrite: bool = False,
    *,
    folder: bool = False,
    resumable: bool = False,
    suffix: str = ".csv",
) -> Iterator[Any]:
    """The output guard of all commands: what would harm a file is refused before anything is read.

    Parameters
    ----------
    output : path or None
        The file or folder to write; ``-``: standard output; None: nothing.
    inputs : iterable
        What the command reads; None, names of models and URLs among them are no files.
    folder : bool
        Whether the output is a folder of this command's own, which is new or empty.
    resumable : bool
        Whether it is a folder in which the command goes on by itself, and refuses another's.
    suffix : str
        The extension by which standard output is written.

    Yields
    ------
    path or None
        Where to write.

    Raises
    ------
    OutputError
        If the output is an input, exists, or is being written by another run.
    """
    if output is None:
        yield None
        return
    if str(output) == "-":
        if folder or resumable:
            raise typer.BadParameter("a folder cannot be written to standard output", param_hint="--output")
        with tempfile.TemporaryDirectory(prefix="tuningfork-") as place:
            file = Path(place) / f"output{suffix}"
            try:
                with redirect_stdout(sys.stderr):
                    yield file
            finally:
                if file.exists():
                    sys.stdout.flush()
                    with open(file, "rb") as content:
                        shutil.copyfileobj(content, sys.stdout.buffer)
                    sys.stdout.buffer.flush()
        return
    from .._utils.files import OutputError, reserved_output

    files = [path for path in inputs if path is not None]
    if output.is_file() and any(Path(path).is_dir() and _is_image_of(output, Path(path)) for path in files):
        raise OutputError(f"{output}: is an image of a folder that this command reads; name another output")
    # Of the processes that one training starts only the first reserves its folder.
    if "LOCAL_RANK" in os.environ:
        yield output
        return
    with reserved_output(output, files, overwrite=overwrite or resumable, is_folder=folder or resumable):
        yield output


def _is_image_of(file: Path, folder: Path) -> bool:
    from ..tables.identifiers import EXTENSIONS

    return file.suffix.lower() in EXTENSIONS and file.resolve().is_relative_to(folder.resolve())


@contextmanager
def standard_input(paths: list[str]) -> Iterator[list[str]]:
    """The paths with ``-`` replaced by a file of what standard input holds."""
    if "-" not in paths:
        yield paths
        return
    with tempfile.TemporaryDirectory(prefix="tuningfork-") as place:
        file = Path(place) / "stdin"
        with open(file, "wb") as content:
            shutil.copyfileobj(sys.stdin.buffer, content)
        yield [str(file) if path == "-" else path for path in paths]


def print_json(value: Any, indent: int | None = 1) -> None:
    """JSON on stdout; a number that JSON does not have is our mistake and raises."""
    echo(json.dumps(value, indent=indent, allow_nan=False), lines=True)


def screen() -> Console:
    """Where tables are printed."""
    # A pipe has no width of its own; rich would fold tables at 80 columns.
    console = _SafeConsole(markup=False, emoji=False)
    return console if console.is_terminal else _SafeConsole(width=120, markup=False, emoji=False)


class _SafeConsole(Console):
    """Cells of tables are strangers' texts: no markup, and control characters are escaped."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escape_controls(text, "\n\t"), **options)


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many}"


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on stderr, from the first call to that which says all is done; None where stderr is no terminal.

    What is told after all was done begins another pass, with a bar of its own.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console)
    task = bar.add_task(what, total=None)

    def show(done: int, total: int) -> None:
        if done < total and not bar.live.is_started:
            bar.reset(task)
            bar.start()
        bar.update(task, completed=done, total=total)
        if done >= total:
            # At rest, so that what comes next may print lines of its own and start processes.
            bar.stop()

    try:
        yield show
    finally:
        bar.stop()
