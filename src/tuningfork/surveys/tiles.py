"""Tiles of a mosaic on disk: their files, and the footprint of each on the sky, cached between runs."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils import compression
from .._utils.files import default_cache, write_text
from ..images.fits.bands import Band, open_bands
from ..images.fits.framing import Framing
from ..images.fits.names import is_auxiliary, is_map_name
from ..images.fits.render import stretch_warnings
from ..images.fits.wcs import celestial_wcs, orientation, sky_at
from ..images.image import ImageError

logger = logging.getLogger(__name__)

__all__ = ["ENDINGS", "Tile", "find_files", "read_tiles", "separations", "unit_vectors"]

_FITS = (".fits", ".fit", ".fts")
ENDINGS = (*_FITS, ".fz", *(fits + packed for fits in _FITS for packed in compression.EXTENSIONS))
#: Stands in a file's name for the band's.
GAP = "{band}"
FORM = 3
MAP = "a map of weights, errors or the like, by its names"
#: Points of each edge whose distance from the middle is how far a tile reaches.
EDGE = 5


@dataclass(frozen=True, slots=True)
class Tile:
    """One file of a mosaic.

    Parameters
    ----------
    path : str
    band : str
        The band in its name; "" if it holds all bands.
    modified, size : int
        When it was written, nanoseconds, and its bytes: which show whether it has changed.
    ra, dec, radius : float
        Middle (ICRS) and the circle around it that holds all its pixels, degrees.
    pixel_scale : float
        Arcseconds a pixel in its middle.
    filter, unit : str
        Of an image of one band, as its header names them (FILTER, BUNIT); "" if it names none.
    zero_point : str
        Magnitude of a flux of 1, if the header has one and no unit, to a hundredth; "" else.
    is_map : bool
        Whether the header's names are those of a weight, error or mask map.
    warning : str
        What was left out of the file, and whether the stretch is for such numbers.
    problem : str
        Why it cannot be used; "" if it can.
    """

    path: str
    band: str
    modified: int
    size: int
    ra: float = 0.0
    dec: float = 0.0
    radius: float = 0.0
    pixel_scale: float = 0.0
    filter: str = ""
    unit: str = ""
    zero_point: str = ""
    is_map: bool = False
    warning: str = ""
    problem: str = ""


def find_files(paths: Iterable[str | os.PathLike[str]], bands: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Files and their bands; folders are walked, and ``{band}`` in a path stands for each of `bands`.

    Raises
    ------
    FileNotFoundError
        If a path, or a band of a pattern, has no file.
    """
    for path in (os.fspath(each) for each in paths):
        if GAP in path:
            yield from _of_pattern(path, bands)
        elif Path(path).is_dir():
            entries = list(Path(path).rglob("*"))
            files = sorted(str(file) for file in entries if _is_tile(file))
            # Links to folders are not followed, they may lead in a circle.
            if links := sorted(str(entry) for entry in entries if entry.is_symlink() and entry.is_dir()):
                logger.warning("%s: linked folders are left out, name them too: %s", path, ", ".join(links[:3]))
            if not files:
                raise FileNotFoundError(f"{path}: no FITS file in this folder")
            yield from ((file, "") for file in files)
        elif any(sign in path for sign in "*?[") and not Path(path).exists():
            files = sorted(glob.glob(path))
            if not files:
                raise FileNotFoundError(f"{path}: no such files")
            yield from ((file, "") for file in files)
        elif Path(path).exists():
            yield path, ""
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")


def _is_tile(file: Path) -> bool:
    return file.name.lower().endswith(ENDINGS) and not file.name.startswith(".") and file.is_file()


