"""Tables in and out: CSV, Parquet, FITS, VOTable and ECSV, told apart by the file's extension."""

from .columns import Column, about, arrow_schema
from .formats import FORMATS, MAX_REPORTED, VECTOR_FORMATS, CatalogError, RowError, check_format, table_format
from .read import read_table
from .to_astropy import astropy_table
from .write import table_writer, unheld_columns

__all__ = [
    "CatalogError",
    "Column",
    "FORMATS",
    "MAX_REPORTED",
    "RowError",
    "VECTOR_FORMATS",
    "about",
    "arrow_schema",
    "astropy_table",
    "check_format",
    "read_table",
    "table_format",
    "table_writer",
    "unheld_columns",
]
