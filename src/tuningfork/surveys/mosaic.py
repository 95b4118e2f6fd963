"""Mosaics and tiles on disk as a source of images by position, across the tiles' borders."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._utils.errors import TuningforkError
from ..images.fits.bands import open_bands
from ..images.fits.filters import FILTER_IN_NAME, by_wavelength
from ..images.fits.flux_units import nanomaggies
from ..images.fits.framing import Framing, Unit
from ..images.fits.render import check_planes, render_bands
from ..images.fits.stretch import AUTO, preset
from ..images.fits.wcs import tangent_grid
from ..images.image import MIN_SIDE, ImageError, check_size
from .cutout import Cutout, Provenance, check_square, utc_text
from .resampled_tile import on_grid
from .tiles import Tile, find_files, read_tiles, separations, unit_vectors

__all__ = ["MosaicError", "MosaicSource"]

#: Files that a provenance names.
MAX_NAMES = 4


logger = logging.getLogger(__name__)


class MosaicError(TuningforkError, ValueError):
    """A mosaic that cannot be used; the message says why."""


class MosaicSource:
    """Images by position from FITS files with a WCS, by their footprints; see `cutout.SkySource`.

    Where tiles overlap, their mean is taken, leaving out blank pixels: NaN, masked, or exactly 0, which surveys write
    where they have no data; but 0 is a number among counts of photons. Fluxes of tiles of other pixels are brought to
    those of the finest. Of each tile only the frame is read.

    Parameters
    ----------
    paths : files, folders and patterns
        ``{band}`` in a path stands for each of `bands`: ``tiles/*-{band}.fits``. Other files hold all bands, as planes
        or as images of their own.
    stretch : str
        ``auto``, or a preset of `stretch`.
    bands : sequence of str or int
        By increasing wavelength; see `framing.Framing` for files that hold all bands.
    hdu, mask, mask_bits : see `framing.Framing`

    Attributes
    ----------
    skipped : tuple of (path, reason)
        Files that cannot be used.

    Raises
    ------
    MosaicError
        If no file can be used, or images of several bands would be taken as one.
    FileNotFoundError
        If a path, or a band of a pattern, has no file.
    ValueError
        If the stretch is not known, or the bands are neither one nor three.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        stretch: str = AUTO,
        bands: Sequence[Unit] = (),
        hdu: Unit | None = None,
        mask: Unit | None = None,
        mask_bits: int | tuple[int | str, ...] | None = None,
    ) -> None:
        named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        files = list(find_files(named, [str(band) for band in bands]))
        of_one_band = {bool(band) for _, band in files}
        if len(of_one_band) > 1:
            raise MosaicError("some files hold one band by their name, others all; name one kind")
        self._by_name = of_one_band == {True}
        Framing(bands=tuple(bands), stretch=stretch)
        self._framing = Framing(
            hdu=hdu,
            bands=() if self._by_name else tuple(bands),
            stretch=stretch,
            mask=mask,
            mask_bits=mask_bits,
        )
        tiles = read_tiles(files, self._framing)
        self.skipped = tuple((tile.path, tile.problem) for tile in tiles if tile.problem)
        self._names = [str(band) for band in bands] if self._by_name else [""]
        self._tiles: dict[str, list[Tile]] = {name: [] for name in self._names}
        for tile in tiles:
            if not tile.problem:
                self._tiles[tile.band].append(tile)
        for name, good in self._tiles.items():
            _check_bands(good, name)
            _check_units(good, stretch)
            if not good:
                path, reason = next((t.path, t.problem) for t in tiles if t.band == name)
                of_band = f" of band {name}" if name else ""
                raise MosaicError(f"no FITS file{of_band} can be used; {path}: {reason}")
        for warning in dict.fromkeys(tile.warning for tile in tiles if tile.warning):
            logger.warning("%s: %s", next(tile.path for tile in tiles if tile.warning == warning), warning)
        self._middles = {
            name: unit_vectors(np.array([t.ra for t in good]), np.array([t.dec for t in good]))
            for name, good in self._tiles.items()
        }

    def cutout(self, ra: float, dec: float, size: float, pixels: int) -> Cutout:
        """See `SkySource.cutout`. Resampled at the tiles' own pixel scale, coloured, then brought to `pixels`."""
        check_square(ra, dec, size)
        check_size(pixels, pixels)
        near = {name: self._near(name, ra, dec, size) for name in self._names}
        nearest = next(iter(near.values()))
        if not all(near.values()):
            count = len({tile.path for tiles in self._tiles.values() for tile in tiles})
            of_band = "" if len(near) == 1 else ", or of those of one band"
            raise ImageError(f"outside of all tiles ({count}){of_band}")
        finest = min(tile.pixel_scale for tile in nearest)
        side = round(size / finest)
        if side < MIN_SIDE:
            raise ImageError(
                f"{size:g} arcsec are {side} px of {finest:.3g} arcsec; at least {MIN_SIDE} px a side are needed"
            )
        check_size(side, side)
        grid = tangent_grid(ra, dec, size / side, (side, side))
        layers, used, is_display = [], [], True
        warnings: list[str] = []
        for name in self._names:
            planes, files, bytes_ = self._coadd(near[name], grid, side, warnings)
            layers.append(planes)
            used += files
            is_display &= bytes_
        if not used:
            raise ImageError("no data: the tiles are blank there, or end beside the frame")
        planes = np.concatenate(layers)
        mask = "" if self._framing.mask is None else f"mask {self._framing.mask}"
        warning = "; ".join(dict.fromkeys((*check_planes(planes, mask), *warnings)))
        rgb = render_bands(planes, self._framing.stretch, size / side, is_display=is_display)
        if side != pixels:
            rgb = np.asarray(Image.fromarray(rgb).resize((pixels, pixels), Image.Resampling.LANCZOS))
        return Cutout(rgb, _provenance(used, size / pixels), warning)

    def _near(self, name: str, ra: float, dec: float, size: float) -> list[Tile]:
        """The tiles whose circle meets that of the frame."""
        place = unit_vectors(np.array([ra]), np.array([dec]))[0]
        away = separations(self._middles[name], place)
        reach = np.array([tile.radius for tile in self._tiles[name]]) + size / 3600 / math.sqrt(2)
        return [self._tiles[name][at] for at in np.flatnonzero(away <= reach)]

    def _coadd(
        self, tiles: Sequence[Tile], grid: Any, side: int, warnings: list[str]
    ) -> tuple[NDArray[np.float32], list[str], bool]:
        """The tiles' mean on the grid, (B, side, side), the files in it, and whether they are display brightness.

        What `on_grid` warns of is added to `warnings`.
        """
        count = len(self._framing.bands) or 1
        total, weight = np.zeros((count, side, side), np.float32), np.zeros((count, side, side), np.float32)
        used: list[str] = []
        is_display = True
        for tile in tiles:
            with open_bands(tile.path, self._framing) as image:
                on_sky = on_grid(image.bands, grid, side, self._framing.stretch)
                if on_sky is None:
                    continue
                section, described = on_sky
                warnings += described
                if len(section) != len(total):
                    if used:
                        raise ImageError(f"{Path(tile.path).name} has {len(section)} bands, others {len(total)}")
                    total, weight = np.zeros_like(section), np.zeros_like(section)
                is_display &= image.is_display
            good = np.isfinite(section)
            total += np.where(good, section, 0)
            weight += good
            if good.any():
                used.append(tile.path)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight > 0, total / weight, np.nan).astype(np.float32), used, is_display


def _check_bands(tiles: Sequence[Tile], name: str) -> None:
    """Raise MosaicError for tiles of several bands, by their FILTER or by names that differ in a filter alone."""
    bands = by_wavelength(sorted({tile.filter for tile in tiles if tile.filter}))
    example = ""
    if len(bands) < 2 and not name:
        bands, example = _bands_of_names([tile.path for tile in tiles])
    if len(bands) < 2:
        return
    if name:
        raise MosaicError(f"files of band {name} are of several filters: {', '.join(bands)}; name one kind of file")
    layer = ",".join(bands[:3])
    raise MosaicError(
        f"{len(bands)} bands found, {', '.join(bands[:8])}, which are not one image: "
        f"name the files with {{band}}, as '{example or 'tiles/*-{band}.fits'}', and the bands with --layer {layer}"
    )


def _check_units(tiles: Sequence[Tile], stretch: str) -> None:
    """Raise MosaicError for tiles of one band in several units, unless all are brought to nanomaggies; warn of zero
    points that differ.
    """
    units = sorted({tile.unit for tile in tiles if tile.unit})
    is_converted = stretch != AUTO and preset(stretch).unit == "nanomaggies"
    if len(units) > 1 and not (is_converted and all(nanomaggies(unit, 1.0) is not None for unit in units)):
        raise MosaicError(f"tiles of several units (BUNIT): {', '.join(units[:8])}; bring them to one")
    zero_points = sorted({tile.zero_point for tile in tiles if tile.zero_point})
    if len(zero_points) > 1:
        logger.warning("tiles of several zero points (%s): fluxes are taken as they are", ", ".join(zero_points[:4]))


def _bands_of_names(paths: Sequence[str]) -> tuple[list[str], str]:
    """Filters in names that are the same but for them, by increasing wavelength, and the pattern of the names."""
    groups: dict[tuple[str, str], set[str]] = {}
    for path in paths:
        for match in FILTER_IN_NAME.finditer(Path(path).name):
            start, end = match.span(1)
            groups.setdefault((Path(path).name[:start], Path(path).name[end:]), set()).add(match[1])
    for (before, after), bands in groups.items():
        # One letter after another may be a number: tile-g beside tile-a.
        if any(_letter_between(Path(path).name, before, after) not in {"", *bands} for path in paths):
            bands.clear()
    (before, after), bands = max(groups.items(), key=lambda group: len(group[1]), default=(("", ""), set()))
    pattern = f"*{before[-1:]}{{band}}{after}" if before else f"{{band}}{after}"
    return by_wavelength(sorted(bands)), str(Path(paths[0]).with_name(pattern)) if paths else ""


def _letter_between(name: str, before: str, after: str) -> str:
    inner = name[len(before) : len(name) - len(after)]
    return inner if name.startswith(before) and name.endswith(after) and len(inner) == 1 else ""


def _provenance(files: Sequence[str], pixel_scale: float) -> Provenance:
    names = list(dict.fromkeys(Path(file).name for file in files))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return Provenance("mosaic", ", ".join(names[:MAX_NAMES]) + more, pixel_scale, utc_text(time.time()))