def _of_pattern(pattern: str, bands: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not bands:
        raise FileNotFoundError(f"{pattern}: which bands? Name them by increasing wavelength, such as g, r, i")
    for band in bands:
        files = sorted(glob.glob(pattern.replace(GAP, glob.escape(band))))
        if not files:
            raise FileNotFoundError(f"{pattern}: no file of band {band}")
        yield from ((file, band) for file in files)


def read_tiles(files: Iterable[tuple[str, str]], framing: Framing) -> list[Tile]:
    """Read the footprint of each file, or take it from the user's cache if the file is unchanged.

    A file that cannot be used is a tile with a problem. The cache is JSON; it is left out if it cannot be read or
    written.
    """
    wanted = [(str(Path(path).resolve()), band) for path, band in files]
    key = json.dumps([sorted(wanted), framing.to_dict()], sort_keys=True)
    file = default_cache() / "tiles" / f"{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}.json"
    known = {(tile.path, tile.band): tile for tile in _load_cache(file)}
    tiles, is_new = [], False
    maps = {path for path, _ in wanted if is_map_name(Path(path).name)}
    if len(maps) == len({path for path, _ in wanted}):
        maps = set()
    for path, band in wanted:
        if path in maps:
            tiles.append(Tile(path, band, 0, 0, problem=MAP))
            continue
        try:
            status = os.stat(path)
        except OSError as error:
            tiles.append(Tile(path, band, 0, 0, problem=f"cannot be read: {error.strerror}"))
            continue
        before = known.get((path, band))
        if before and (before.modified, before.size) == (status.st_mtime_ns, status.st_size):
            tiles.append(before)
            continue
        is_new = True
        tiles.append(_examine(path, band, status, framing))
    if is_new:
        _save_cache(file, tiles)
    if all(tile.is_map for tile in tiles if not tile.problem):
        return tiles
    return [replace(tile, problem=MAP) if tile.is_map and not tile.problem else tile for tile in tiles]


def _examine(path: str, band: str, status: os.stat_result, framing: Framing) -> Tile:
    try:
        with open_bands(path, framing) as image:
            header, (height, width) = image.bands[0].header, image.bands[0].shape
            about = _about(image.bands[0]) if len(image.bands) == 1 else {}
            warning = "; ".join((*image.warnings, *stretch_warnings(image.bands, framing.stretch)))
            wcs, problem = celestial_wcs(header)
    except ImageError as error:
        return Tile(path, band, status.st_mtime_ns, status.st_size, problem=str(error))
    if wcs is None:
        return Tile(path, band, status.st_mtime_ns, status.st_size, problem=problem)
    middle = ((width - 1) / 2, (height - 1) / 2)
    local = orientation(wcs, middle)
    x, y = np.linspace(-0.5, width - 0.5, EDGE), np.linspace(-0.5, height - 0.5, EDGE)
    ends = (np.full(EDGE, end) for end in (x[0], x[-1], y[0], y[-1]))
    left, right, low, high = ends
    ra, dec = sky_at(
        wcs,
        np.concatenate([[middle[0]], x, x, left, right]),
        np.concatenate([[middle[1]], low, high, y, y]),
    )
    if local is None or not (np.isfinite(ra).all() and np.isfinite(dec).all()):
        problem = "broken WCS (parts of it have no place in the sky)"
        return Tile(path, band, status.st_mtime_ns, status.st_size, problem=problem)
    points = unit_vectors(ra, dec)
    away = separations(points[1:], points[0])
    # Edges bend a little between the points.
    reach = float(away.max()) * 1.01
    place = float(ra[0]), float(dec[0]), reach, local.pixel_scale
    return Tile(path, band, status.st_mtime_ns, status.st_size, *place, warning=warning, **about)


def _about(band: Band) -> dict[str, Any]:
    """What an image of one band is of, as the fields of a `Tile`."""
    zero = None if band.unit else band.zero_point
    return {
        "filter": band.filter,
        "unit": band.unit,
        "zero_point": f"{zero[1]:.2f}" if zero else "",
        "is_map": is_auxiliary(band.header),
    }


def unit_vectors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees (N,), (N,) → (N, 3) points on the unit sphere."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], -1)


def separations(points: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees (N,) between unit vectors (N, 3) and another one (3,), exact for small angles."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(points - point, axis=1) / 2, 0, 1)))


def _load_cache(file: Path) -> list[Tile]:
    try:
        cache = json.loads(file.read_text("utf-8"))
        return [Tile(**tile) for tile in cache["tiles"]] if cache["form"] == FORM else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _save_cache(file: Path, tiles: Sequence[Tile]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"form": FORM, "tiles": [asdict(tile) for tile in tiles]}))
    except (OSError, UnicodeError):  # a cache is worth no failure
        pass
