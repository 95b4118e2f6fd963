"""Read and write tables: CSV, Parquet, FITS, VOTable and ECSV, told apart by the file's extension."""

from .columns import Column, about, arrow_schema
from .formats import MAX_REPORTED, CatalogError, Format, RowError, check_format, format_of, formats, has_format
from .read import read_table
from .to_astropy import astropy_table
from .write import table_writer, unheld_columns, write_table

__all__ = [
    "MAX_REPORTED",
    "CatalogError",
    "Column",
    "Format",
    "RowError",
    "about",
    "arrow_schema",
    "astropy_table",
    "check_format",
    "format_of",
    "formats",
    "has_format",
    "read_table",
    "table_writer",
    "unheld_columns",
    "write_table",
]
