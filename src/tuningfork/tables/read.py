"""Read tables: any of the formats as Arrow, with what its columns mean."""

from __future__ import annotations

import os

import pyarrow as pa

from .formats import CatalogError, format_of, readable, unpacked

__all__ = ["read_table"]


def read_table(path: str | os.PathLike[str], *, text: bool = False, problems: dict[int, str] | None = None) -> pa.Table:
    """Read a whole table of any of the formats, also one compressed by gzip or bzip2.

    Parameters
    ----------
    path : path-like
        The extension decides the format.
    text : bool
        Whether the cells of a CSV stay text, to judge them one by one.
    problems : dict, optional
        With `text`: gets the rows of a CSV, counted from 0, that have too few or too many cells, and the reasons;
        without it such a row is an error.

    Returns
    -------
    pyarrow.Table
        The metadata of its schema say what the file says of its columns; see `about`.

    Raises
    ------
    CatalogError
        If the file is missing, empty, damaged, or has a column twice.

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
    options = {"text": text, "problems": problems} if kind.name == "csv" else {}
    with readable(path, kind.name), unpacked(path) as file:
        try:
            table = kind.read(file, **options)
        except CatalogError as error:
            # The name that the user knows, where the file was unpacked.
            raise CatalogError(str(error).replace(str(file), os.fspath(path))) from None
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CatalogError(f"{path}: column {twice[0]!r} appears {names.count(twice[0])} times; keep one")
    return table
