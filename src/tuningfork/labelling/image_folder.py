"""The folder of images of a campaign: which galaxies it holds, and which of them cannot be shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .._utils.text import text
from ..images.find import find_images
from ..images.image import ImageError, TransientImageError
from ..images.read import read_image
from ..tables import RowError
from ..tables.identifiers import file_id
from .campaign import Campaign
from .database import LabellingError
from .records import CampaignGalaxy

__all__ = ["MISSING", "check_folder", "excluded_galaxies", "unreadable", "update_from_folder"]

MISSING = "is no longer in the folder"
_READERS = 4


def check_folder(folder: Path) -> None:
    """Raise LabellingError if there is no image, before a database is created in the wrong place."""
    if next(find_images([folder]), None) is None:
        raise LabellingError(f"{folder}: holds no image; is it the right folder?")


def update_from_folder(campaign: Campaign, folder: Path) -> list[RowError]:
    """Add the images of a folder to a campaign, and include those again that were damaged and are repaired.

    Returns
    -------
    list of RowError
        Images that are not added, since their ID, the file's name, came before or is no valid text.
    """
    paths: dict[str, str] = {}
    errors = []
    for path in find_images([folder]):
        id_, relative = file_id(path.name), os.path.relpath(path, folder)
        if id_ in paths:
            reason = f"its ID came before, as {text(paths[id_])}; rename one of them"
        elif text(relative) != relative:
            reason = "its name is no UTF-8; rename it"
        else:
            paths[id_] = relative
            continue
        errors.append(RowError(text(str(path)), 0, id_, "", reason))
    campaign.update_galaxies(paths.items(), MISSING)
    damaged = [galaxy for galaxy in campaign.galaxies() if galaxy.reason not in ("", MISSING)]
    still = unreadable(folder, damaged)
    for galaxy in damaged:
        campaign.exclude(galaxy.number, still.get(galaxy.id, ""))
    return errors


def excluded_galaxies(campaign: Campaign, folder: Path) -> list[RowError]:
    """The galaxies that nobody is asked about, by name and with the reason."""
    excluded = [galaxy for galaxy in campaign.galaxies() if galaxy.reason]
    return [RowError(str(folder / galaxy.path), 0, galaxy.id, "", galaxy.reason) for galaxy in excluded]


def unreadable(
    folder: Path, galaxies: Iterable[CampaignGalaxy], progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    """Decode each image once; ID → reason, of those that cannot be read.

    An error of the machine that passes, such as too many open files, says nothing of the image, which is then
    taken for readable.
    """
    galaxies = list(galaxies)
    reasons = {}
    with ThreadPoolExecutor(_READERS) as pool:
        results = pool.map(_reason, [folder / galaxy.path for galaxy in galaxies])
        for done, (galaxy, reason) in enumerate(zip(galaxies, results, strict=True), 1):
            if reason:
                reasons[galaxy.id] = reason
            if progress:
                progress(done, len(galaxies))
    return reasons


def _reason(path: Path) -> str:
    try:
        read_image(path)
    except TransientImageError:
        return ""
    except ImageError as error:
        return str(error)
    return ""
