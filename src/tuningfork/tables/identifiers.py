"""Identifiers of galaxies: exact text, whatever a table or a file's name made of them."""

from __future__ import annotations

import logging
import math
import posixpath
import re
import unicodedata
from decimal import Decimal

import pyarrow as pa

from .._utils.text import text
from .angles import is_blank
from .formats import CatalogError

__all__ = ["IdentifierError", "RoundedIds", "exact_id", "exact_ids", "file_id", "integer_limit"]

logger = logging.getLogger(__name__)

#: Integers up to which a float of 16, 32 and 64 bits holds every one.
_LIMITS = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}
#: 100502.0, as pandas writes an integer of a column that has a blank cell.
_DECIMAL = re.compile(r"([+-]?\d+)\.0*")
#: ="00123", by which spreadsheets are kept from taking digits for a number.
_SPREADSHEET = re.compile(r'="(.*)"')
#: b'J1129-00', as Python prints bytes.
_BYTES = re.compile(r"b(['\"])(.*)\1")
#: 587,722,981, with separators of thousands.
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.0*)?")
#: 3.91E+16, as spreadsheets, ``%g`` and Fortran write long integers; `12e4` may be a name.
_SCIENTIFIC = re.compile(
    r"[+-]?\d+([.,]\d*([eEdD][+-]?|[eE] | ?[x×*] ?10[\^*]{1,2}[+-]?)\d+|([eEdD][+-]| ?[x×*] ?10[\^*]{1,2}[+-]?)\d+)"
)
#: Identifiers that must have zeros in their last digits, by bits of chance, before they seem rounded; and how many.
SUSPICIOUS_BITS, SUSPICIOUS_IDS = 20.0, 3
#: Decimal digits that spreadsheets keep.
_SPREADSHEET_DIGITS = 15
#: What a file's name may end with that is no part of the galaxy's name.
_COMPRESSED = (".gz", ".fz", ".bz2", ".xz", ".zst")
EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pnm"),
        *(".jp2", ".avif", ".heic", ".fits", ".fit", ".fts", ".npy", ".npz"),
    )
)


class IdentifierError(CatalogError):
    """An identifier that has lost its digits; the message says how to save the table."""


def integer_limit(kind: pa.DataType) -> int:
    """The greatest integer up to which a column of this Arrow type holds each one exactly."""
    return _LIMITS.get(kind, 2**53)


def exact_id(value: object, limit: int = 2**53) -> str:
    """Convert a table's cell to an identifier; "" for a blank one, or a word for it such as ``NaN``.

    Text stays as it is, without blanks around it and its letters composed (NFC), as files' names differ by system; so
    leading zeros do. A number, or text that was one (``100502.0``, ``587,722,981``), is written as an integer if it is
    known to be exact. ``="00123"`` and ``b'J1129'`` are the text within.

    Parameters
    ----------
    value : object
        The cell.
    limit : int
        Integers that a float of the cell's column can hold; see `integer_limit`.

    Raises
    ------
    IdentifierError
        For a float beyond its limit, or text in scientific notation: their last digits are lost.

    Examples
    --------
    >>> exact_id(587722981742084096), exact_id("100502.0"), exact_id(" 007 "), exact_id(None)
    ('587722981742084096', '100502', '007', '')
    >>> exact_id("3.91E+16")
    Traceback (most recent call last):
    ...
    tuningfork.tables.identifiers.IdentifierError: the ID '3.91E+16' has lost its last digits; save the column as ...
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if is_blank(value):
        return ""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return str(int(value))
    if isinstance(value, float):
        if abs(value) >= limit:
            raise _lost(value)
        return str(int(value)) if value.is_integer() else str(value)
    name = composed(text(str(value).rstrip("\0").strip()))
    if match := _SPREADSHEET.fullmatch(name):
        return match[1].strip()
    if match := _BYTES.fullmatch(name):
        name = match[2].strip()
    if _THOUSANDS.fullmatch(name):
        name = name.replace(",", "")
    if _SCIENTIFIC.fullmatch(name):
        raise _lost(name)
    if match := _DECIMAL.fullmatch(name):
        if abs(int(match[1])) >= limit:
            raise _lost(name)
        return match[1].lstrip("+")
    return name


def exact_ids(column: pa.ChunkedArray, name: str, where: object) -> list[str]:
    """Convert the column `name` of the table `where` to identifiers; see `exact_id`.

    Raises
    ------
    IdentifierError
        If one has lost its digits; the message names the table and the column.
    """
    limit = integer_limit(column.type)
    try:
        ids = [exact_id(value, limit) for value in column.to_pylist()]
    except IdentifierError as error:
        raise IdentifierError(f"{where}: column {name!r}: {error}") from None
    rounded = RoundedIds()
    for id_ in ids:
        rounded.add(id_)
    if warning := rounded.warning(name):
        logger.warning("%s: %s", where, warning)
    return ids


class RoundedIds:
    """Whether long identifiers end as if decimal numbers of a spreadsheet, or of 64 bits, had stood for them.

    Examples
    --------
    >>> rounded = RoundedIds()
    >>> for number in (587722981742084, 587722981742085, 587722981742091):
    ...     rounded.add(f"{number}000")
    >>> rounded.warning("id")
    "column 'id': all 3 identifiers of more than 15 digits end in zeros from the 16th digit on, as spreadsheets ..."
    """

    def __init__(self) -> None:
        self._count = 0
        #: Bits of chance for which each explanation would be needed; negative once it is ruled out.
        self._spreadsheet = self._float = 0.0

    def add(self, id_: str) -> None:
        """Look at one identifier."""
        if len(id_) <= _SPREADSHEET_DIGITS or (self._spreadsheet < 0 and self._float < 0) or not id_.isdecimal():
            return
        number = int(id_)
        spacing = number.bit_length() - 53
        self._count += 1
        if self._spreadsheet >= 0:
            tail = id_[_SPREADSHEET_DIGITS:]
            self._spreadsheet = -1.0 if tail.strip("0") else self._spreadsheet + len(tail) * math.log2(10)
        if self._float >= 0 and spacing > 0:
            self._float = -1.0 if number % 2**spacing else self._float + spacing

    def warning(self, column: str) -> str:
        """A warning if they look rounded, else ""."""
        if self._count < SUSPICIOUS_IDS or max(self._spreadsheet, self._float) < SUSPICIOUS_BITS:
            return ""
        if self._spreadsheet >= SUSPICIOUS_BITS:
            how = "end in zeros from the 16th digit on, as spreadsheets round them"
        else:
            how = "are what 64-bit decimal numbers hold, as if they had been rounded"
        return (
            f"column {column!r}: all {self._count} identifiers of more than 15 digits {how}: save the column as text "
            "where it was made"
        )


def composed(name: str) -> str:
    """Text whose accents and letters are one character each (Unicode NFC): systems write names of files differently."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _lost(value: object) -> IdentifierError:
    return IdentifierError(
        f"the ID {value!r} has lost its last digits; save the column as integers or as text, not as decimal numbers"
    )


def file_id(path: str) -> str:
    """The identifier of a file: its name without the extensions that are known, in any case.

    Examples
    --------
    >>> file_id("cutouts/J112953.88-000427.4.jpg"), file_id("g2.fits.gz"), file_id("NGC_4565.tar")
    ('J112953.88-000427.4', 'g2', 'NGC_4565.tar')
    """
    name = posixpath.basename(str(path).rstrip("/"))
    for extensions in (_COMPRESSED, EXTENSIONS):
        stem, extension = posixpath.splitext(name)
        if extension.lower() in extensions and stem:
            name = stem
    return composed(text(name))
