"""Read tables: any of the formats as Arrow, with what its columns mean."""

from __future__ import annotations

import logging
import os

import pyarrow as pa

from .column_roles import has_role
from .formats import CatalogError, format_of, formats, holds_ecsv, readable, unpacked

__all__ = ["read_table"]

logger = logging.getLogger(__name__)


def read_table(path: str | os.PathLike[str], *, text: bool = False, problems: dict[int, str] | None = None) -> pa.Table:
    """Read a whole table of any of the formats, also one compressed by gzip or bzip2.

    Parameters
    ----------
    path : path-like
        The extension decides the format.
    text : bool
        Whether the cells of a CSV stay text, to judge them one by one.
    problems : dict, optional
        Gets the rows of a CSV, counted from 0, that have too few or too many cells, and the reasons; without it such
        a row is an error.

    Returns
    -------
    pyarrow.Table
        The metadata of its schema say what the file says of its columns; see `about`.

    Raises
    ------
    CatalogError
        If the file is missing, empty, damaged, or has a column twice that may be needed: with `text` any, else one
        with identifiers, positions or images. Other columns of one name are left out with a warning.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "galaxies.csv"
    ...     _ = file.write_text("id,ra,dec\\ng1,150.1,2.2\\n")
    ...     read_table(file).column_names
    ['id', 'ra', 'dec']
    """
    kind = format_of(path)
    if kind.name == "csv" and holds_ecsv(path):
        kind = formats()[".ecsv"]
    options = {"text": text, "problems": problems} if kind.name == "csv" else {}
    with readable(path, kind.name), unpacked(path) as file:
        try:
            table = kind.read(file, **options)
        except CatalogError as error:
            # The name that the user knows, where the file was unpacked.
            raise CatalogError(str(error).replace(str(file), os.fspath(path))) from None
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    for name in twice:
        if text or has_role(name):
            raise CatalogError(f"{path}: column {name!r} appears {names.count(name)} times; keep one")
    if twice:
        logger.warning("%s: columns left out, as several have one name: %s", path, ", ".join(twice))
    return table.select([place for place, name in enumerate(names) if name not in twice])
