"""FITS files as bands by increasing wavelength, read in full or a section at a time; bad pixels are NaN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image import ImageError
from .file import FitsFile, Source, damage_as_error, open_fits
from .filters import COLOURS, by_wavelength, filter_of, plane_names, plane_order
from .flux_units import is_surface_brightness
from .framing import Framing, Unit
from .units import ImageUnit, check_unit, choose_unit, named_unit

__all__ = ["Band", "Bands", "open_bands"]

#: Cards of a mask that name its bits: MP_BAD = 0 is the lowest bit.
BIT_CARDS = "MP_"
#: Cards of the magnitude of a flux of 1; FLUXMAG0 of HSC and LSST is the flux of magnitude 0.
ZERO_POINTS = ("MAGZERO", "MAGZPT", "MAGZP", "PHOTZP", "FLUXMAG0")


@dataclass(frozen=True, eq=False)
class Band:
    """One plane of one image of an open FITS file.

    Parameters
    ----------
    shape : (rows, columns); row 0 is the first of the file, the lowest as displayed
    header : of the image, with its WCS
    is_display : whether its numbers are bytes that are not scaled: display brightness rather than fluxes
    """

    shape: tuple[int, int]
    header: Any
    is_display: bool
    _image: ImageUnit
    _plane: int | None
    _mask: ImageUnit | None = None
    _mask_bits: int | None = None

    @property
    def label(self) -> str:
        """Name of the image, else its number."""
        return self._image.label

    @property
    def filter(self) -> str:
        """The filter that the header names, of the image or of the file; "" if it names none."""
        return filter_of(self.header) or filter_of(self._image.file.hdus[0].header)

    @property
    def unit(self) -> str:
        """BUNIT of the image, or of the file; "" if there is none."""
        return self._image.text("BUNIT")

    @property
    def zero_point(self) -> tuple[str, float] | None:
        """The card that names the magnitude of a flux of 1, and its value; None if there is none."""
        for card in ZERO_POINTS:
            with suppress(ValueError):
                if math.isfinite(value := float(self._image.text(card))) and value > 0:
                    return card, 2.5 * math.log10(value) if card == "FLUXMAG0" else value
        return None

    @property
    def is_surface_brightness(self) -> bool:
        """Whether its numbers are the same whatever the pixel; else they are fluxes of its own pixels."""
        return self.is_display or is_surface_brightness(self.unit)

    def read(self, rows: slice = slice(None), columns: slice = slice(None)) -> NDArray[np.float32]:
        """A section, (rows, columns) float32; NaN where a pixel is blank or masked. Nothing else is read.

        Raises
        ------
        ImageError
            If the file is damaged there.
        """
        with damage_as_error():
            values = self._image.read(self._plane, rows, columns)
            with np.errstate(over="ignore", invalid="ignore"):
                values = values.astype(np.float32)
            if self._mask is not None:
                values[_is_bad(self._mask.read(self._plane, rows, columns), self._mask_bits)] = np.nan
        return values


@dataclass(frozen=True, eq=False)
class Bands:
    """The bands of an image.

    Parameters
    ----------
    bands : list of one or three Band
        By increasing wavelength.
    warnings : tuple of str
        What was left out, and what astropy complained of.
    mask : str
        The mask and its bits, for messages; "" if there is none.
    """

    bands: list[Band]
    warnings: tuple[str, ...] = ()
    mask: str = ""

    @property
    def is_display(self) -> bool:
        """Whether all are display brightness already."""
        return all(band.is_display for band in self.bands)


@contextmanager
def open_bands(
    sources: Source | Sequence[Source], framing: Framing = Framing(), mask: Source | None = None
) -> Iterator[Bands]:
    """Open the bands of one file, as `framing` names them, or of several files that are a band each.

    By increasing wavelength: blue, green, red; or one. Of files on disk only the headers are read yet. The planes of
    a cube of bytes are red, green, blue in the file, unless ``framing.bands`` names them.

    Parameters
    ----------
    mask : optional
        A file whose first image, or whose image ``framing.mask``, is the mask of all bands.

    Raises
    ------
    ImageError
        If a file cannot be opened, or has not these images.
    """
    paths: list[Source] = [sources] if isinstance(sources, str | Path | bytes) else list(sources)
    if len(paths) not in (1, 3):
        raise ImageError(f"{len(paths)} files as bands; one or three are needed, by increasing wavelength")
    with ExitStack() as stack:
        with damage_as_error():
            masks = stack.enter_context(open_fits(mask)) if mask is not None else None
            bands: list[Band] = []
            warnings: list[str] = []
            flags = None
            for path in paths:
                file = stack.enter_context(open_fits(path))
                flags = _mask(file, masks, framing)
                images, left_out = _images(file, framing, flags, is_one_band=len(paths) > 1)
                bits = _bits(framing.mask_bits, flags) if flags else None
                bands += [_band(image, plane, flags, bits) for image, plane in images]
                for unit in {id(image): image for image, _ in images}.values():
                    warnings += check_unit(unit)
                warnings += [*left_out, *file.complaints]
            is_cube = len(bands) == 3 and len(paths) == 1 and not framing.bands
            if is_cube and all(band.is_display for band in bands) and not _has_order(images[0][0]):
                bands.reverse()
        yield Bands(bands, tuple(dict.fromkeys(warnings)), _describe(flags))


def _images(
    file: FitsFile, framing: Framing, flags: ImageUnit | None, *, is_one_band: bool
) -> tuple[list[tuple[ImageUnit, int | None]], list[str]]:
    """The images of one file, with the plane if it is a cube; and what was left out."""
    warnings: list[str] = []
    by_name = not is_one_band and any(isinstance(band, str) for band in framing.bands)
    if framing.hdu is not None:
        image = named_unit(file, framing.hdu)
    else:
        image, warnings = choose_unit(file, [flags.number] if flags and flags.file is file else [])
    if by_name:
        return _by_name(file, image, framing.bands)
    if is_one_band:
        if len(image.shape) == 3:
            raise ImageError(f"a file of {image.shape[0]} planes cannot be one band of several files")
        return [(image, None)], warnings
    if len(image.shape) == 2:
        if framing.bands:
            return [(_flat(named_unit(file, band), band), None) for band in framing.bands], []
        return [(image, None)], warnings
    count = image.shape[0]
    if image.shape[2] in (3, 4) and count > 4:
        raise ImageError(
            f"FITS image of {image.shape[1]}×{count} px with {image.shape[2]} colours a pixel; save it as planes: "
            "NAXIS3 = 3"
        )
    names = plane_names(image.hdu.header, count)
    planes = framing.bands or (range(count) if names or count == 1 else _in_order(image) or range(count))
    if len(planes) not in (1, 3):
        which = f" ({', '.join(names)})" if names else ""
        example = ",".join(by_wavelength(names)[:3]) if names else "0,1,2"
        raise ImageError(
            f"FITS image with {count} planes{which}; 1 or 3 are expected, or --bands that name them: --bands {example}"
        )
    if names and not framing.bands and (ordered := by_wavelength(names)) != list(names):
        planes = tuple(names.index(name) for name in ordered)
        if tuple(map(str.upper, names)) != COLOURS:
            warnings = [*warnings, f"planes {', '.join(names)} are taken by wavelength: {', '.join(ordered)}"]
    for plane in planes:
        if not 0 <= int(plane) < count:
            raise ImageError(f"no plane {plane} in the cube; it has 0 to {count - 1}")
    return [(image, int(plane)) for plane in planes], warnings


def _has_order(image: ImageUnit) -> bool:
    return bool(plane_names(image.hdu.header, image.shape[0]) or _in_order(image))


def _in_order(image: ImageUnit) -> tuple[int, ...]:
    try:
        return plane_order(image.hdu.header, image.plane_axis, image.shape[0])
    except ValueError as error:
        raise ImageError(f"FITS cube of {error} (CTYPE{image.plane_axis}), not bands; name one: --bands 0") from None


def _by_name(
    file: FitsFile, image: ImageUnit, bands: Sequence[Unit]
) -> tuple[list[tuple[ImageUnit, int | None]], list[str]]:
    """Bands that the user names: planes of the cube by its header, else images of the file."""
    words = [str(band) for band in bands]
    warnings = []
    if len(words) > 1 and by_wavelength(words) == words[::-1]:
        warnings = [f"bands {', '.join(words)} are by decreasing wavelength: the first is shown blue, the last red"]
    if len(image.shape) == 3:
        planes = [name.lower() for name in plane_names(image.hdu.header, image.shape[0])]
        if planes and all(word.lower() in planes for word in words):
            return [(image, planes.index(word.lower())) for word in words], warnings
        if len(file.hdus) == 1:
            known = f"it has {', '.join(planes)}" if planes else "its header names none; give their numbers from 0"
            raise ImageError(f"no planes {', '.join(words)} in the cube: {known}")
    return [(_flat(named_unit(file, band), band), None) for band in bands], warnings


def _flat(image: ImageUnit, name: Unit) -> ImageUnit:
    if len(image.shape) != 2:
        raise ImageError(f"unit {name!r} of the FITS file has {len(image.shape)} axes; a band has 2")
    return image


def _mask(file: FitsFile, masks: FitsFile | None, framing: Framing) -> ImageUnit | None:
    if masks is not None:
        return choose_unit(masks)[0] if framing.mask is None else named_unit(masks, framing.mask)
    return None if framing.mask is None else named_unit(file, framing.mask)


def _bits(wanted: int | tuple[int | str, ...] | None, mask: ImageUnit) -> int | None:
    """The bad bits as one number; names are those of the mask's header."""
    if wanted is None or isinstance(wanted, int):
        return wanted
    known = _bit_names(mask)
    bits = 0
    for bit in wanted:
        if isinstance(bit, int):
            bits |= bit
        elif (name := bit.upper().removeprefix(BIT_CARDS)) in known:
            bits |= 1 << known[name]
        else:
            names = ", ".join(known) or "it names none, so that numbers are needed"
            raise ImageError(f"no bit {bit!r} in the mask {mask.label}: {names}")
    return bits


