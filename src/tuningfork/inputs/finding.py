"""What a user names → entries, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .entry import Entry
from .folder import file_entry, folder_entries

__all__ = ["Columns", "find_entries"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a catalogue to take; None: by their usual names.

    Parameters
    ----------
    id : identifier of the galaxy
    path : file or address of its picture, relative ones from the catalogue's folder
    bytes : the picture file's bytes themselves
    right_ascension, declination : degrees (ICRS)
    """

    id: str | None = None
    path: str | None = None
    bytes: str | None = None
    right_ascension: str | None = None
    declination: str | None = None


def find_entries(given: Iterable[str | Path], columns: Columns = Columns()) -> Iterator[Entry]:
    """The pictures named: files and folders.

    Raises
    ------
    FileNotFoundError
        If a named path does not exist.
    InputError
        If an input cannot be used as a whole.
    """
    for name in given:
        path = Path(name)
        if path.is_dir():
            yield from folder_entries(path)
        elif path.exists():
            yield file_entry(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
