"""Inputs: folders, catalogues, archives and object stores as items, and the bytes of their images."""

from .._utils.errors import InputError
from .carried import CarriedColumns, carried_columns, table_columns, with_carried
from .find import Columns, find_items, is_catalogue
from .item import InputItem
from .listing import Digest, read_listing, write_listing
from .readers import ItemReader

__all__ = [
    "CarriedColumns",
    "Columns",
    "Digest",
    "InputItem",
    "InputError",
    "ItemReader",
    "carried_columns",
    "find_items",
    "is_catalogue",
    "read_listing",
    "table_columns",
    "with_carried",
    "write_listing",
]