def _bit_names(mask: ImageUnit) -> dict[str, int]:
    with damage_as_error():
        cards = mask.hdu.header[f"{BIT_CARDS}*"]
        return {
            card.removeprefix(BIT_CARDS): int(bit)
            for card, bit in cards.items()
            if isinstance(bit, int) and 0 <= bit < 64
        }


def _describe(mask: ImageUnit | None) -> str:
    if mask is None:
        return ""
    names = _bit_names(mask)
    return f"mask {mask.label}" + (f" with the bits {', '.join(names)}" if names else "")


def _band(image: ImageUnit, plane: int | None, mask: ImageUnit | None, bits: int | None) -> Band:
    shape = image.shape[-2:]
    if mask is not None and (mask.shape[-2:] != shape or (len(mask.shape) == 3 and plane is None)):
        raise ImageError(f"mask of shape {mask.shape} for an image of shape {image.shape}")
    header = image.hdu.header
    is_scaled = header.get("BZERO", 0) != 0 or header.get("BSCALE", 1) != 1
    is_display = header.get("BITPIX") == 8 and not is_scaled
    return Band((shape[0], shape[1]), header, is_display, image, plane, mask, bits)


def _is_bad(mask: NDArray[Any], bits: int | None) -> NDArray[np.bool_]:
    if bits is None:
        return mask != 0  # NaN too
    if mask.dtype.kind not in "iu":
        raise ImageError(f"a mask of {mask.dtype.name} has no bits; leave out --mask-bits")
    if bits >= 2 ** (8 * mask.dtype.itemsize):
        raise ImageError(f"a mask of {8 * mask.dtype.itemsize} bits has none of the value {bits}; see --mask-bits")
    # The sign of a signed integer is its highest bit.
    return (mask.view(mask.dtype.str.replace("i", "u")) & bits) != 0
