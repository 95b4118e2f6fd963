"""The folder of pictures that is labelled: which galaxies it holds, and which of them cannot be shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .._utils.text import text
from ..images.find import find_images
from ..images.image import ImageError
from ..images.read import read_image
from ..tables import RowError
from ..tables.identifiers import file_id
from .campaign import Look, Store
from .database import TeachError

__all__ = ["GONE", "check_folder", "left_out", "see_folder", "unreadable"]

GONE = "is no longer in the folder"
_READERS = 4


def check_folder(folder: Path) -> None:
    """Raise TeachError if there is no picture, before a database is made in the wrong place."""
    if next(find_images([folder]), None) is None:
        raise TeachError(f"{folder}: holds no picture; is it the right folder?")


def see_folder(store: Store, folder: Path) -> list[RowError]:
    """Take in the pictures of a folder, and those again that were damaged and are mended.

    Returns
    -------
    list of RowError
        Pictures that are not taken in since their ID, the file's name, came before.

    """
    found: dict[str, str] = {}
    twice = []
    for path in find_images([folder]):
        inside = os.path.relpath(path, folder)
        if file_id(path.name) in found:
            reason = f"its ID came before, as {text(found[file_id(path.name)])}; rename one of them"
            twice.append(RowError(text(str(path)), 0, file_id(path.name), "", reason))
        elif text(inside) != inside:
            twice.append(RowError(text(str(path)), 0, file_id(path.name), "", "its name is no UTF-8; rename it"))
        else:
            found[file_id(path.name)] = inside
    store.see(found.items(), GONE)
    damaged = [look for look in store.galaxies() if look.reason not in ("", GONE)]
    still = unreadable(folder, damaged)
    for look in damaged:
        store.leave_out(look.number, still.get(look.id, ""))
    return twice


def left_out(store: Store, folder: Path) -> list[RowError]:
    """The galaxies that nobody is asked about, by name and with the reason."""
    return [RowError(str(folder / look.path), 0, look.id, "", look.reason) for look in store.galaxies() if look.reason]


def unreadable(
    folder: Path, looks: Iterable[Look], progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    """ID → why its picture cannot be read, for those that cannot; each is decoded once."""
    looks = list(looks)
    reasons = {}
    with ThreadPoolExecutor(_READERS) as pool:
        told = pool.map(_why_not, [folder / look.path for look in looks])
        for done, (look, reason) in enumerate(zip(looks, told, strict=True), 1):
            if reason:
                reasons[look.id] = reason
            if progress:
                progress(done, len(looks))
    return reasons


def _why_not(path: Path) -> str:
    try:
        read_image(path)
    except ImageError as error:
        return str(error)
    return ""
