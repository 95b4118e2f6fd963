"""Options of FITS images: which bands, how they become colours, how large a piece of sky is shown."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..._utils.text import nearest
from .stretch import AUTO, preset_names

__all__ = ["FRAME_RADII", "Framing", "Unit", "parse_mask_bits", "unit"]

#: Width of Galaxy Zoo 2's images in petroR90: 424 px of 0.02 petroR90 each (Willett et al. 2013).
FRAME_RADII = 8.48

#: A FITS file's header-data unit, by its name or its number from 0.
Unit = int | str


def unit(text: str) -> Unit:
    """Parse the name or number of a FITS file's unit, or a cube's plane: digits are a number."""
    return int(text) if text.strip().isdigit() else text.strip()


def parse_mask_bits(text: str) -> tuple[int | str, ...]:
    """Parse bits of a mask, separated by commas: names, or numbers that are sums of powers of two (also 0x…)."""
    bits: list[int | str] = []
    for word in text.replace("+", ",").split(","):
        try:
            bits.append(int(word, 0))
        except ValueError:
            bits.append(word.strip())
    if not all(bits):
        raise ValueError(f"mask bits {text!r}; names or numbers above 0 are expected, separated by commas")
    return tuple(bits)


@dataclass(frozen=True, slots=True)
class Framing:
    """How FITS images are shown; by default the science image in full, north up.

    Parameters
    ----------
    hdu : int or str, optional
        The image, by number or name; None: the science image, see `units.choose_unit`.
    bands : tuple of int or str
        Images that are bands, or planes of the cube (numbers from 0), by increasing wavelength: blue, green, red;
        or one, which gives grey. Empty: the image's own one or three planes.
    stretch : str
        ``auto``, or a preset of `stretch`.
    size : float, optional
        Arcseconds a side of the square that is shown; None: by the radius, else the image as it is.
    radii : float
        Where a radius is known or measured and there is no size, the square's side in multiples of it.
    measure : bool
        Measure petroR90 in the image where none is known, rather than showing the image as it is.
    orient : bool
        North up and east left by the WCS; False: rows and columns as they lie, the first row below.
    mask : int or str, optional
        An image of the same shape; a pixel is bad where it is not 0.
    mask_bits : int, or tuple of int or str, optional
        Bits of the mask that are bad, by their sum or their names in the mask's header (``MP_BAD``); None: all.

    Raises
    ------
    ValueError
        If a number is out of its range, or the stretch is not known.

    Examples
    --------
    >>> Framing(stretch="sdss", size=40).side()
    40
    >>> round(Framing().side(radius=5.0), 3)  # 8.48 petroR90, the frame of Galaxy Zoo 2
    42.4
    """

    hdu: Unit | None = None
    bands: tuple[Unit, ...] = ()
    stretch: str = AUTO
    size: float | None = None
    radii: float = FRAME_RADII
    measure: bool = False
    orient: bool = True
    mask: Unit | None = None
    mask_bits: int | tuple[int | str, ...] | None = None

    def __post_init__(self) -> None:
        if self.stretch != AUTO and self.stretch not in preset_names():
            names = (AUTO, *preset_names())
            raise ValueError(f"stretch {self.stretch!r} is none of {', '.join(names)}{nearest(self.stretch, names)}")
        if len(self.bands) not in (0, 1, 3):
            raise ValueError(f"{len(self.bands)} bands; one or three are needed, by increasing wavelength")
        for name, value in (("size", self.size), ("radii", self.radii)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} = {value}; a number above 0 is expected")
        if self.size is not None and self.measure:
            raise ValueError("a size is either set or measured")
        bits = self.mask_bits if isinstance(self.mask_bits, tuple) else (self.mask_bits,)
        if self.mask_bits is not None and (self.mask is None or any(isinstance(bit, int) and bit < 1 for bit in bits)):
            raise ValueError(f"mask_bits = {self.mask_bits}; bits above 0 are expected, and the mask that they are of")

    def side(self, radius: float = math.nan) -> float | None:
        """Return the side of the frame, arcsec; None if neither size nor radius is known.

        Parameters
        ----------
        radius : float
            petroR90 of the galaxy, arcsec; NaN: not known.
        """
        if self.size is not None:
            return self.size
        return self.radii * radius if math.isfinite(radius) and radius > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON stores it."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        plain = Framing()
        return {key: value for key, value in values.items() if getattr(self, key) != getattr(plain, key)}
