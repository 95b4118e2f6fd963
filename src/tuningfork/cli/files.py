"""Files of commands: the output guard, standard input and output, and the cache of images."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import typer

__all__ = ["cache_folder", "standard_input", "writing"]


def cache_folder(cache: Path | None, no_cache: bool) -> Path | None:
    """Return the folder of the image cache: the one named, else the user's; None: no cache."""
    from ..training.image_cache import default_folder

    return None if no_cache else cache or default_folder()


@contextmanager
def writing(
    output: Path | None,
    inputs: Iterable[str | Path | None] = (),
    overwrite: bool = False,
    *,
    folder: bool = False,
    resumable: bool = False,
    own: Sequence[str] = (),
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
    own : sequence of str
        Of a resumable folder, patterns of files that only this command writes: a folder that is not empty must hold one
        of them. Empty: the command itself judges the folder.
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
        import shutil
        import tempfile

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
        if own and output.is_dir():
            _check_own(output, own)
        yield output


def _check_own(folder: Path, own: Sequence[str]) -> None:
    from .._utils.files import OutputError

    others = any(not entry.name.startswith(".") for entry in folder.iterdir())
    if others and not any(any(folder.glob(pattern)) for pattern in own):
        raise OutputError(f"{folder}: holds other files than this command's; name a new or empty folder")


def _is_image_of(file: Path, folder: Path) -> bool:
    from ..tables.identifiers import EXTENSIONS

    return file.suffix.lower() in EXTENSIONS and file.resolve().is_relative_to(folder.resolve())


@contextmanager
def standard_input(paths: list[str]) -> Iterator[list[str]]:
    """The paths with ``-`` replaced by a file of what standard input holds."""
    if "-" not in paths:
        yield paths
        return
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tuningfork-") as place:
        file = Path(place) / "stdin"
        with open(file, "wb") as content:
            shutil.copyfileobj(sys.stdin.buffer, content)
        yield [str(file) if path == "-" else path for path in paths]
