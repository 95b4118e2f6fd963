"""Open FITS files, also in gzip, bzip2 and fpack, without trusting what their headers claim."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..._utils.compression import DAMAGE, compression_of, decompressed
from ..._utils.extras import install_hint
from ..._utils.text import one_line
from ..complaints import decoder_complaints
from ..image import MAX_FILE_BYTES, MAX_PIXELS, ImageError, check_file_size
from ..source import file_bytes

__all__ = ["FitsFile", "Source", "check_fits_header", "damage_as_error", "is_fits", "open_fits"]

#: A FITS file, or its bytes.
Source = str | Path | bytes
#: What begins a FITS file.
FITS = b"SIMPLE  ="
BLOCK = 2880
#: The standard allows 999 axes and columns; astropy counts up to whatever a header claims.
_ENDLESS = [re.compile(key + rb" *= *\+?0*[1-9]\d{3}") for key in (b"NAXIS", b"TFIELDS")]
#: Bytes of a file in which impossible headers are looked for.
CHECKED_BYTES = 2**20


def is_fits(data: bytes) -> bool:
    """Whether a file's first bytes are those of FITS, or of FITS in gzip or bzip2.

    True, too, where these cannot be unpacked: `open_fits` says what is wrong.
    """
    if compression := compression_of(data):
        try:
            data = decompressed(io.BytesIO(data), compression).read(len(FITS))
        except (*DAMAGE, ValueError):
            return True
    return data.startswith(FITS)


def check_fits_header(data: bytes) -> None:
    """Raise ImageError for FITS headers that would have astropy count for ever."""
    capitals = data.upper()
    if any(card.start() % 80 < 8 for cards in _ENDLESS for card in cards.finditer(capitals)):
        raise ImageError("damaged FITS file: more than 999 axes or columns")


@dataclass(eq=False)
class FitsFile:
    """An open FITS file.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
    tiles : dict
        By the number of an HDU that is packed in tiles, how its tiles are checked before they are unpacked.
    complaints : list of str
        What astropy warned of while the file was opened.
    """

    hdus: Any
    tiles: dict[int, PackedTiles] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def open_fits(source: Source) -> Iterator[FitsFile]:
    """Open a FITS file; of one on disk only the headers are read.

    Raises
    ------
    ImageError
        If it cannot be read, is damaged, or claims sizes that no image has.
    """
    try:
        from astropy.io import fits
    except ImportError:
        raise ImageError(f"FITS needs astropy: {install_hint('sky')}") from None
    with ExitStack() as stack:
        stream = stack.enter_context(_stream(source))
        with damage_as_error() as complaints:
            # A section is read by itself; mapping the file would refuse scaled integers.
            hdus = stack.enter_context(fits.open(stream, memmap=False))
            packed = [number for number, hdu in enumerate(hdus) if isinstance(hdu, fits.CompImageHDU)]
            rest = _behind(hdus, stream)
            stream.seek(0)
            # astropy unpacks tiles of any size, so that their table is looked at first.
            raw = fits.open(stream, memmap=False, disable_image_compression=True) if packed else []
            tiles = {number: PackedTiles.of(raw[number], stream) for number in packed}
        if rest and not complaints:
            complaints.append(f"{rest} bytes follow the last image: is the file damaged, or was it sent as text?")
        yield FitsFile(hdus, tiles, complaints)


def _behind(hdus: Any, stream: BinaryIO) -> int:
    """Bytes behind the last unit, unless they are whole records, which the standard allows."""
    # What is no unit of a known kind has no place.
    place = hdus[-1].fileinfo() if len(hdus) and hasattr(hdus[-1], "fileinfo") else None
    size = stream.seek(0, io.SEEK_END)
    if not place or size % BLOCK == 0:
        return 0
    return int(max(0, size - place["datLoc"] - place["datSpan"]))


def _stream(source: Source) -> BinaryIO:
    try:
        if isinstance(source, bytes):
            data = source
        else:
            with open(source, "rb") as file:
                start = file.read(CHECKED_BYTES)
            if not compression_of(start):
                check_fits_header(start)
                _check_start(start)
                return open(source, "rb")
            data = file_bytes(Path(source))
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from None
    data = _unpacked(data)
    check_fits_header(data)
    _check_start(data)
    return io.BytesIO(data)


def _check_start(data: bytes) -> None:
    # astropy would unpack whatever else it knows: xz, zip, LZW.
    if not data.startswith(FITS):
        raise ImageError("damaged FITS file: no SIMPLE card at its start")


def _unpacked(data: bytes) -> bytes:
    check_file_size(len(data))
    compression = compression_of(data)
    if not compression:
        return data
    try:
        data = decompressed(io.BytesIO(data), compression).read(MAX_FILE_BYTES + 1)
    except (*DAMAGE, ValueError) as error:
        raise ImageError(f"damaged {compression} file: {one_line(error)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"unpacks to more than {MAX_FILE_BYTES} bytes, the most that are read")
    return data


@contextmanager
def damage_as_error() -> Iterator[list[str]]:
    """Raise ImageError for whatever goes wrong inside, and yield the list of what astropy warns of."""
    try:
        with decoder_complaints() as complaints:
            yield complaints
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("not enough memory to read it") from None
    except Exception as error:  # damaged files raise many kinds
        raise ImageError(f"damaged FITS file: {one_line(error)}") from None


@dataclass(eq=False)
class PackedTiles:
    """The tiles of an image that is packed with fpack; what they unpack to is bounded before they are unpacked.

    Parameters
    ----------
    shape, tile : tuple of int
        Of the image and of one tile, slowest axis first.
    stream : binary file
    rows : (T, 2) int64 arrays
        Of each column that holds gzip data: each tile's bytes and where they begin in the file.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    stream: BinaryIO
    rows: list[NDArray[np.int64]]
    _checked: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, table: Any, stream: BinaryIO) -> PackedTiles:
        """Read how the table's image is packed; ImageError for tiles larger than an image may be."""
        header = table.header
        axes = range(header["ZNAXIS"], 0, -1)
        shape = tuple(int(header[f"ZNAXIS{axis}"]) for axis in axes)
        tile = tuple(int(header.get(f"ZTILE{axis}", shape[-1] if axis == 1 else 1)) for axis in axes)
        if min((*tile, *shape), default=0) < 1 or np.prod(tile, dtype=float) > MAX_PIXELS:
            raise ImageError(
                f"damaged FITS file: tiles of {'×'.join(map(str, tile))} px; at most {MAX_PIXELS} are read"
            )
        is_gzip = str(header.get("ZCMPTYPE", "")).upper().startswith("GZIP")
        names = ["GZIP_COMPRESSED_DATA", *(["COMPRESSED_DATA"] if is_gzip else [])]
        width, count = int(header["NAXIS1"]), int(header["NAXIS2"])
        start = table.fileinfo()["datLoc"]
        heap = start + int(header.get("THEAP", width * count))
        rows = []
        for name in names:
            if name not in table.columns.names:
                continue
            stream.seek(start)
            cells = np.frombuffer(stream.read(width * count).ljust(width * count, b"\0"), np.uint8)
            offset = table.columns.dtype.fields[name][1]
            is_long = "Q" in table.columns[name].format
            size = 16 if is_long else 8
            pairs = cells.reshape(count, width)[:, offset : offset + size].copy().view(">i8" if is_long else ">i4")
            rows.append(pairs.astype(np.int64) + np.array([0, heap]))
        return cls(shape, tile, stream, rows)

    def check(self, section: tuple[int | slice, ...]) -> None:
        """Raise ImageError if a tile of a section unpacks to more than its pixels."""
        if not self.rows:
            return
        first_last = (
            (at, at) if isinstance(at, int) else (at.indices(n)[0], max(at.indices(n)[1] - 1, at.indices(n)[0]))
            for at, n in zip(section, self.shape, strict=True)
        )
        ranges = [np.arange(first // t, last // t + 1) for (first, last), t in zip(first_last, self.tile, strict=True)]
        grid = [-(-n // t) for n, t in zip(self.shape, self.tile, strict=True)]
        most = 8 * int(np.prod(self.tile)) + 4096
        for tile in np.ravel_multi_index(np.meshgrid(*ranges, indexing="ij"), grid).ravel().tolist():
            if tile in self._checked:
                continue
            for cells in self.rows:
                size, at = (int(n) for n in cells[tile]) if tile < len(cells) else (0, 0)
                if size > 0 and at >= 0 and self._unpacks_beyond(at, size, most):
                    raise ImageError(f"damaged FITS file: a tile unpacks to more than {most} bytes")
            self._checked.add(tile)

    def _unpacks_beyond(self, at: int, size: int, most: int) -> bool:
        self.stream.seek(at)
        unpacker = zlib.decompressobj(wbits=47)
        try:
            return len(unpacker.decompress(self.stream.read(min(size, MAX_FILE_BYTES)), most + 1)) > most
        except zlib.error:
            return False  # which is astropy's error
